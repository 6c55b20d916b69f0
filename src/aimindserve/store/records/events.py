"""What happened to objects, in words that can be translated: a code and its parameters."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from aimindserve.kit.clock import Clock
from aimindserve.kit.secrets import new_id
from aimindserve.store.records._record import RecordKeeper, RecordKind, Records


@dataclass(frozen=True, slots=True)
class Event:
    """Something happened to the object `kind`/`name`, once or `count` times."""

    time: float
    """Of the last time, in seconds since the epoch."""
    kind: str
    name: str
    code: str
    """Such as `placed` or `restarted`: a row of `core.happening`."""
    reason: str = ""
    """The code of the reason it happened for, if there is one: a row of `core.reason`."""
    params: Mapping[str, Any] = field(default_factory=dict[str, Any])
    """What fills the braces of both sentences, as it was the last time."""
    count: int = 1
    first_time: float = 0.0
    id: str = ""


EVENTS = RecordKind(table="events", record=Event, kept=50_000)


def events(keeper: RecordKeeper, clock: Clock, ids: Callable[[], str] = new_id) -> Records[Event]:
    """The events kept by a backing."""
    return Records(EVENTS, keeper, clock, ids)
