"""The reference pages of the settings, made from their declarations, in English and 简体中文.

`python -m aimindserve.boot.reference DIRECTORY` writes `reference/settings.md` and
`zh/reference/settings.md` below it; with `--check` it compares instead and fails on a difference.
"""

import json
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from aimindserve.boot.declared._setting import Declared, Form
from aimindserve.boot.forms import plain, shown
from aimindserve.boot.settings import declared

PAGES: Mapping[str, str] = {"en": "reference/settings.md", "zh": "zh/reference/settings.md"}


@dataclass(frozen=True, slots=True)
class Words:
    """The fixed sentences of one language."""

    title: str
    intro: str
    sections: Mapping[str, str]
    head: tuple[str, str, str, str]
    file_only: str
    later: str
    empty: str
    example_title: str
    example_intro: str
    notes: str


_ENGLISH = Words(
    title="Settings of `aimindserve start`",
    intro="""\
This page is generated from the declarations in `src/aimindserve/boot/declared`; do not edit it.

A setting is looked for in this order: **flag > environment variable > YAML file > default**. The
file is named by `--config-file`. Switches may stand alone (`--debug`) or carry a value
(`--debug=false`). Lists may be given by repeating the flag, as JSON, or in the environment
separated by commas (words of a command line: as a shell separates them). A key or value that is not
allowed ends the program with exit code 2, before anything is started, and every mistake is told at
once. `aimindserve config show` shows each value and where it comes from.

Settings marked *later* are accepted and checked, but do nothing yet.""",
    sections={
        "general": "General",
        "server": "Server",
        "sign_in": "Sign-in providers (server)",
        "ray": "Ray (server and worker)",
        "worker": "Worker",
    },
    head=("Flag", "Environment, YAML key", "Default", "Meaning"),
    file_only="only in the file",
    later="*Later.*",
    empty="none",
    example_title="Example file",
    example_intro="Every key with an example value; leave out what you do not need.",
    notes="""\
## Notes

* The data directory's default is `/var/lib/aimindserve` for root on Linux, else
  `$XDG_DATA_HOME/aimindserve` (`~/.local/share/aimindserve`); on macOS
  `~/Library/Application Support/aimindserve` (`/Library/…` for root); `%APPDATA%\\aimindserve` on
  Windows.
* `ray_worker_port_range` is 40200-40999. Older documents say 40100-40131, which overlaps other
  ports of Ray; the newer one holds. `server_metrics_port` is the server's 10161 of the newer
  documents.
* `--token` is needed wherever `--server-url` is given.
* `GPUSTACK_SERVER_URL` is the server that a machine belongs to: `start` joins it as a worker,
  commands talk to it. Where it is set, `start` refuses flags that only a server has; unset it to
  run a server there. `quickstart`, `demo` and `reset-admin-password` mean a server of this machine
  and do not read it.
* With `enable_cors`, `allow_credentials` and the origin `*` together are refused.""",
)

_CHINESE = Words(
    title="`aimindserve start` 的配置项",
    intro="""\
本页由 `src/aimindserve/boot/declared` 中的声明生成,请勿手工编辑。

取值顺序:**命令行参数 > 环境变量 > YAML 文件 > 默认值**。文件由 `--config-file` 指定。开关类参数
可单独使用(`--debug`),也可带值(`--debug=false`)。列表可重复同一参数、写成 JSON,或在环境变量中
以逗号分隔(命令行词语则按 shell 规则分隔)。键或值不合法时,程序在启动任何部件之前以退出码 2 结束,
并一次性列出全部错误。`aimindserve config show` 显示每一项的值及其来源。

标记为“后续”的配置项会被接受并校验,但目前尚不起作用。""",
    sections={
        "general": "通用",
        "server": "服务器",
        "sign_in": "外部登录(服务器)",
        "ray": "Ray(服务器与工作节点)",
        "worker": "工作节点",
    },
    head=("参数", "环境变量、YAML 键", "默认值", "含义"),
    file_only="仅限文件",
    later="*后续。*",
    empty="空",
    example_title="示例文件",
    example_intro="列出全部键与示例值;不需要的可省略。",
    notes="""\
## 说明

* 数据目录默认值:Linux 上 root 为 `/var/lib/aimindserve`,其他用户为 `$XDG_DATA_HOME/aimindserve`
  (即 `~/.local/share/aimindserve`);macOS 为 `~/Library/Application Support/aimindserve`(root 为
  `/Library/…`);Windows 为 `%APPDATA%\\aimindserve`。
* `ray_worker_port_range` 为 40200-40999。旧文档写作 40100-40131,与 Ray 的其他端口重叠,
  以新文档为准。
  `server_metrics_port` 采用新文档中的服务器指标端口 10161。
* 提供 `--server-url` 时必须提供 `--token`。
* `GPUSTACK_SERVER_URL` 是本机所属的服务器:`start` 以工作节点方式加入它,各命令访问它。
  设置了该变量时,`start` 拒绝只有服务器才有的参数;要在本机运行服务器,请取消该变量。`quickstart`、
  `demo` 和 `reset-admin-password` 总是指本机的服务器,不读取该变量。
* 启用 `enable_cors` 时,`allow_credentials` 不能与来源 `*` 同时使用。""",
)

