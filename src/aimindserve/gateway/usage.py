"""Read what an answer cost out of its bytes after it went by: tokens in, tokens out.

Servers say it in different places: OpenAI's `usage` at the end of a JSON answer or in the last
event, Anthropic's in two events, llama.cpp's `timings` where nobody asked for `usage`. The bytes
`"usage":` cannot occur inside a JSON string (its quotes would be escaped), so the last ones are it.
"""

import json
from typing import Any, cast

import msgspec

from aimindserve.wire.tap import Tap

_DECODER = json.JSONDecoder()
_LOOKS = 16
"""How many places are looked at: streams may carry `"usage": null` in every event."""


Usage = tuple[int, int]
"""Tokens of one request: read, written."""


class _Counts(msgspec.Struct, gc=False):
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    input_tokens: int | None = None
    output_tokens: int | None = None


class _Whole(msgspec.Struct, gc=False):
    usage: _Counts | None = None


_WHOLE = msgspec.json.Decoder(_Whole)


def usage_of(body: bytes) -> Usage | None:
    """The usage in a whole answer; None when it does not say."""
    try:
        counts = _WHOLE.decode(body).usage
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
        counts = None
    if counts is None:
        return read_usage(_tapped(body))
    return (
        counts.prompt_tokens or counts.input_tokens or 0,
        counts.completion_tokens or counts.output_tokens or 0,
    )


def _tapped(body: bytes) -> Tap:
    tap = Tap()
    tap.feed(body)
    return tap


def read_usage(tap: Tap) -> Usage | None:
    """The usage in the stream that `tap` saw; None when it does not say."""
    texts = (tap.tail(), tap.head()) if tap.dropped else (tap.tail(),)
    for text in texts:
        found = _from_objects(text, b'"usage"', _plain)
        if found is not None:
            return found
    for text in texts:
        found = _from_objects(text, b'"timings"', _timings)
        if found is not None:
            return found
    return None


def _from_objects(text: bytes, key: bytes, read: Any) -> Usage | None:
    prompt = completion = 0
    seen = False
    end = len(text)
    for _ in range(_LOOKS):
        at = text.rfind(key, 0, end)
        if at < 0:
            break
        end = at
        value = _object_after(text, at + len(key))
        numbers = read(value) if value is not None else None
        if numbers is None:
            continue
        # Anthropic's last event repeats the output and may leave out the input: take what is new.
        prompt, completion, seen = prompt or numbers[0], completion or numbers[1], True
        if prompt and completion:
            break
    return (prompt, completion) if seen else None


def _object_after(text: bytes, at: int) -> dict[str, Any] | None:
    rest = text[at : at + 4096].lstrip()
    if not rest.startswith(b":"):
        return None
    rest = rest[1:].lstrip()
    if not rest.startswith(b"{"):
        return None
    try:
        value, _ = _DECODER.raw_decode(rest.decode("utf-8", "replace"))
    except (ValueError, RecursionError):
        return None
    return cast("dict[str, Any]", value) if isinstance(value, dict) else None


def _plain(value: dict[str, Any]) -> tuple[int, int] | None:
    prompt = _count(value, "prompt_tokens", "input_tokens")
    completion = _count(value, "completion_tokens", "output_tokens")
    return None if prompt is None and completion is None else (prompt or 0, completion or 0)


def _timings(value: dict[str, Any]) -> tuple[int, int] | None:
    prompt, completion = _count(value, "prompt_n"), _count(value, "predicted_n")
    if prompt is None or completion is None:
        return None
    return prompt + (_count(value, "cache_n") or 0), completion


def _count(value: dict[str, Any], *names: str) -> int | None:
    for name in names:
        number = value.get(name)
        if isinstance(number, int) and not isinstance(number, bool) and 0 <= number < 1 << 53:
            return number
    return None
