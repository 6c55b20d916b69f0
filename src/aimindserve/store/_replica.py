"""The copy in memory: it follows the backing in the order of revisions, and watchers follow it.

    write ─▶ one at a time ─▶ backing commits ─▶ memory ─▶ watchers
                                ▲
    other processes on the same database ─▶ looked for every second

When the outcome of a write is not known (the connection broke in the middle of a commit), memory
stays as it is and the next occasion reads what really happened. It must not know which database is
behind it, nor what a write means.
"""

import asyncio
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace

from aimindserve.core.errors import (
    ConflictError,
    NotFoundError,
    SettingsError,
    StorageFullError,
    StoreUnavailableError,
    UnavailableError,
)
from aimindserve.kit.clock import Clock
from aimindserve.kit.log import get_logger
from aimindserve.kit.tasks import TaskSupervisor
from aimindserve.resources._kind import AnyResource
from aimindserve.store import _rows
from aimindserve.store._watch import Hub
from aimindserve.store.base import Backing, Change, ChangeRow, ChangeType, Write

log = get_logger("store")

LOOK_EVERY_S = 1.0
BOOKMARK_EVERY_S = 10.0
CHANGES_KEPT = 20_000
TRIM_EVERY = 1_000
PAGE = 500
WRITES_WAITING_MAX = 10_000


@dataclass(frozen=True, slots=True)
class Plan:
    """A write, and the object it leaves behind but for its revision."""

    write: Write
    result: AnyResource


Planner = Callable[[], Plan | AnyResource]
"""Looks at memory and says what to write, or returns the object that needs no write. It runs when
nobody else writes, maybe twice."""


