"""The settings as click options: every command that takes settings takes them all, the same way."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

import click

from aimindserve.boot.declared._setting import Declared, Form, Stage
from aimindserve.boot.forms import shown
from aimindserve.boot.reference import computed
from aimindserve.boot.settings import declared

F = TypeVar("F", bound=Callable[..., Any])
_METAVARS: Mapping[Form, str] = {
    Form.COUNT: "N",
    Form.PORT: "PORT",
    Form.PORT_RANGE: "N1-N2",
    Form.PATH: "PATH",
    Form.URL: "URL",
    Form.DATABASE_URL: "URL",
    Form.ADDRESS: "ADDRESS",
    Form.NAME: "NAME",
    Form.RESERVED: "JSON",
    Form.OBJECT: "JSON",
    Form.SWITCH: "[true|false]",
}


def settings_options(command: F) -> F:
    """Add an option for every setting that has a flag."""
    for item in reversed([item for item in declared().values() if item.flags]):
        command = _option(item)(command)
    return command


def given(options: Mapping[str, Any]) -> dict[str, Any]:
    """From click's values, only what was given on the command line, by setting name."""
    flags = {name: options.get(name) for name, item in declared().items() if item.flags}
    return {name: _one_or_list(value) for name, value in flags.items() if value not in (None, ())}


def _one_or_list(value: str | Sequence[str]) -> str | list[str]:
    """A list flag given once may hold a JSON list; given several times each is one element."""
    if isinstance(value, str):
        return value
    if len(value) == 1 and value[0].lstrip().startswith("["):
        return value[0]
    return list(value)


def chinese_texts() -> Mapping[str, str]:
    """What the options' help is in 简体中文, by the English text."""
    return {
        " ".join(_help(item, "en").split()): _help(item, "zh")
        for item in declared().values()
        if item.flags
    }


def _help(item: Declared, language: str) -> str:
    setting, chinese = item.setting, language == "zh"
    text = (setting.help_zh if chinese else setting.help).replace("`", "")
    if setting.stage is not Stage.ACTIVE:
        text += "（尚未启用）" if chinese else " (not active yet)"
    default = computed(item, language).replace("`", "") or shown(item.default)
    if not default or setting.form is Form.SWITCH:
        return text
    return f"{text} [默认：{default}]" if chinese else f"{text} [default: {default}]"


def _option(item: Declared) -> Callable[[F], F]:
    setting = item.setting
    extra: dict[str, Any] = {}
    if setting.form is Form.SWITCH:
        extra = {"is_flag": False, "flag_value": "true"}
    elif setting.form in (Form.ITEMS, Form.WORDS):
        extra = {"multiple": True}
    return click.option(
        *item.flags,
        item.name,
        type=str,
        default=None,
        metavar=_METAVARS.get(setting.form, "TEXT"),
        help=_help(item, "en"),
        **extra,
    )
