"""Kept-alive connections to origins: the newest idle one first, a fresh one where there is none."""

import asyncio
import socket

from aimindserve.kit.clock import Clock
from aimindserve.kit.tasks import TaskSupervisor
from aimindserve.wire.errors import Failure, UpstreamFailedError
from aimindserve.wire.exchange import Exchange
from aimindserve.wire.limits import UpstreamLimits
from aimindserve.wire.link import Link
from aimindserve.wire.origin import Origin

SWEEP_S = 1.0


class Pool:
    """Connections to any number of origins, within `limits` for each. `close` it at the end."""

    def __init__(self, clock: Clock, limits: UpstreamLimits | None = None) -> None:
        self.limits = limits or UpstreamLimits()
        self.now = clock.monotonic()
        self._clock = clock
        self._tasks = TaskSupervisor(clock)
        self._idle: dict[Origin, list[Link]] = {}
        self._links: dict[Link, None] = {}
        self._open: dict[Origin, int] = {}
        self._sweeping = False

    def send(self, origin: Origin, exchange: Exchange) -> None:
        """Send `exchange` to `origin`; its answer is told what comes back. Must run in the event
        loop. A failure to connect is told through `answer.on_failure`, never raised.
        A streamed body always gets a fresh connection: it could not be sent again."""
        if exchange.body is not None:
            idle = self._idle.get(origin)
            while idle:
                if idle.pop().carry(exchange):
                    return
        self._connect(origin, exchange)

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
        link.began_at = self.now
        idle = self._idle.get(link.origin)
        if idle is None:
            self._idle[link.origin] = [link]
        elif len(idle) < self.limits.idle_connections:
            idle.append(link)
        else:
            link.close()

    def gone(self, link: Link) -> None:
        """`link` is closed."""
        if link not in self._links:
            return
        del self._links[link]
        self._open[link.origin] -= 1
        if not self._open[link.origin]:
            del self._open[link.origin]
        idle = self._idle.get(link.origin)
        if idle and link in idle:
            idle.remove(link)
        if idle is not None and not idle:
            del self._idle[link.origin]

    def unanswered(self, exchange: Exchange, link: Link) -> bool:
        """`link` was lost without a byte of answer. Send the request once more over a fresh
        connection if the old one was stale and the body can be sent again; False if not."""
        stale = link.used > 1 and self._clock.monotonic() - link.began_at < (
            self.limits.stale_after_s + SWEEP_S
        )
        if exchange.resent or exchange.body is None or not stale:
            return False
        exchange.resent = True
        self._connect(link.origin, exchange)
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
        self._links[link] = None
        connecting = (
            loop.create_unix_connection(lambda: link, origin.path)
            if origin.path
            else loop.create_connection(lambda: link, origin.host, origin.port)
        )
        try:
            transport, _ = await asyncio.wait_for(connecting, self.limits.connect_timeout_s)
        except (OSError, asyncio.TimeoutError) as error:
            self.gone(link)
            what = "no connection in time" if isinstance(error, asyncio.TimeoutError) else error
            self._refuse(exchange, UpstreamFailedError(Failure.CONNECT, f"{origin}: {what}"))
            return
        except BaseException:
            self.gone(link)
            raise
        if not origin.path:
            _watch_over(transport)
        if exchange.cancelled:
            self.idle(link)
        elif not link.carry(exchange):
            error = UpstreamFailedError(Failure.CONNECT, f"{origin}: closed as soon as it was open")
            exchange.answer.on_failure(error)

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


_KEEPALIVE = (("TCP_KEEPIDLE", 15), ("TCP_KEEPINTVL", 5), ("TCP_KEEPCNT", 3))


def _watch_over(transport: asyncio.BaseTransport) -> None:
    """Let the kernel find out, within half a minute, when the machine at the other end is gone:
    an answer may rightly take as long as it takes, so no timer of ours could."""
    raw = transport.get_extra_info("socket")
    if raw is None:
        return
    raw.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for option, value in _KEEPALIVE:
        if hasattr(socket, option):
            raw.setsockopt(socket.IPPROTO_TCP, getattr(socket, option), value)
