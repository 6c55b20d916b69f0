"""Kept-alive connections to origins: the newest idle one first, a fresh one where there is none."""

import asyncio
from typing import NamedTuple

from aimindserve.kit.clock import Clock
from aimindserve.kit.tasks import TaskSupervisor
from aimindserve.wire.errors import Failure, UpstreamFailedError
from aimindserve.wire.exchange import Answer, Exchange, Link, Outgoing
from aimindserve.wire.limits import UpstreamLimits

SWEEP_S = 1.0


class Origin(NamedTuple):
    """Where a server listens: host and port, or the path of a unix socket."""

    host: str = ""
    port: int = 0
    path: str = ""

    @classmethod
    def unix(cls, path: str) -> "Origin":
        """The server behind the unix socket `path`."""
        return cls(path=path)

    def __str__(self) -> str:
        return self.path or f"{self.host}:{self.port}"


class Pool:
    """Connections to any number of origins, within `limits` for each. `close` it at the end."""

    def __init__(self, clock: Clock, limits: UpstreamLimits | None = None) -> None:
        self.limits = limits or UpstreamLimits()
        self.now = clock.monotonic()
        self._clock = clock
        self._tasks = TaskSupervisor(clock)
        self._idle: dict[Origin, list[Link]] = {}
        self._links: set[Link] = set()
        self._open: dict[Origin, int] = {}
        self._sweeping = False

    def send(self, origin: Origin, outgoing: Outgoing, answer: Answer) -> Exchange:
        """Send `outgoing` to `origin`; `answer` is told what comes back. Must run in the event
        loop. A failure to connect is told through `answer.on_failure`, never raised."""
        exchange = Exchange(outgoing, answer)
        idle = self._idle.get(origin)
        while idle:
            link = idle.pop()
            if link.usable:
                exchange.attach(link)
                return exchange
        self._connect(origin, exchange)
        return exchange

    def open_connections(self, origin: Origin) -> int:
        """Connections to `origin`, idle or not."""
        return self._open.get(origin, 0)

    def forget(self, origin: Origin) -> None:
        """Close the idle connections to `origin`; what is under way goes on."""
        for link in self._idle.pop(origin, []):
            link.close()

    async def close(self) -> None:
        """Close every connection; exchanges under way fail."""
        for link in list(self._links):
            link.abandon()
        await self._tasks.aclose()
        await self._clock.sleep(0)

    # What links call

    def idle(self, link: Link) -> None:
        """`link` has done its exchange and may carry another."""
        idle = self._idle.setdefault(link.key, [])
        if len(idle) >= self.limits.idle_connections:
            link.close()
            return
        link.began_at = self.now
        idle.append(link)

    def gone(self, link: Link) -> None:
        """`link` is closed."""
        if link not in self._links:
            return
        self._links.discard(link)
        self._open[link.key] -= 1
        if not self._open[link.key]:
            del self._open[link.key]
        idle = self._idle.get(link.key)
        if idle and link in idle:
            idle.remove(link)
        if idle is not None and not idle:
            del self._idle[link.key]

    def unanswered(self, exchange: Exchange, link: Link) -> bool:
        """`link` was lost without a byte of answer. Send the request once more over a fresh
        connection if the old one was stale and the body can be sent again; False if not."""
        stale = link.used > 1 and self._clock.monotonic() - link.began_at < (
            self.limits.stale_after_s + SWEEP_S
        )
        if exchange.resent or exchange.outgoing.body is None or not stale:
            return False
        exchange.resent = True
        self._connect(link.key, exchange)
        return True

    # Inside

    def _connect(self, origin: Origin, exchange: Exchange) -> None:
        if not self._sweeping:
            self._sweeping = True
            self._tasks.keep_running(self._sweep, name="wire.pool.sweep")
        if self._open.get(origin, 0) >= self.limits.connections:
            error = UpstreamFailedError(Failure.BUSY, f"too many connections to {origin}")
            asyncio.get_running_loop().call_soon(self._refuse, exchange, error)
            return
        self._open[origin] = self._open.get(origin, 0) + 1
        self._tasks.spawn(self._open_link(origin, exchange), name="wire.connect")

    @staticmethod
    def _refuse(exchange: Exchange, error: UpstreamFailedError) -> None:
        if not exchange.cancelled:
            exchange.answer.on_failure(error)

    async def _open_link(self, origin: Origin, exchange: Exchange) -> None:
        loop = asyncio.get_running_loop()
        link = Link(self, origin)
        self._links.add(link)
        connecting = (
            loop.create_unix_connection(lambda: link, origin.path)
            if origin.path
            else loop.create_connection(lambda: link, origin.host, origin.port)
        )
        try:
            await asyncio.wait_for(connecting, self.limits.connect_timeout_s)
        except (OSError, asyncio.TimeoutError) as error:
            self.gone(link)
            what = "no connection in time" if isinstance(error, asyncio.TimeoutError) else error
            self._refuse(exchange, UpstreamFailedError(Failure.CONNECT, f"{origin}: {what}"))
            return
        except BaseException:
            self.gone(link)
            raise
        if exchange.cancelled:
            self.idle(link)
        else:
            exchange.attach(link)

    async def _sweep(self) -> None:
        while True:
            await self._clock.sleep(SWEEP_S)
            now = self.now = self._clock.monotonic()
            for links in list(self._idle.values()):
                for link in list(links):
                    if now - link.began_at > self.limits.idle_timeout_s:
                        links.remove(link)
                        link.close()
            if self.limits.head_timeout_s is not None:
                for link in list(self._links):
                    link.check(now)