_WORDS: Mapping[str, Words] = {"en": _ENGLISH, "zh": _CHINESE}
_COMPUTED_ZH: Mapping[str, str] = {
    "none": "空",
    "`/var/lib/aimindserve` for root on Linux, else where the user's data is kept": (
        "Linux 上 root 为 `/var/lib/aimindserve`,否则为用户存放数据的目录"
    ),
    "found on PATH": "在 PATH 中查找",
    "found by looking": "自动检测",
    "the public hub": "公共站点",
    "the built-in one": "内置目录",
    "the host name": "主机名",
    "80, or 443 with TLS": "80,启用 TLS 时为 443",
    "made at the first start and kept in `<data-dir>/token`": (
        "首次启动时生成,保存于 `<data-dir>/token`"
    ),
    "made at the first start and kept in `<data-dir>/initial_admin_password`": (
        "首次启动时生成,保存于 `<data-dir>/initial_admin_password`"
    ),
}


def page(language: str) -> str:
    """The whole reference page in `en` or `zh`."""
    words = _WORDS[language]
    parts = [f"# {words.title}", words.intro]
    for section, title in words.sections.items():
        parts += [f"## {title}", "\n".join(_table(section, words, language))]
    parts += [words.notes, f"## {words.example_title}", words.example_intro]
    parts.append(f"```yaml\n{example_file(words)}```")
    return "\n\n".join(parts) + "\n"


def example_file(words: Words = _ENGLISH) -> str:
    """A YAML file with every key."""
    lines: list[str] = []
    for section, title in words.sections.items():
        lines += [""] * bool(lines) + [f"# {title}"]
        lines += [
            f"{item.name}: {_example(item)}"
            for item in declared().values()
            if item.section == section and not item.setting.no_file
        ]
    return "\n".join(lines) + "\n"


def computed(item: Declared, language: str) -> str:
    """What a default is that depends on something, in words; empty for any other."""
    text = item.setting.computed
    return text if language == "en" else _COMPUTED_ZH.get(text, text)


def write(directory: Path) -> None:
    """Write the pages below `directory`."""
    for language, name in PAGES.items():
        path = directory / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(page(language), encoding="utf-8")


def stale(directory: Path) -> list[str]:
    """The pages below `directory` that are missing or differ from what would be written."""
    return [
        name
        for language, name in PAGES.items()
        if not (directory / name).is_file()
        or (directory / name).read_text(encoding="utf-8") != page(language)
    ]


def _table(section: str, words: Words, language: str) -> Iterator[str]:
    yield f"| {' | '.join(words.head)} |"
    yield "|" + " --- |" * len(words.head)
    for item in declared().values():
        if item.section == section:
            yield f"| {' | '.join(_cells(item, words, language))} |"


def _cells(item: Declared, words: Words, language: str) -> tuple[str, str, str, str]:
    setting = item.setting
    flags = ", ".join(f"`{flag}`" for flag in item.flags) or words.file_only
    keys = [f"`{item.env}`"] if item.env else []
    keys += [] if setting.no_file else [f"`{item.name}`"]
    meaning = setting.help if language == "en" else setting.help_zh
    if not item.active:
        meaning = f"{meaning} {words.later}"
    return flags, " ".join(keys), _default(item, words, language), meaning.replace("|", "\\|")


def _default(item: Declared, words: Words, language: str) -> str:
    told = computed(item, language)
    if told:
        return told
    text = shown(item.default)
    return f"`{text}`" if text else words.empty


def _example(item: Declared) -> str:
    if item.setting.example:
        return item.setting.example
    value = plain(item.default)
    if item.setting.form is Form.OBJECT:
        return "{}"
    return json.dumps(value) if not isinstance(value, str) else value


if __name__ == "__main__":
    target = Path(sys.argv[-1])
    if "--check" not in sys.argv:
        write(target)
    elif old := stale(target):
        sys.exit(f"{', '.join(old)}: not as declared; run `make docs`")
