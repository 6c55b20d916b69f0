"""What the terminal shows of what children write: warnings, errors, and what is not a log line."""

import json
import signal
from collections.abc import Mapping
from typing import Any, cast

LENGTH_MAX = 2_000
REFUSAL = "start.failed"
"""The event with which a child says why it cannot work; `error` and `hint` are whole sentences."""
_LEVELS = ("debug", "info", "warning", "error", "critical")
_QUIET_KEYS = frozenset({"event", "level", "timestamp", "part", "exception", "exc_info"})


def told(line: str, least: str = "warning") -> str:
    """One line for people, or nothing for a record below the level `least`."""
    if not line.startswith("{"):
        return line[:LENGTH_MAX]
    try:
        record: Any = json.loads(line)
    except ValueError:
        return line[:LENGTH_MAX]
    fields = cast("Mapping[str, Any]", record)
    level = fields.get("level")
    if level in _LEVELS and _LEVELS.index(level) < _LEVELS.index(least):
        return ""
    if fields.get("event") == REFUSAL:
        detail = f" ({fields['detail']})" if fields.get("detail") else ""
        sentence = f"{fields.get('error', '')}{detail} {fields.get('hint', '')}"
        return sentence.strip()[:LENGTH_MAX]
    values = " ".join(f"{key}={value}" for key, value in fields.items() if key not in _QUIET_KEYS)
    return f"{fields.get('event', '')} {values}".strip()[:LENGTH_MAX]


def how_ended(code: int) -> str:
    """`exit code 1`, or the name of the signal."""
    if code >= 0:
        return f"exit code {code}"
    try:
        return f"signal {signal.Signals(-code).name}"
    except ValueError:
        return f"signal {-code}"
