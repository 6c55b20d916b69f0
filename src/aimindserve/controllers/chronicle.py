"""Writes the history of the cluster: events, from the changes of objects.

    store ──watch──▶ what it was / what it is ─(pure)─▶ happenings ──▶ counted ──▶ records

The same thing happening again to the same object within an hour makes no new event: the known one
counts, so that an engine which crashes all night fills one line, not the table. What happens while
no control plane runs is not seen; nothing is made up for it.
"""

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Protocol

from aimindserve.controllers.history import KINDS, Happening, happened
from aimindserve.core.reason import Reason
from aimindserve.kit.clock import Clock
from aimindserve.resources._kind import AnyResource
from aimindserve.store.base import Change, ChangeType, Resync, Store
from aimindserve.store.records.events import Event

SAME_WITHIN_S = 3600.0
KNOWN_MAX = 5_000
EVIDENCE_MAX = 2_000


class EventLog(Protocol):
    """Where events go: `store.records.events.events(backing, clock)`."""

    def append(self, record: Event) -> None:
        """Queue an event; never waits and never fails. One with a known id replaces that."""
        ...


@dataclass(frozen=True, slots=True)
class _Key:
    """Two happenings that agree in this are the same thing happening twice."""

    kind: str
    name: str
    code: str
    reason: str
    worker: str


class Chronicle:
    """One per control plane. `ids` gives a new event's id."""

    def __init__(
        self, store: Store, events: EventLog, clock: Clock, ids: Callable[[], str]
    ) -> None:
        self._store = store
        self._events = events
        self._clock = clock
        self._ids = ids
        self._seen: dict[tuple[str, str], AnyResource] = {}
        self._known: OrderedDict[_Key, Event] = OrderedDict()

    async def run(self) -> None:
        """Follow the store until cancelled."""
        since = self._store.revision
        self._seen = self._present()
        while True:
            async for change in self._store.watch(KINDS, since=since):
                since = change.revision
                if isinstance(change, Change):
                    self._note(change)
                elif isinstance(change, Resync):
                    since = self._store.revision
                    self._catch_up()

    def _note(self, change: Change) -> None:
        now = change.resource
        gone = change.type is ChangeType.DELETED
        key = (now.kind, now.name)
        was = self._seen.pop(key, None)
        if not gone:
            self._seen[key] = now
        self._tell(was if was is not None or not gone else now, None if gone else now)

    def _catch_up(self) -> None:
        """Changes were missed: what they came to is told as one."""
        before, self._seen = self._seen, self._present()
        for key in sorted(before.keys() | self._seen.keys()):
            was, now = before.get(key), self._seen.get(key)
            if was is not now:
                self._tell(was, now)

    def _present(self) -> dict[tuple[str, str], AnyResource]:
        return {
            (kind, each.name): each for kind in sorted(KINDS) for each in self._store.list(kind)
        }

    def _tell(self, was: AnyResource | None, now: AnyResource | None) -> None:
        about = now or was
        if about is None:
            return
        if was is not None and now is not None and was.metadata.id != now.metadata.id:
            self._tell(was, None)
            was = None
        for each in happened(was, now):
            self._append(about.kind, about.name, each)

    def _append(self, kind: str, name: str, each: Happening) -> None:
        reason = each.reason or Reason("")
        key = _Key(kind, name, each.code, reason.code, str(each.params.get("worker", "")))
        now = self._clock.now()
        known = self._known.pop(key, None)
        if known is None or now - known.time > SAME_WITHIN_S:
            known = Event(now, kind, name, each.code, reason.code, count=0, first_time=now)
            known = replace(known, id=self._ids())
        event = replace(known, time=now, count=known.count + 1, params=_params(each.params, reason))
        self._known[key] = event
        if len(self._known) > KNOWN_MAX:
            self._known.popitem(last=False)
        self._events.append(event)


def _params(own: Any, reason: Reason) -> dict[str, Any]:
    found: dict[str, Any] = {**reason.params, **own}
    if reason.evidence:
        found["evidence"] = reason.evidence[-EVIDENCE_MAX:]
    return found
