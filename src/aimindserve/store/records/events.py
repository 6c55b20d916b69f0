"""What happened to objects, in words that can be translated: a code and its parameters."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from aimindserve.kit.clock import Clock
from aimindserve.store.records._record import RecordKeeper, RecordKind, Records


@dataclass(frozen=True, slots=True)
class Event:
    """Something happened to the object `kind`/`name`."""

    time: float
    """Seconds since the epoch."""
    kind: str
    name: str
    code: str
    """Such as `placed` or `restarted`; stable, in English."""
    params: Mapping[str, Any] = field(default_factory=dict[str, Any])
    actor: str = ""
    """Who made it happen: a controller, a worker, a user."""


EVENTS = RecordKind(table="events", record=Event, kept=50_000)


def events(keeper: RecordKeeper, clock: Clock) -> Records[Event]:
    """The events kept by a backing."""
    return Records(EVENTS, keeper, clock)
