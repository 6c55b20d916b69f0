"""Bytes and durations in the form people read and write."""

import re

KIB = 1024
MIB = 1024**2
GIB = 1024**3

_SIZE = re.compile(r"^\s*([0-9]+(?:\.[0-9]+)?)\s*([kmgt]i?b?|b)?\s*$", re.IGNORECASE)
_POWERS = {"": 0, "b": 0, "k": 1, "m": 2, "g": 3, "t": 4}


def format_bytes(count: int) -> str:
    """`22.8 GiB`, `512 MiB`, `17 B`: binary units, one decimal from a GiB on."""
    if abs(count) >= GIB:
        return f"{count / GIB:.1f} GiB"
    if abs(count) >= MIB:
        return f"{count / MIB:.0f} MiB"
    if abs(count) >= KIB:
        return f"{count / KIB:.0f} KiB"
    return f"{count} B"


def parse_bytes(text: str) -> int:
    """`2GiB`, `512 MB`, `1.5g` in bytes. Letters always mean powers of 1024. Raises ValueError."""
    match = _SIZE.match(text)
    if match is None:
        raise ValueError(f"not a size: {text!r}; write for example 512MiB or 2GiB")
    unit = (match.group(2) or "").lower()
    return int(float(match.group(1)) * 1024 ** _POWERS[unit[:1]])


def format_duration(seconds: float) -> str:
    """`42 s`, `3 min`, `5 h`, `2 d`: the largest unit that keeps the number above one."""
    for limit, size, unit in ((90, 1, "s"), (5400, 60, "min"), (129600, 3600, "h")):
        if seconds < limit:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds / 86400:.0f} d"
