"""Sentences of errors in the user's language, written in English where they arise.

    raise InvalidError(words("{text!r} is no label.", text=text), hint=words("Write LABEL=VALUE."))

The text stays a `str`, in English or, by the user's locale, 简体中文; programs that asked for JSON
get the English one, which is kept beside it. The Chinese is found by the English template: a test
finds every template in the source, and none without its translation.
"""

from collections.abc import Sequence

from typing_extensions import Self

from aimindserve.cli._text import language


class Words(str):
    """A sentence for people that remembers its English."""

    __slots__ = ("english",)
    english: str

    def __new__(cls, told: str, english: str) -> Self:
        made = super().__new__(cls, told)
        made.english = english
        return made


def words(template: str, **params: object) -> Words:
    """`template` with its braces filled, in the user's language."""
    english = template.format(**params)
    if language() != "zh":
        return Words(english, english)
    from aimindserve.cli._words_zh import CHINESE

    return Words(CHINESE.get(template, template).format(**params), english)


def no_such_command(name: str, near: Sequence[str]) -> Words:
    """There is no such command, and which one may be meant."""
    if near:
        return words("No such command '{name}'. Did you mean '{near}'?", name=name, near=near[0])
    return words("No such command '{name}'.", name=name)


def english(text: str) -> str:
    """The English of a sentence; of any other text, itself."""
    return text.english if isinstance(text, Words) else text
