"""Command-line words that users pass to an engine, read against an allow-list.

What is not in the list is refused before anything starts: an engine's flags can write files, open
ports and run code. Knows the form of words, not what any flag means.
"""

import json
import math
import re
import shlex
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any, cast

from aimindserve.core.reason import Reason

WORD_LENGTH_MAX = 8192
_FLAG = re.compile(r"^-{1,2}[A-Za-z]")

Parse = Callable[[str], Any]
"""A value from its text; raises ValueError with what is allowed."""


@dataclass(frozen=True, slots=True)
class Parameter:
    """One flag: its names, where its value goes, and how to read it. A flag without `parse` takes
    no value and stands for `constant`."""

    names: tuple[str, ...]
    key: str
    parse: Parse | None = None
    constant: Any = True


@dataclass(frozen=True, slots=True)
class Vocabulary:
    """All flags of one backend: what it takes, and what only this program sets."""

    backend: str
    parameters: tuple[Parameter, ...]
    managed: frozenset[str] = frozenset()

    def spelled(self, entries: Sequence[str]) -> Mapping[str, tuple[str, ...]]:
        """Key -> the flag by its first name and its value as it was given, for `entries` that
        `read` accepts; later ones win."""
        known = {name: item for item in self.parameters for name in item.names}
        found: dict[str, tuple[str, ...]] = {}
        words = list(reversed(_split(entries)))
        while words:
            name, equals, text = words.pop().partition("=")
            item = known[_canonical(name)]
            if item.parse is None:
                found[item.key] = (item.names[0],)
            else:
                found[item.key] = (item.names[0], text if equals else words.pop())
        return found

    def read(self, entries: Sequence[str]) -> Mapping[str, Any] | Reason:
        """Key -> value for `entries` (`--k=v`, `--k v` in one entry or two); later ones win."""
        known = {name: item for item in self.parameters for name in item.names}
        values: dict[str, Any] = {}
        words = list(reversed(_split(entries)))
        while words:
            word = words.pop()
            name, equals, text = word.partition("=")
            item = known.get(_canonical(name))
            if item is None:
                return self._refuse(name, self._unknown(name, known))
            if item.parse is None:
                if equals:
                    return self._refuse(name, "it takes no value")
                values[item.key] = item.constant
                continue
            if not equals:
                if not words or (_FLAG.match(words[-1]) and not _is_number(words[-1])):
                    return self._refuse(name, "its value is missing")
                text = words.pop()
            try:
                values[item.key] = item.parse(text)
            except ValueError as error:
                return self._refuse(word if equals else f"{name} {text}", str(error))
        return values

    def replaced(self, entries: Sequence[str], words: Sequence[str]) -> tuple[str, ...]:
        """`entries`, which `read` accepts, with every flag that `words` sets given as there."""
        known = {name: item for item in self.parameters for name in item.names}
        set_anew = {known[_canonical(word.partition("=")[0])].key for word in words}
        kept: list[str] = []
        left = list(reversed(_split(entries)))
        while left:
            word = left.pop()
            name, equals, _ = word.partition("=")
            item = known[_canonical(name)]
            value = [left.pop()] if item.parse is not None and not equals else []
            if item.key not in set_anew:
                kept += [word, *value]
        return (*kept, *words)

    def _unknown(self, name: str, known: Mapping[str, Parameter]) -> str:
        if _canonical(name) in self.managed:
            return "it is set by this program"
        if not name.startswith("-"):
            return "a parameter begins with '-'"
        near = get_close_matches(_canonical(name), list(known), n=1, cutoff=0.6)
        return f"did you mean {near[0]}?" if near else "it is not in the list of allowed parameters"

    def _refuse(self, param: str, detail: str) -> Reason:
        return Reason(
            "bad_param", {"backend": self.backend, "param": param[:100], "detail": detail}
        )


def whole(low: int, high: int) -> Parse:
    """A whole number from `low` to `high`."""

    def parse(text: str) -> int:
        try:
            number = int(text)
        except ValueError:
            raise ValueError(f"{text[:40]!r} is not a whole number") from None
        if not low <= number <= high:
            raise ValueError(f"{number} is not between {low} and {high}")
        return number

    return parse


def decimal(low: float, high: float) -> Parse:
    """A number from `low` to `high`."""

    def parse(text: str) -> float:
        try:
            number = float(text)
        except ValueError:
            raise ValueError(f"{text[:40]!r} is not a number") from None
        if not math.isfinite(number) or not low <= number <= high:
            raise ValueError(f"{text[:40]} is not between {low:g} and {high:g}")
        return number

    return parse


def choice(options: Mapping[str, Any]) -> Parse:
    """One of the named `options`."""

    def parse(text: str) -> Any:
        if text.lower() not in options:
            raise ValueError(f"{text[:40]!r} is none of {', '.join(options)}")
        return options[text.lower()]

    return parse


def short_text(text: str) -> str:
    """Any text that is not too long."""
    if len(text) > WORD_LENGTH_MAX:
        raise ValueError(f"it is longer than {WORD_LENGTH_MAX} characters")
    return text


def json_object(text: str) -> dict[str, str]:
    """A JSON object; its values stay JSON."""
    try:
        value = json.loads(short_text(text))
    except (ValueError, RecursionError):
        raise ValueError("it is not valid JSON") from None
    if not isinstance(value, dict):
        raise ValueError("it is not a JSON object")
    return {key: json.dumps(entry) for key, entry in cast("dict[str, Any]", value).items()}


def _split(entries: Sequence[str]) -> list[str]:
    """One entry may hold a flag and its value; `--k=v` is taken whatever is in `v`."""
    words: list[str] = []
    for entry in entries:
        head = entry.split(maxsplit=1)[0] if entry.strip() else ""
        if "=" in head or " " not in entry.strip() or not _FLAG.match(entry.strip()):
            words.append(entry.strip())
            continue
        try:
            words.extend(shlex.split(entry))
        except ValueError:
            words.append(entry.strip())
    return [word for word in words if word]


def _canonical(name: str) -> str:
    """`--ctx_size` means `--ctx-size`; short flags stay as they are."""
    return name.lower().replace("_", "-") if name.startswith("--") else name


def _is_number(word: str) -> bool:
    try:
        float(word)
    except ValueError:
        return False
    return True
