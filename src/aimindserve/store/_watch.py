"""Telling watchers what changed, so that no watcher can ever slow down a writer.

    publish ──▶ ring of the newest changes ──▶ resume from a revision
           └──▶ buffer of each watcher ──▶ `async for` ──▶ client
                 over its limit: emptied, and the watcher gets a Resync as its last event

A watch sees changes in order, each once, none left out, and may resume from the last revision it
saw. This file knows neither rows nor databases: older changes come through a function.
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Collection, Iterable, Sequence
from weakref import WeakValueDictionary

from aimindserve.store.base import Bookmark, Change, Resync, WatchEvent

RING = 2_000
BUFFER_MAX = 1_000
BUFFER_BYTES_MAX = 1024**2
"""A few large objects that change often fill memory as well as many small ones do."""

History = Callable[[int], Awaitable["tuple[int, Sequence[Change]] | None"]]
"""revision -> (revision reached, the changes up to it), or None when they are no longer kept."""


class Hub:
    """Knows every watcher and the newest changes. All its methods are synchronous."""

    def __init__(
        self,
        history: History,
        *,
        ring: int = RING,
        buffer_max: int = BUFFER_MAX,
        buffer_bytes_max: int = BUFFER_BYTES_MAX,
    ) -> None:
        """`buffer_max` changes, of `buffer_bytes_max` together, may wait for one watcher."""
        self.revision = 0
        self.buffer_max = buffer_max
        self.buffer_bytes_max = buffer_bytes_max
        self._history = history
        self._ring: deque[Change] = deque(maxlen=ring)
        self._floor = 0
        self._watchers: WeakValueDictionary[int, Watch] = WeakValueDictionary()
        """Weak: a watcher that its client forgot to close must not be fed for ever. In the order in
        which they came, so that a simulated run wakes them in the same order every time."""
        self._joined = 0

    def restart(self, revision: int) -> None:
        """Begin anew at `revision`: what led there is unknown, so that present watchers resync."""
        self.revision = self._floor = revision
        self._ring.clear()
        for watcher in list(self._watchers.values()):
            watcher.overrun()

    def publish(self, change: Change) -> None:
        """Give a change to everybody who watches its kind."""
        if len(self._ring) == self._ring.maxlen:
            self._floor = self._ring[0].revision
        self._ring.append(change)
        self.revision = change.revision
        for watcher in self._watchers.values():
            watcher.offer(change)

    def skip(self, revision: int) -> None:
        """`revision` changed nothing that anybody here can watch."""
        self.revision = revision

    def watch(self, kinds: Collection[str], since: int | None) -> "Watch":
        """A watcher of `kinds` from revision `since`, or from now on."""
        start = self.revision if since is None else since
        backlog = None
        if self._floor <= start <= self.revision:
            backlog = [change for change in self._ring if change.revision > start]
        watcher = Watch(self, frozenset(kinds), start, backlog)
        self._joined += 1
        watcher.number = self._joined
        self._watchers[watcher.number] = watcher
        return watcher

    def bookmark(self) -> None:
        """Tell every watcher how far it has come."""
        for watcher in self._watchers.values():
            watcher.remind()

    def close(self) -> None:
        """End every watch."""
        for watcher in list(self._watchers.values()):
            watcher.end()

    def forget(self, watcher: "Watch") -> None:
        """Feed `watcher` no longer."""
        self._watchers.pop(watcher.number, None)

    async def history(self, revision: int) -> tuple[int, Sequence[Change]] | None:
        """Changes after `revision` from longer ago than the ring reaches."""
        return await self._history(revision)


class Watch:
    """One watcher: an asynchronous iterator that one task reads."""

    def __init__(
        self, hub: Hub, kinds: frozenset[str], start: int, backlog: Iterable[Change] | None
    ) -> None:
        self.number = 0
        """What the hub knows it by."""
        self._hub = hub
        self._kinds = kinds
        self._joined = hub.revision
        self._reads_history = backlog is None
        self._reached = start if backlog is None else self._joined
        """Every change up to here has been handed out or waits in `_past`."""
        self._past = deque(change for change in backlog or () if change.resource.kind in kinds)
        self._buffer: deque[Change] = deque()
        self._buffered_bytes = 0
        self._overrun = False
        self._reminded = False
        self._ended = False
        self._wake = asyncio.Event()

    def __aiter__(self) -> "Watch":
        return self

    async def __anext__(self) -> WatchEvent:
        while not self._ended:
            event = self._next()
            if event is not None:
                return event
            if self._reads_history:
                await self._read_history()
            else:
                await self._wake.wait()
                self._wake.clear()
        raise StopAsyncIteration

    async def aclose(self) -> None:
        """End the watch; for `contextlib.aclosing`."""
        self.end()

    def offer(self, change: Change) -> None:
        """A change has happened. Never waits."""
        if change.resource.kind not in self._kinds or self._overrun:
            return
        too_much = self._buffered_bytes + change.size_bytes > self._hub.buffer_bytes_max
        # One that is larger than the limit alone is handed over all the same.
        if len(self._buffer) >= self._hub.buffer_max or (self._buffer and too_much):
            self.overrun()
            return
        self._buffer.append(change)
        self._buffered_bytes += change.size_bytes
        self._wake.set()

    def overrun(self) -> None:
        """This watcher has missed something: its next event is its last, a Resync."""
        self._overrun = True
        self._past.clear()
        self._buffer.clear()
        self._buffered_bytes = 0
        self._wake.set()

    def remind(self) -> None:
        """A bookmark is due."""
        self._reminded = True
        self._wake.set()

    def end(self) -> None:
        """No further event."""
        self._ended = True
        self._hub.forget(self)
        self._wake.set()

    def _next(self) -> WatchEvent | None:
        if self._overrun:
            self.end()
            return Resync(self._hub.revision)
        if self._past:
            return self._past.popleft()
        if self._reads_history:
            return None
        while self._buffer:
            change = self._buffer.popleft()
            self._buffered_bytes -= change.size_bytes
            if change.revision > self._reached:
                self._reached = change.revision
                return change
        if self._reminded:
            self._reminded = False
            self._reached = max(self._reached, self._hub.revision)
            return Bookmark(self._reached)
        return None

    async def _read_history(self) -> None:
        page = await self._hub.history(self._reached)
        if page is None:
            self.overrun()
            return
        reached, changes = page
        self._past.extend(change for change in changes if change.resource.kind in self._kinds)
        self._reads_history = self._reached < reached < self._joined
        self._reached = max(self._reached, reached)
