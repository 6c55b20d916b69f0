"""Two connections made one: what comes out of either goes into the other, byte for byte.

    near ══ End ⇄ End ══ far

A side that ends its sending is told on the other side, which may go on sending (half-close); a side
that is lost takes the other with it. Who takes slowly slows down who sends: nothing is kept but
what the transports hold. Must not know what the bytes mean.
"""

import asyncio
import contextlib
import socket
from collections.abc import Callable
from typing import Any, cast

from aimindserve.kit.units import KIB

WRITE_HIGH_BYTES = 1024 * KIB
"""What may wait for a slow side before the other is read no more."""
IDLE_S, INTERVAL_S, COUNT = 15, 5, 3
"""A peer that a silent connection has vanished behind is noticed after 30 s."""


class End(asyncio.Protocol):
    """One of the two. Nothing of it is read before it is joined with the other."""

    def __init__(
        self,
        on_close: "Told | None" = None,
        on_end: "Told | None" = None,
    ) -> None:
        """`on_close` is called once, when this side is lost or has been closed; `on_end` before
        it, when this side says that it sends no more, or is lost without having said so."""
        self._on_close = on_close
        self._on_end = on_end
        self._transport: asyncio.Transport | None = None
        self._other: End | None = None
        self._early = bytearray()
        self.ended = False
        """This side sends no more."""
        self.closing = False
        """Closed by us: the loss that follows says nothing of the peer."""
        self.taken = 0
        """Bytes that came from this side."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self._transport.set_write_buffer_limits(high=WRITE_HIGH_BYTES)
        keep_alive(self._transport)
        if self.closing:
            self._transport.abort()
        elif self._other is None:
            self._transport.pause_reading()

    def data_received(self, data: bytes) -> None:
        self.taken += len(data)
        if self._other is None:  # read before the pause took hold
            self._early += data
        else:
            self._other.write(data)

    def eof_received(self) -> bool:
        """The peer sends no more; what goes to it goes on. True keeps the transport open."""
        self._end()
        if self._other is not None:
            self._other.end()
        return True

    def pause_writing(self) -> None:
        if self._other is not None:
            self._other.pause()

    def resume_writing(self) -> None:
        if self._other is not None:
            self._other.resume()

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None
        self._end()
        other, self._other = self._other, None
        if other is not None:
            other.close(at_once=exc is not None)
        told, self._on_close = self._on_close, None
        if told is not None:
            told(self)

    def write(self, data: bytes | bytearray) -> None:
        if self._transport is not None:
            self._transport.write(data)

    def end(self) -> None:
        """Nothing more is written to this side; when neither has anything to say, both are over."""
        transport = self._transport
        if transport is None or transport.is_closing():
            return
        if self.ended or not transport.can_write_eof():
            self.close()
        else:
            transport.write_eof()

    def pause(self) -> None:
        if self._transport is not None and not self._transport.is_closing():
            self._transport.pause_reading()

    def resume(self) -> None:
        if self._transport is not None and not self._transport.is_closing():
            self._transport.resume_reading()

    def close(self, *, at_once: bool = False) -> None:
        """Close after what waits was written, or `at_once`."""
        self.closing = True
        if self._transport is not None:
            if at_once:
                self._transport.abort()
            else:
                self._transport.close()

    def _end(self) -> None:
        self.ended = True
        told, self._on_end = self._on_end, None
        if told is not None:
            told(self)

    def join(self, other: "End") -> None:
        """Let what comes in here go to `other`."""
        self._other = other
        if self._early:
            other.write(self._early)
            self._early = bytearray()
        if self.ended:
            other.end()
        if self._transport is None:
            other.close(at_once=True)
        else:
            self.resume()


Told = Callable[[End], object]


def splice(left: End, right: End) -> None:
    """Join both; each must have been connected."""
    left.join(right)
    right.join(left)


def keep_alive(transport: asyncio.BaseTransport) -> None:
    """Let the system notice that a peer has vanished, though nothing is sent."""
    found: Any = transport.get_extra_info("socket")
    if found is None:
        return
    options = (
        (socket.SOL_SOCKET, "SO_KEEPALIVE", 1),
        (socket.IPPROTO_TCP, "TCP_NODELAY", 1),
        (socket.IPPROTO_TCP, "TCP_KEEPIDLE", IDLE_S),
        (socket.IPPROTO_TCP, "TCP_KEEPINTVL", INTERVAL_S),
        (socket.IPPROTO_TCP, "TCP_KEEPCNT", COUNT),
        (socket.IPPROTO_TCP, "TCP_USER_TIMEOUT", (IDLE_S + INTERVAL_S * COUNT) * 1000),
    )
    for level, name, value in options:
        option = getattr(socket, name, None)
        if option is not None:
            with contextlib.suppress(OSError):  # a unix socket, or a system without it
                found.setsockopt(level, option, value)