class Replica:
    """What the backing holds, in memory. Reads are plain; `write` is the only way to change it."""

    def __init__(self, backing: Backing, clock: Clock) -> None:
        self.hub = Hub(self._history)
        self._backing = backing
        self._clock = clock
        self._tasks = TaskSupervisor(clock)
        self._objects: dict[str, dict[str, AnyResource]] = {}
        self._listed: dict[str, tuple[AnyResource, ...]] = {}
        self._turn = asyncio.Lock()
        self._waiting = 0
        self._behind = False
        """Whether the backing may hold changes that memory has not seen."""
        self._trimmed_at = 0
        self._open = False

    async def open(self) -> None:
        """Read everything and begin to follow; raises what `Backing.open` and `load` raise."""
        await self._backing.open()
        try:
            await self._reload()
        except BaseException:
            await self._backing.close()
            raise
        self._trimmed_at = self.hub.revision
        self._open = True
        self._tasks.keep_running(self._keep_up, name="store.keep_up")

    async def close(self) -> None:
        """Let writes in progress end, end every watch, close the backing."""
        self._open = False
        async with self._turn:
            self.hub.close()
        await self._tasks.aclose()
        await self._backing.close()

    def find(self, kind: str, name: str) -> AnyResource | None:
        """The object or None."""
        return self._objects.get(kind, {}).get(name)

    def list(self, kind: str) -> Sequence[AnyResource]:
        """All objects of a kind, by name."""
        listed = self._listed.get(kind)
        if listed is None:
            objects = self._objects.get(kind, {})
            listed = self._listed[kind] = tuple(objects[name] for name in sorted(objects))
        return listed

    async def write(self, planner: Planner) -> AnyResource:
        """Carry out a plan and return its object at its new revision."""
        if not self._open:
            raise StoreUnavailableError("The store is closed.")
        if self._waiting >= WRITES_WAITING_MAX:
            raise UnavailableError(
                "Too many writes are waiting for the database.", hint="Try again later."
            )
        self._waiting += 1
        return await self._tasks.finish(self._take_turn(planner), name="store.write")

    async def _take_turn(self, planner: Planner) -> AnyResource:
        """One write, alone; runs to its end whoever loses interest in it."""
        try:
            async with self._turn:
                if self._behind:
                    await self._catch_up()
                plan = await self._plan(planner)
                return await self._commit(plan) if isinstance(plan, Plan) else plan
        finally:
            self._waiting -= 1

    async def _plan(self, planner: Planner) -> Plan | AnyResource:
        try:
            return planner()
        except (ConflictError, NotFoundError):
            if not self._backing.shared:
                raise
        # Another process may have made the object, or changed it, since the last look.
        await self._catch_up()
        return planner()

    async def _commit(self, plan: Plan) -> AnyResource:
        self._behind = True  # until the outcome is known and in memory
        try:
            revision = await self._backing.commit(plan.write)
        except (ConflictError, NotFoundError):
            await self._catch_up()
            raise
        meta = replace(plan.result.metadata, revision=revision)
        result = replace(plan.result, metadata=meta)
        if revision == self.hub.revision + 1:
            self._apply(Change(revision, plan.write.type, result, _rows.size_of(plan.write.row)))
            self._behind = False
        else:
            # Others committed in between: their changes and this one come in order, each once. If
            # that fails the write is committed all the same, and the next occasion reads it.
            with suppress(StoreUnavailableError):
                await self._catch_up()
        return result

    def _apply(self, change: Change) -> None:
        kind, name = change.resource.kind, change.resource.name
        objects = self._objects.setdefault(kind, {})
        if change.type is ChangeType.DELETED:
            objects.pop(name, None)
        else:
            objects[name] = change.resource
        self._listed.pop(kind, None)
        self.hub.publish(change)

    async def _catch_up(self) -> None:
        """Apply what the backing holds beyond memory. Only whoever has the turn may call it."""
        rows: Sequence[ChangeRow] | None = None
        while rows is None or len(rows) == PAGE:
            rows = await self._backing.changes_since(self.hub.revision, PAGE)
            if rows is None:
                await self._reload()
                break
            for row in rows:
                self._follow(row)
        self._behind = False

    def _follow(self, row: ChangeRow) -> None:
        try:
            change = _rows.read_change(row)
        except SettingsError as error:
            # A newer program on the same database: keep the object as it was known here.
            log.error("store.object_unreadable", why=error.message, params=error.params)
            change = None
        if change is None:
            self.hub.skip(row.revision)
        else:
            self._apply(change)

    async def _reload(self) -> None:
        revision, rows = await self._backing.load()
        objects: dict[str, dict[str, AnyResource]] = {}
        for row in rows:
            resource = _rows.read(row)
            if resource is not None:
                objects.setdefault(row.kind, {})[row.name] = resource
        self._objects = objects
        self._listed.clear()
        self.hub.restart(revision)

    async def _history(self, since: int) -> tuple[int, Sequence[Change]] | None:
        """For the hub: changes that are no longer in memory, never ones that are not yet."""
        if since > self.hub.revision:
            async with self._turn:
                await self._catch_up()
        rows = await self._backing.changes_since(since, PAGE)
        if rows is None:
            return None
        known = [row for row in rows if row.revision <= self.hub.revision]
        changes = [change for row in known if (change := _rows.read_change(row)) is not None]
        return (known[-1].revision if known else since), changes

    async def _keep_up(self) -> None:
        """Look for other processes' changes, send bookmarks, forget old changes."""
        away = False
        bookmark_at = self._clock.monotonic() + BOOKMARK_EVERY_S
        while True:
            await self._clock.sleep(LOOK_EVERY_S)
            if self._clock.monotonic() >= bookmark_at:
                self.hub.bookmark()
                bookmark_at = self._clock.monotonic() + BOOKMARK_EVERY_S
            try:
                await self._look()
            except (StoreUnavailableError, StorageFullError) as error:
                if not away:
                    log.warning("store.away", error=error.message)
                away = True
            else:
                if away:
                    log.info("store.back", revision=self.hub.revision)
                away = False

    async def _look(self) -> None:
        if self._backing.shared or self._behind:
            async with self._turn:
                await self._catch_up()
        if self.hub.revision // TRIM_EVERY != self._trimmed_at // TRIM_EVERY:
            await self._backing.trim(CHANGES_KEPT)
            self._trimmed_at = self.hub.revision
