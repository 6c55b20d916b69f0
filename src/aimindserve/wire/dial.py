"""Asking a server to switch protocols: the client's side of an HTTP upgrade (RFC 9110, 7.8).

    await dial(origin, Knock("/tunnel/x", b"aims-tunnel", secret), end)

Then `end` is connected: the server said 101, and all bytes from here on are the other protocol's.
"""

import asyncio
from dataclasses import dataclass, field
from typing import cast

from aimindserve.kit.units import KIB
from aimindserve.wire.origin import Origin
from aimindserve.wire.splice import End

HEAD_BYTES_MAX = 16 * KIB
_END = b"\r\n\r\n"


@dataclass(frozen=True, slots=True)
class Knock:
    """What is asked for, and with which secret."""

    path: str
    protocol: bytes
    secret: str = field(repr=False)


class NotSwitchedError(Exception):
    """The server answered something else than 101."""

    def __init__(self, status: int, body: bytes) -> None:
        super().__init__(f"answered {status}")
        self.status = status
        self.body = body
        """The beginning of what it said, as far as it came with the head."""


async def dial(origin: Origin, knock: Knock, end: End) -> None:
    """Connect `end` and switch; then it may be joined. Raises OSError when nobody is there or the
    connection ends, NotSwitchedError when the server has other ideas. Cancel it to set a limit."""
    loop = asyncio.get_running_loop()
    answered: asyncio.Future[None] = loop.create_future()
    transport, _ = await loop.create_connection(
        lambda: _Waiting(end, answered, _head(origin, knock)), origin.host, origin.port
    )
    try:
        await answered
    except BaseException:
        transport.abort()
        raise


async def ask(origin: Origin, knock: Knock) -> tuple[int, bytes]:
    """(status, body) of the same request without switching: what the server would say. Raises
    OSError when nobody is there or says nothing sensible. Cancel it to set a limit."""
    reader, writer = await asyncio.open_connection(origin.host, origin.port)
    try:
        writer.write(_head(origin, knock, closing=True))
        answer = await reader.read(HEAD_BYTES_MAX)
        while _END not in answer or not reader.at_eof():
            more = await reader.read(HEAD_BYTES_MAX)
            if not more or len(answer) > HEAD_BYTES_MAX:
                break
            answer += more
    finally:
        writer.close()
    head, _, body = answer.partition(_END)
    status = _status(head)
    if not status:
        raise ConnectionError("its answer is not HTTP")
    return status, body


class _Waiting(asyncio.Protocol):
    """Reads the head of the answer, then makes way."""

    def __init__(self, end: End, answered: "asyncio.Future[None]", head: bytes) -> None:
        self._end = end
        self._answered = answered
        self._head = head
        self._read = bytearray()
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self._transport.write(self._head)

    def data_received(self, data: bytes) -> None:
        self._read += data
        head, found, rest = bytes(self._read).partition(_END)
        if not found:
            if len(self._read) > HEAD_BYTES_MAX:
                self._fail(ConnectionError("its answer has no end"))
            return
        status = _status(head)
        if status != 101:
            self._fail(NotSwitchedError(status, rest))
            return
        transport = self._transport
        if transport is None or self._answered.done():
            return
        transport.set_protocol(self._end)
        self._end.connection_made(transport)
        if rest:
            self._end.data_received(rest)
        self._answered.set_result(None)

    def connection_lost(self, exc: Exception | None) -> None:
        self._fail(exc or ConnectionError("it closed the connection"))

    def _fail(self, error: Exception) -> None:
        if not self._answered.done():
            self._answered.set_exception(error)


def _head(origin: Origin, knock: Knock, *, closing: bool = False) -> bytes:
    wish = b"close" if closing else b"upgrade\r\nupgrade: %b" % knock.protocol
    return b"GET %b HTTP/1.1\r\nhost: %b\r\nconnection: %b\r\nauthorization: Bearer %b\r\n\r\n" % (
        knock.path.encode(),
        str(origin).encode(),
        wish,
        knock.secret.encode(),
    )


def _status(head: bytes) -> int:
    parts = head.partition(b"\r\n")[0].split(b" ", 2)
    known = len(parts) > 1 and parts[0].startswith(b"HTTP/1.") and parts[1].isdigit()
    return int(parts[1]) if known else 0
