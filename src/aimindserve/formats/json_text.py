"""JSON written by strangers: parsed with limits, and read with types.

Python's parser accepts what other readers do not agree on (a key twice) and what costs far more
than its length (numbers of a million digits, brackets ten thousand deep). All that is a FormatError
here. `NaN` and `Infinity` are no JSON, but published configurations have them
(`"time_step_limit": [0.0, Infinity]` of Mamba 2), so a reader chooses whether they may occur; no
count can ever be one.
"""

import json
import math
import re
from collections.abc import Mapping
from typing import Any, cast

from aimindserve.core.errors import FormatError

DEPTH_MAX = 64
DIGITS_MAX = 64
PIECES_MAX = 4_000_000
"""Texts and brackets: a tokenizer configuration that lists 262,144 words has three million. An
object of nothing takes twenty times what it takes in the file."""
COUNT_MAX = 2**40
TEXT_MAX = 200

_STRUCTURE = re.compile(rb'"[^"\\]*(?:\\.[^"\\]*)*"?|[\[{]|[\]}]', re.DOTALL)
"""A string or a bracket. The closing quote may be missing: the pattern must never fail late, or a
file of quotes would cost the square of its length."""


def parse_object(data: bytes, what: str, *, constants: bool = True) -> dict[str, Any]:
    """The JSON object in `data`; `what` names the file in errors. Raises FormatError only."""
    value = parse(data, what, constants=constants)
    if not isinstance(value, dict):
        raise FormatError(f"{what} should hold an object, not {type(value).__name__}")
    return cast("dict[str, Any]", value)


def parse_objects(data: bytes, what: str) -> list[dict[str, Any]]:
    """The list of JSON objects in `data`. Raises FormatError only."""
    value = parse(data, what)
    entries = cast("list[object]", value) if isinstance(value, list) else None
    if entries is None or any(not isinstance(entry, dict) for entry in entries):
        raise FormatError(f"{what} should hold a list of objects")
    return cast("list[dict[str, Any]]", entries)


def parse(data: bytes, what: str, *, constants: bool = True) -> object:
    """The JSON value in `data`. Raises FormatError only."""
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise FormatError(f"{what} is not UTF-8 text: byte {error.start} is wrong") from error
    _check_depth(data, what)

    def pairs(found: list[tuple[str, Any]]) -> dict[str, Any]:
        made = dict(found)
        if len(made) != len(found):
            raise FormatError(f"{what} has the key {_twice(found)[:80]!r} twice in one place")
        return made

    def whole(digits: str) -> int:
        if len(digits) > DIGITS_MAX:
            raise FormatError(f"{what} has a number of {len(digits)} digits")
        return int(digits)

    def constant(name: str) -> float:
        if not constants:
            raise FormatError(f"{what} has {name} where a number should be")
        return float(name.replace("Infinity", "inf"))

    try:
        return json.loads(text, object_pairs_hook=pairs, parse_int=whole, parse_constant=constant)
    except (ValueError, RecursionError) as error:
        detail = str(error) if isinstance(error, json.JSONDecodeError) else "nested too deeply"
        raise FormatError(f"{what} is not JSON: {detail[:TEXT_MAX]}") from error


def _check_depth(data: bytes, what: str) -> None:
    depth = 0
    for count, match in enumerate(_STRUCTURE.finditer(data)):
        if count >= PIECES_MAX:
            raise FormatError(f"{what} has more than {PIECES_MAX} texts and brackets")
        sign = match.group()
        if sign in (b"[", b"{"):
            depth += 1
            if depth > DEPTH_MAX:
                raise FormatError(f"{what} is nested more than {DEPTH_MAX} deep")
        elif sign in (b"]", b"}"):
            depth -= 1


def _twice(pairs: list[tuple[str, Any]]) -> str:
    seen: set[str] = set()
    for key, _ in pairs:
        if key in seen:
            return key
        seen.add(key)
    return ""


