"""What the command-line library says to people, in 简体中文, by its English text.

The library hands each of its sentences to gettext, by the name `_` of its modules: there they are
answered from here when the user reads Chinese. A test compares with the sentences it has, so that a
newer version of it is noticed. Sections of the help are not here: `_help` prints those.
"""

import gettext
import importlib
from collections.abc import Mapping

from aimindserve.cli._text import language

CHINESE: Mapping[str, str] = {
    "Error: {message}": "错误：{message}",
    "Try '{command} {option}' for help.": "使用“{command} {option}”查看帮助。",
    "Missing command.": "缺少命令。",
    "Missing argument": "缺少参数",
    "Missing option": "缺少选项",
    "Missing parameter": "缺少参数",
    "Missing {param_type}": "缺少 {param_type}",
    "Missing parameter: {param_name}": "缺少参数：{param_name}",
    "Invalid value: {message}": "值无效：{message}",
    "Invalid value for {param_hint}: {message}": "{param_hint} 的值无效：{message}",
    "No such option {name!r}.": "没有选项 {name!r}。",
    "No such command {name!r}.": "没有命令 {name!r}。",
    "Did you mean {possibility}?": "是否想输入 {possibility}？",
    "(Did you mean one of: {possibilities}?)": "（是否想输入以下之一：{possibilities}？）",
    "Got unexpected extra argument ({args})": "多余的参数（{args}）",
    "Got unexpected extra arguments ({args})": "多余的参数（{args}）",
    "Takes {nargs} values but 1 was given.": "需要 {nargs} 个值，但只给出 1 个。",
    "Takes {nargs} values but {len} were given.": "需要 {nargs} 个值，但给出 {len} 个。",
    "Invalid start character for option ({option})": "选项的起始字符无效（{option}）",
    "Option {name!r} does not take a value.": "选项 {name!r} 不接受值。",
    "Option {name!r} requires an argument.": "选项 {name!r} 需要一个值。",
    "Option {name!r} requires {nargs} arguments.": "选项 {name!r} 需要 {nargs} 个值。",
    "Argument {name!r} takes {nargs} values.": "参数 {name!r} 需要 {nargs} 个值。",
    "Choose from:\n\t{choices}": "可选值：\n\t{choices}",
    "{value!r} is not {choice}.": "{value!r} 不是 {choice}。",
    "{value!r} is not one of {choices}.": "{value!r} 不是以下之一：{choices}。",
    "{value} is not in the range {range}.": "{value} 不在范围 {range} 内。",
    "{value!r} is not a valid boolean. Recognized values: {states}": (
        "{value!r} 不是有效的布尔值。可用的值：{states}"
    ),
    "{value!r} is not a valid {number_type}.": "{value!r} 不是有效的数值。",
    "{len_type} values are required, but {len_value} was given.": (
        "需要 {len_type} 个值，但只给出 {len_value} 个。"
    ),
    "{len_type} values are required, but {len_value} were given.": (
        "需要 {len_type} 个值，但给出 {len_value} 个。"
    ),
    "Repeat for confirmation": "再次输入以确认",
    "Error: The two entered values do not match.": "错误：两次输入不一致。",
    "Error: invalid input": "错误：输入无效",
    "Aborted!": "已中止！",
    "deprecated": "已弃用",
}
MODULES = ("core", "exceptions", "formatting", "parser", "termui", "types", "utils")


def install() -> None:
    """Answer the library's questions for words from now on."""
    for name in MODULES:
        module = importlib.import_module(f"click.{name}")
        for word, answer in (("_", one), ("ngettext", one_or_many)):
            if hasattr(module, word):
                setattr(module, word, answer)


def one(text: str) -> str:
    """As gettext does."""
    if text in CHINESE and language() == "zh":
        return CHINESE[text]
    return gettext.gettext(text)


def one_or_many(text: str, many: str, count: int) -> str:
    """As ngettext does."""
    told = text if count == 1 else many
    if told in CHINESE and language() == "zh":
        return CHINESE[told]
    return gettext.ngettext(text, many, count)
