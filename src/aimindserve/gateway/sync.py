"""Keep the table as the control plane sees it: a watch that resumes, and survives its absence.

    watch ─ events ─▶ Shelf (documents) ─ build ─▶ proxy.table
                          └─ now and then ─▶ file

The last good table stays in use while the control plane is away, and while a new listing comes in.
"""

import asyncio
from pathlib import Path

from aimindserve.gateway.proxy import Proxy
from aimindserve.gateway.shelf import Shelf, WatchEndedError, read_message
from aimindserve.gateway.snapshot import load, save
from aimindserve.gateway.table import KINDS, build
from aimindserve.kit.log import get_logger
from aimindserve.wire.errors import UpstreamFailedError
from aimindserve.wire.sse import Event, EventReader, EventTooLargeError
from aimindserve.wire.upstream import Exchange, Head, Origin, Pool, request_head

log = get_logger("gateway")

SILENCE_S = 30.0
"""The control plane says something every 10 s; after three times that it is not there."""
SAVE_EVERY_S = 2.0
COALESCE_S = 0.02
"""At most so often the table is built anew: a revoked key is refused within this time."""
_FIRST_PAUSE_S = 0.1
_LONGEST_PAUSE_S = 2.0
_TICK_S = 1.0


class Sync:
    """Watches the control plane and swaps `proxy.table`."""

    def __init__(
        self, proxy: Proxy, pool: Pool, control: Origin, credential: str, path: Path | None
    ) -> None:
        self._proxy = proxy
        self._clock = proxy.clock
        self._pool = pool
        self._control = control
        self._credential = credential
        self._path = path
        self._shelf = Shelf()
        self._heard_at: float | None = None
        self._loaded = False
        self._unsaved = False
        self._saved_at = self._clock.monotonic()

    def load(self) -> None:
        """Begin with the table of the last run, if there is one."""
        found = load(self._path) if self._path is not None else None
        if found is None:
            return
        documents, revision = found
        try:
            self._proxy.table = build(documents, revision)
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            log.warning("table.ignored", path=str(self._path), error=repr(error))
            return
        self._shelf.put_back(documents)
        self._loaded = True
        log.info("table.loaded", revision=revision, routes=len(self._proxy.table.routes))

    def why_not_ready(self) -> str:
        """Why this gateway should get no traffic, as a sentence; empty when it should."""
        if not self._loaded:
            return "The routing table has not been received from the control plane yet."
        if not self.control_is_there:
            return "The control plane does not answer; the last known models are still served."
        return ""

    @property
    def control_is_there(self) -> bool:
        """Whether the control plane was heard of lately."""
        heard = self._heard_at
        return heard is not None and self._clock.monotonic() - heard < SILENCE_S

    async def run(self) -> None:
        """Watch for ever."""
        pause_s = _FIRST_PAUSE_S
        told = ""
        while True:
            heard_before = self._heard_at
            try:
                await self._watch()
            except (WatchEndedError, UpstreamFailedError, EventTooLargeError) as error:
                if str(error) != told:  # once, not at every try
                    told = str(error)
                    log.info("watch.ended", error=told, revision=self._shelf.revision)
            if self._heard_at != heard_before:
                pause_s, told = _FIRST_PAUSE_S, ""
            await self._clock.sleep(pause_s)
            pause_s = min(pause_s * 2, _LONGEST_PAUSE_S)

    async def save(self) -> None:
        """Write what was not written yet."""
        if self._path is None or not self._unsaved:
            return
        self._unsaved = False
        self._saved_at = self._clock.monotonic()
        table = self._proxy.table
        try:
            await asyncio.to_thread(save, self._path, self._shelf.documents, table.revision)
        except OSError as error:
            log.warning("table.not_saved", path=str(self._path), error=str(error))

    async def _watch(self) -> None:
        since = self._shelf.revision
        if not since:
            self._shelf.begin_listing()
        stream = _Stream()
        exchange = Exchange(self._request(since), b"", stream)
        self._pool.send(self._control, exchange)
        try:
            await self._follow(stream)
        finally:
            exchange.cancel()

    async def _follow(self, stream: "_Stream") -> None:
        quiet_since = self._clock.monotonic()
        while True:
            events = await stream.next(_TICK_S)
            now = self._clock.monotonic()
            if stream.heard:
                stream.heard = False
                self._heard_at = quiet_since = now
            elif now - quiet_since > SILENCE_S:
                raise WatchEndedError("the control plane has fallen silent")
            changed = False
            for event in events:
                changed |= self._shelf.apply(read_message(event.data))
            if changed:
                self._swap()
                await self._clock.sleep(COALESCE_S)
            if self._unsaved and now - self._saved_at > SAVE_EVERY_S:
                await self.save()

    def _swap(self) -> None:
        self._proxy.table = build(self._shelf.documents, self._shelf.revision)
        if not self._loaded:
            log.info("table.received", revision=self._shelf.revision)
        self._loaded = self._unsaved = True

    def _request(self, since: int) -> bytes:
        target = f"/api/v1/watch?kinds={','.join(KINDS)}&secrets=true"
        if since:
            target += f"&since={since}"
        fields = [
            (b"authorization", b"Bearer " + self._credential.encode()),
            (b"accept", b"text/event-stream"),
        ]
        return request_head("GET", target, self._control, fields, 0)


class _Stream:
    """The answer to a watch, as events to wait for."""

    def __init__(self) -> None:
        self.heard = False
        self._reader = EventReader()
        self._events: list[Event] = []
        self._error: Exception | None = None
        self._news = asyncio.Event()

    async def next(self, timeout_s: float) -> list[Event]:
        """What came since the last call; waits a while when nothing did. Raises what ended it."""
        if not self._news.is_set():
            try:
                await asyncio.wait_for(self._news.wait(), timeout_s)
            except asyncio.TimeoutError:
                return []
        self._news.clear()
        events, self._events = self._events, []
        if not events and self._error is not None:
            raise self._error
        if self._error is not None:
            self._news.set()
        return events

    def on_head(self, head: Head) -> None:
        if head.status != 200:
            self._end(WatchEndedError(f"the control plane answered {head.status}"))

    def on_data(self, data: bytes, ended: bool) -> None:
        if self._error is not None:
            return
        self.heard = True
        try:
            self._events += self._reader.feed(data)
        except EventTooLargeError as error:
            self._end(error)
        if ended:
            self._end(WatchEndedError("the control plane ended the watch"))
        self._news.set()

    def on_whole(self, head: Head, data: bytes) -> None:
        self.on_head(head)
        self.on_data(data, True)

    def on_failure(self, error: UpstreamFailedError) -> None:
        self._end(error)

    def _end(self, error: Exception) -> None:
        self._error = self._error or error
        self._news.set()
