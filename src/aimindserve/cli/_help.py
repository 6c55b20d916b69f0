"""`--help` in the reader's language: the same commands, printed by another formatter.

Texts are looked up as they are printed, paragraph by paragraph, so that commands are written in
English once and know nothing of languages. What has no translation stays English; a test allows
none.
"""

import re
import unicodedata
from collections.abc import Iterable, Iterator, Mapping
from functools import cache

import click
from typing_extensions import override

from aimindserve.cli._text import language

WIDTH = 100
_EXTRA = re.compile(r"^(?P<help>.*?)(?P<gap>  |)(?P<extra>\[[^\[\]]*\])$", re.DOTALL)
_EXTRA_WORDS = (("default: ", "默认："), ("env var: ", "环境变量："), ("required", "必需"))
_NOT_FIRST = "，。、；：！？）》」』】〕…"


class Speaking(click.Context):
    """A context whose help is in the user's language."""

    @override
    def make_formatter(self) -> click.HelpFormatter:
        """Click's own for English."""
        if language() == "zh":
            return ChineseFormatter(width=self.terminal_width, max_width=self.max_content_width)
        return super().make_formatter()


def speaking(command: click.Command) -> click.Command:
    """Let `command` and its subcommands print their help in the user's language."""
    command.context_class = Speaking
    if isinstance(command, click.Group):
        for child in command.commands.values():
            speaking(child)
    return command


def chinese(text: str) -> str | None:
    """The translation of a paragraph, or None."""
    from aimindserve.cli._help_zh import CHINESE

    words = " ".join(text.split())
    return CHINESE.get(words) or _settings().get(words)


class ChineseFormatter(click.HelpFormatter):
    """Writes what click writes, in Chinese, by the width that letters take on a screen."""

    @override
    def write_usage(self, prog: str, args: str = "", prefix: str | None = None) -> None:
        """The line that shows how to call it."""
        from aimindserve.cli._help_zh import USAGE

        super().write_usage(prog, args, USAGE if prefix is None else prefix)

    @override
    def write_heading(self, heading: str) -> None:
        """The title of a section."""
        from aimindserve.cli._help_zh import HEADINGS

        self.write(f"{' ' * self.current_indent}{HEADINGS.get(heading, heading)}：\n")

    @override
    def write_text(self, text: str) -> None:
        """Paragraphs; those that begin with a backspace are examples, kept as they are."""
        pad = " " * self.current_indent
        shown: list[str] = []
        for paragraph in re.split(r"\n\s*\n", text.strip("\n")):
            if paragraph.startswith("\b"):
                lines = [line.rstrip() for line in paragraph[1:].strip("\n").splitlines()]
            else:
                told = chinese(paragraph) or " ".join(paragraph.split())
                lines = list(wrapped(told, self.width - self.current_indent))
            shown.append("\n".join(f"{pad}{line}".rstrip() for line in lines))
        self.write("\n\n".join(shown) + "\n")

    @override
    def write_dl(
        self, rows: Iterable[tuple[str, str]], col_max: int = 30, col_spacing: int = 2
    ) -> None:
        """Flags or commands with what they mean."""
        rows = list(rows)
        widths = [_width(first) for first, _ in rows]
        column = min(max(widths, default=0), col_max) + col_spacing
        pad = " " * self.current_indent
        for (first, meaning), width in zip(rows, widths, strict=True):
            room = max(20, self.width - column - self.current_indent)
            lines = list(wrapped(_translated(meaning), room))
            if lines and width <= column - col_spacing:
                lines[0] = f"{first}{' ' * (column - width)}{lines[0]}"
            else:
                lines = [first, *(" " * column + line for line in lines[:1]), *lines[1:]]
            head = 1 if width <= column - col_spacing else 2
            tail = [" " * column + line for line in lines[head:]]
            for line in [*lines[:head], *tail]:
                self.write(f"{pad}{line}".rstrip() + "\n")


def wrapped(text: str, width: int) -> Iterator[str]:
    """Lines of at most `width` columns, broken at spaces and beside Chinese letters, but not before
    punctuation that belongs to what stands before it."""
    line, taken = "", 0
    for piece in _pieces(text):
        size = _width(piece)
        if line and taken + _width(piece.rstrip()) > width and piece[:1] not in _NOT_FIRST:
            yield line.rstrip()
            line, taken, piece = "", 0, piece.lstrip()  # noqa: PLW2901 - a line begins with a word
            size = _width(piece)
        line, taken = line + piece, taken + size
    if line.strip():
        yield line.rstrip()


def _pieces(text: str) -> Iterator[str]:
    """What may not be broken: a wide letter, or a run of narrow ones with the space behind it."""
    yield from re.findall(r"[\u2e80-\uffef]\s*|[^\s\u2e80-\uffef]+\s*|\s+", text)


def _translated(meaning: str) -> str:
    """An option's help; what click adds in brackets is translated by its words."""
    whole = chinese(meaning)
    if whole is not None:
        return whole
    found = _EXTRA.match(meaning)
    if found is None:
        return meaning
    extra = found["extra"]
    for english, told in _EXTRA_WORDS:
        extra = extra.replace(english, told)
    return f"{chinese(found['help']) or found['help']}{found['gap']}{extra}"


@cache
def _settings() -> Mapping[str, str]:
    """The texts of the flags of `start`: imported only when no other text fits."""
    from aimindserve.cli._settings import chinese_texts

    return chinese_texts()


def _width(text: str) -> int:
    return sum(2 if unicodedata.east_asian_width(letter) in "WF" else 1 for letter in text)
