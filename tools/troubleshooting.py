"""Writes the troubleshooting pages from the catalogue of reasons and the error tree.

Run `python tools/troubleshooting.py` after a change of either; a test compares.
"""

import sys
from pathlib import Path

from aimindserve.core import errors
from aimindserve.core.reason import CATALOGUE, OUT_OF_MEMORY

ROOT = Path(__file__).resolve().parent.parent

_WORDS = {
    "en": {
        "title": "Troubleshooting by reason code",
        "intro": (
            "Everything that waits, fails or is refused says why with one of these codes. "
            "`aimindserve why NAME` and `aimindserve describe NAME` show the code with its "
            "numbers; "
            "the API shows it in `status.reason.code`. This page is generated from the same table "
            "the program uses."
        ),
        "states": "States of instances, files and workers",
        "means": "What it means",
        "do": "What to do",
        "again": "It is tried again by itself when the cause is gone.",
        "stays": "It stays so until something is changed.",
        "moves": "It is not started in the same place again as it was.",
        "errors": "Errors of the API",
        "errors_intro": (
            "Management answers are RFC 9457 problems with a stable `code`; inference answers use "
            "OpenAI's envelope with the same `code`, and `source` says whether gateway, worker or "
            "backend spoke."
        ),
        "head": "| code | status | try again | meaning |",
    },
    "zh": {
        "title": "按原因代码排查问题",
        "intro": (
            "凡是等待、失败或被拒绝，都会用下面的代码说明原因。`aimindserve why NAME` 和 "
            "`aimindserve describe NAME` 会显示代码及具体数值；API 中位于 `status.reason.code`。"
            "本页由程序使用的同一张表生成。"
        ),
        "states": "实例、模型文件与工作节点的状态",
        "means": "含义",
        "do": "处理方法",
        "again": "原因消除后会自动重试。",
        "stays": "需要人工修改后才会改变。",
        "moves": "不会在原处原样再次启动。",
        "errors": "API 错误",
        "errors_intro": (
            "管理接口返回 RFC 9457 problem，`code` 保持稳定；推理接口使用 OpenAI 的错误格式，"
            "`code` 相同，`source` 说明错误来自网关、工作节点还是推理后端。"
        ),
        "head": "| 代码 | 状态码 | 重试 | 含义 |",
    },
}


def page(language: str) -> str:
    """The whole page in `language` (en or zh)."""
    words = _WORDS[language]
    lines = [f"# {words['title']}", "", words["intro"], "", f"## {words['states']}", ""]
    for code, row in sorted(CATALOGUE.items()):
        sentence, fix = (row.zh, row.fix_zh) if language == "zh" else (row.en, row.fix_en)
        after = words["again"] if row.retryable else words["stays"]
        after = words["moves"] if code in OUT_OF_MEMORY else after
        lines += [
            f"### `{code}`",
            "",
            f"**{words['means']}**: {sentence}",
            "",
            f"**{words['do']}**: {fix} {after}",
            "",
        ]
    lines += [
        f"## {words['errors']}",
        "",
        words["errors_intro"],
        "",
        words["head"],
        "|---|---|---|---|",
    ]
    for kind in sorted(_error_classes(), key=lambda kind: kind.code):
        meaning = (kind.__doc__ or "").splitlines()[0]
        lines.append(f"| `{kind.code}` | {kind.status} | {kind.retry.value} | {meaning} |")
    return "\n".join(lines) + "\n"


def _error_classes() -> list[type[errors.AimsError]]:
    return [
        kind
        for kind in vars(errors).values()
        if isinstance(kind, type)
        and issubclass(kind, errors.AimsError)
        and kind not in (errors.AimsError, errors.SettingsError)
    ]


TARGETS = {"en": ROOT / "docs/troubleshooting.md", "zh": ROOT / "docs/zh/troubleshooting.md"}


def main() -> int:
    """Write both pages."""
    for language, target in TARGETS.items():
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(page(language), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
