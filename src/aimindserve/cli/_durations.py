"""Durations as people type them: `90`, `90s`, `10m`, `2h`, `7d`. Pure."""

import re

import click

_FORM = re.compile(r"^(\d+(?:\.\d+)?)\s*(s|m|min|h|d)?$")
_SECONDS = {"s": 1.0, "m": 60.0, "min": 60.0, "h": 3600.0, "d": 86400.0}


def duration(text: str) -> float:
    """Seconds; the `type` of a click option. Raises BadParameter."""
    found = _FORM.match(str(text).strip().lower())
    if found is None:
        raise click.BadParameter(f"{text!r} is no duration; write for example 90s, 10m or 2h.")
    return float(found.group(1)) * _SECONDS[found.group(2) or "s"]
