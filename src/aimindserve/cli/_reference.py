"""The reference pages of the command line, made from the commands themselves.

`python -m aimindserve.cli._reference DIRECTORY` writes `reference/cli.md` and
`zh/reference/cli.md` below it; with `--check` it compares instead and fails on a difference.
"""

import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import click

from aimindserve.cli._help import ChineseFormatter, chinese
from aimindserve.cli.app import command_names, load, main, short_help

PROGRAM = "aimindserve"
WIDTH = 100
PAGES: Mapping[str, str] = {"en": "reference/cli.md", "zh": "zh/reference/cli.md"}


@dataclass(frozen=True, slots=True)
class Words:
    """The fixed sentences of one language."""

    title: str
    intro: str
    codes_title: str
    codes: str


_ENGLISH = Words(
    title="Commands",
    intro="""\
This page is generated from the commands' own help; do not edit it. `gpustack` is the same program.

Commands that talk to a server find it by `--server`, else `GPUSTACK_SERVER_URL`, else the last
`aimindserve login`, else on this machine: a server that this user started, wherever it listens, or
one at port 80 or 8080. Standard output is data, everything else goes to standard error; `-o json`
prints the API's objects as they are. Messages and help are in Chinese when the locale is, or with
`GPUSTACK_LANG=zh`.""",
    codes_title="Exit codes",
    codes="""\
| code | meaning |
|---:|---|
| 0 | done |
| 1 | failed |
| 2 | wrong usage or settings |
| 3 | not found |
| 4 | sign in, or not allowed |
| 5 | conflict, or changed meanwhile |
| 6 | no worker can take it |
| 7 | waiting timed out; the work goes on |
| 8 | the server cannot be reached |
| 9 | the target failed |
| 10 | differences were found (`apply --dry-run`, `--diff`) |
| 130 | interrupted |""",
)
_CHINESE = Words(
    title="命令",
    intro="""\
本页由各命令的帮助信息生成，请勿手工修改。`gpustack` 是同一个程序。

访问服务器的命令依次按 `--server`、`GPUSTACK_SERVER_URL`、最近一次 `aimindserve login`、
本机服务器（本用户启动的服务器，不论监听哪个端口；否则为 80 或 8080 端口上的服务器）确定目标。
标准输出只有数据，其余内容写到标准错误；`-o json` 原样输出 API 对象。
系统语言为中文或 `GPUSTACK_LANG=zh` 时，提示信息和帮助显示中文。""",
    codes_title="退出码",
    codes="""\
| 退出码 | 含义 |
|---:|---|
| 0 | 成功 |
| 1 | 失败 |
| 2 | 用法或设置错误 |
| 3 | 未找到 |
| 4 | 需要登录或没有权限 |
| 5 | 冲突，或对象已被他人修改 |
| 6 | 没有工作节点可以运行 |
| 7 | 等待超时，后台仍在继续 |
| 8 | 无法连接服务器 |
| 9 | 目标失败 |
| 10 | 存在差异（`apply --dry-run`、`--diff`） |
| 130 | 被中断 |""",
)
WORDS: Mapping[str, Words] = {"en": _ENGLISH, "zh": _CHINESE}


def page(language: str) -> str:
    """The whole page in `language`, as Markdown."""
    words = WORDS[language]
    parts = [f"# {words.title}", words.intro, _overview(language)]
    for name in command_names():
        parts += list(_sections(load(name), PROGRAM, name, language))
    parts += [f"## {words.codes_title}", words.codes]
    return "\n\n".join(parts) + "\n"


def write(folder: Path) -> None:
    """Write the pages below `folder`."""
    for language, name in PAGES.items():
        target = folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(page(language), encoding="utf-8")


def stale(folder: Path) -> list[Path]:
    """The pages below `folder` that are not what the commands say."""
    targets = {folder / name: page(language) for language, name in PAGES.items()}
    return [
        target
        for target, text in targets.items()
        if not target.exists() or target.read_text(encoding="utf-8") != text
    ]


def _overview(language: str) -> str:
    lines: list[str] = []
    for name in command_names():
        line = short_help(name)
        told = (chinese(line) or line) if language == "zh" else line
        lines.append(f"* [`{name}`](#{PROGRAM}-{name}): {told}")
    return "\n".join(lines)


def _sections(
    command: click.Command, path: str, name: str, language: str, depth: int = 2
) -> Iterator[str]:
    """A command with its subcommands, each with its help as printed."""
    whole = f"{path} {name}"
    yield f"{'#' * depth} {whole}"
    yield f"```text\n{_help(command, whole, language)}\n```"
    if isinstance(command, click.Group):
        for child in sorted(command.commands):
            yield from _sections(command.commands[child], whole, child, language, depth + 1)


def _help(command: click.Command, path: str, language: str) -> str:
    context = click.Context(
        command, info_name=path, max_content_width=WIDTH, terminal_width=WIDTH,
        help_option_names=list(main.context_settings["help_option_names"]),
    )  # fmt: skip
    formatter = ChineseFormatter(width=WIDTH) if language == "zh" else context.make_formatter()
    command.format_help(context, formatter)
    return formatter.getvalue().rstrip()


if __name__ == "__main__":
    words = [word for word in sys.argv[1:] if word != "--check"]
    root = Path(words[0] if words else "docs")
    if "--check" in sys.argv:
        old = stale(root)
        for each in old:
            sys.stderr.write(f"{each} is stale; run: make docs\n")
        raise SystemExit(1 if old else 0)
    write(root)
