"""Durations as people type them: `90`, `90s`, `10m`, `2h`, `7d`. Pure."""

import re

import click

from aimindserve.cli._words import words

_FORM = re.compile(r"^(\d+(?:\.\d+)?)\s*(s|m|min|h|d)?$")
_SECONDS = {"s": 1.0, "m": 60.0, "min": 60.0, "h": 3600.0, "d": 86400.0}


def duration(text: str) -> float:
    """Seconds; the `type` of a click option. Raises BadParameter."""
    found = _FORM.match(str(text).strip().lower())
    if found is None:
        raise click.BadParameter(
            words("{text!r} is no duration; write for example 90s, 10m or 2h.", text=text)
        )
    return float(found.group(1)) * _SECONDS[found.group(2) or "s"]


def moment(text: str) -> float:
    """Seconds since the epoch, of a time (`2026-11-20`, RFC 3339) or of so long ago (`10m`); the
    `type` of a click option. Raises BadParameter."""
    from datetime import datetime, timezone

    from aimindserve.kit.clock import SystemClock

    if _FORM.match(text.strip().lower()):
        return SystemClock().now() - duration(text)
    try:
        found = datetime.fromisoformat(text.strip().replace("Z", "+00:00"))
    except ValueError as error:
        raise click.BadParameter(
            words(
                "{text!r} is no time; write for example 10m, 2026-11-20 or 2026-11-20T08:00:00Z.",
                text=text,
            )
        ) from error
    return (found if found.tzinfo else found.replace(tzinfo=timezone.utc)).timestamp()