class Keys:
    """Typed access to one object. A key that is missing or null is not there; one of the wrong type
    is a FormatError. Several names are tried in turn: families spell the same thing differently."""

    def __init__(self, values: Mapping[str, Any], what: str) -> None:
        self.values = values
        self._what = what

    def has(self, *names: str) -> bool:
        """Whether one of them is there."""
        return any(self.values.get(name) is not None for name in names)

    def count(self, *names: str, default: int = 0, limit: int = COUNT_MAX) -> int:
        """A whole number from 0 to `limit`. Floats without a fraction pass: some writers make them.
        -1 stands for «none» in some families and counts as 0."""
        name, value = self._find(names)
        if value is None:
            return default
        whole = as_whole(value)
        if whole is None:
            raise FormatError(f"{self._at(name)} should be a whole number, not {_short(value)}")
        if not -1 <= whole <= limit:
            raise FormatError(f"{self._at(name)} is {_short(whole)}; 0 to {limit} makes sense")
        return max(whole, 0)

    def number(self, *names: str, default: float = 0.0) -> float:
        """A finite number."""
        name, value = self._find(names)
        if value is None:
            return default
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise FormatError(f"{self._at(name)} should be a number, not {_short(value)}")
        if abs(value) > 1e18 or not math.isfinite(value):
            raise FormatError(f"{self._at(name)} is {_short(value)}, which makes no sense")
        return float(value)

    def flag(self, *names: str, default: bool = False) -> bool:
        """Yes or no."""
        name, value = self._find(names)
        if value is None:
            return default
        if not isinstance(value, bool):
            raise FormatError(f"{self._at(name)} should be true or false, not {_short(value)}")
        return value

    def text(self, *names: str, default: str = "") -> str:
        """A string, cut to what anybody would want to see."""
        name, value = self._find(names)
        if value is None:
            return default
        if not isinstance(value, str):
            raise FormatError(f"{self._at(name)} should be text, not {_short(value)}")
        return value[:TEXT_MAX]

    def texts(self, *names: str, limit: int = 4096) -> tuple[str, ...]:
        """A list of strings."""
        name, value = self._find(names)
        if value is None:
            return ()
        entries = _list(value)
        if entries is None or any(not isinstance(entry, str) for entry in entries):
            raise FormatError(f"{self._at(name)} should be a list of texts")
        if len(entries) > limit:
            raise FormatError(f"{self._at(name)} has {len(entries)} entries; {limit} is the most")
        return tuple(entry[:TEXT_MAX] for entry in cast("list[str]", entries))

    def counts(self, *names: str, limit: int = 4096) -> tuple[int, ...]:
        """A list of whole numbers."""
        name, value = self._find(names)
        if value is None:
            return ()
        entries = _list(value)
        made = tuple(whole for entry in entries or () if (whole := as_whole(entry)) is not None)
        if entries is None or len(made) != len(entries) or len(made) > limit:
            raise FormatError(f"{self._at(name)} should be a list of whole numbers")
        if any(not 0 <= entry <= COUNT_MAX for entry in made):
            raise FormatError(f"{self._at(name)} has a number beyond 0 to {COUNT_MAX}")
        return made

    def inner(self, *names: str) -> "Keys | None":
        """An object in this one."""
        name, value = self._find(names)
        if value is None:
            return None
        if not isinstance(value, dict):
            raise FormatError(f"{self._at(name)} should be an object, not {_short(value)}")
        return Keys(cast("dict[str, Any]", value), self._at(name))

    def _find(self, names: tuple[str, ...]) -> tuple[str, Any]:
        for name in names:
            value = self.values.get(name)
            if value is not None:
                return name, value
        return names[0], None

    def _at(self, name: str) -> str:
        return f"{name} in {self._what}"


def as_whole(value: object) -> int | None:
    """The whole number that a JSON value is, if it is one."""
    if isinstance(value, bool):
        return None
    if isinstance(value, int):
        return value
    if isinstance(value, float) and value.is_integer():
        return int(value)
    return None


def _list(value: object) -> list[object] | None:
    return cast("list[object]", value) if isinstance(value, list) else None


def _short(value: object) -> str:
    # A list or object is not printed: its text can be far longer than the file's limit suggests.
    if isinstance(value, dict | list):
        return "a list" if isinstance(value, list) else "an object"
    text = repr(value) if not isinstance(value, int) or abs(value) < 10**20 else "a huge number"
    return text[:80]
