"""Carry one upstream's answer to a client, byte for byte, as fast as the slower of the two.

Status, reason, header fields and body pass unchanged, but for fields that end at one hop and those
the rules drop; the body's framing is made anew (same length, or chunked). A client that hangs up
ends the upstream exchange at once; a client that reads slowly slows the upstream.
"""

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Protocol

from aimindserve.wire.errors import ClientGoneError, UpstreamFailedError, WireError
from aimindserve.wire.exchange import Exchange, Outgoing
from aimindserve.wire.headers import (
    HOP_BY_HOP,
    Field,
    encode_fields,
    named_by_connection,
    status_line,
)
from aimindserve.wire.pool import Origin, Pool
from aimindserve.wire.request import Request

_FRAMING = HOP_BY_HOP | {b"content-length"}


@dataclass(frozen=True, slots=True)
class RelayRules:
    """What of an answer is not passed on: lower-case names of header fields."""

    drop: frozenset[bytes] = frozenset()
    dropped: frozenset[bytes] = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "dropped", _FRAMING | self.drop)


EVERYTHING = RelayRules()


class Owner(Protocol):
    """Who started a relay and decides what happens when it does not go well."""

    def relay_head(self, status: int, headers: list[Field]) -> None:
        """The head of the answer is about to be sent."""
        ...

    def relay_data(self, data: bytes) -> None:
        """These bytes were just handed to the client's connection."""
        ...

    def relay_done(self) -> None:
        """The answer is complete."""
        ...

    def relay_failed(self, error: UpstreamFailedError) -> None:
        """The upstream failed. `request.started` tells whether the client has seen anything."""
        ...

    def relay_cancelled(self) -> None:
        """The client hung up; the upstream has been told."""
        ...


class Relay:
    """One answer on its way. `send` may be called again after a failure before the first byte."""

    __slots__ = ("_exchange", "_owner", "_pool", "_request", "_rules")

    def __init__(self, request: Request, pool: Pool, owner: Owner, rules: RelayRules) -> None:
        self._request = request
        self._pool = pool
        self._owner = owner
        self._rules = rules
        self._exchange: Exchange | None = None
        request.on_disconnect = self.cancel

    def send(self, origin: Origin, outgoing: Outgoing) -> Exchange:
        """Ask `origin`; its answer goes to the client."""
        exchange = self._exchange = self._pool.send(origin, outgoing, self)
        return exchange

    def cancel(self) -> None:
        """Stop; the upstream's connection is closed at once."""
        if self._exchange is not None:
            self._exchange.cancel()
            self._exchange = None
        self._owner.relay_cancelled()

    # Answer

    def on_head(self, status: int, reason: bytes, headers: list[Field], length: int | None) -> None:
        request, dropped = self._request, self._rules.dropped
        parts = [status_line(status, reason)]
        for name, value in headers:
            lower = name.lower()
            if lower not in dropped:
                parts.append(b"%b: %b\r\n" % (name, value))
            elif lower == b"connection" and value.lower() not in (b"close", b"keep-alive"):
                named = named_by_connection(headers)
                parts = [
                    status_line(status, reason),
                    *(
                        b"%b: %b\r\n" % pair
                        for pair in headers
                        if pair[0].lower() not in dropped and pair[0].lower() not in named
                    ),
                ]
                break
        self._owner.relay_head(status, headers)
        request.prepare(b"".join(parts), status, length)
        exchange = self._exchange
        if exchange is not None:
            request.on_pressure = exchange.pause
            request.on_drain = exchange.resume

    def on_data(self, data: bytes, ended: bool) -> None:
        if ended:
            self._exchange = None
        self._request.send(data, ended=ended)
        if data:
            self._owner.relay_data(data)
        if ended:
            self._owner.relay_done()

    def on_failure(self, error: UpstreamFailedError) -> None:
        self._exchange = None
        self._owner.relay_failed(error)


async def relay(  # noqa: PLR0913 - a request has so many parts
    request: Request,
    pool: Pool,
    origin: Origin,
    *,
    method: str | None = None,
    target: str | None = None,
    headers: Iterable[Field] = (),
    rules: RelayRules = EVERYTHING,
) -> None:
    """Send `request` with exactly `headers` (framing and host are added) to `origin`, its body as
    it comes, and the answer back. Raises UpstreamFailedError when nothing has been sent to the
    client yet; afterwards a failing upstream cuts the client's connection. Raises ClientGoneError
    when the client hangs up, BodyTooLargeError and BodyBrokenError for a body that fails.
    """
    owner = _Waiting(request)
    before = request.on_disconnect
    carrier = Relay(request, pool, owner, rules)
    body = request.body
    chunked = not body.complete and body.length is None
    whole = body.take() if body.complete else None
    head = request_head(
        method or request.method,
        target or request.target,
        origin,
        headers,
        None if chunked else (len(whole) if whole is not None else body.length),
    )
    exchange = carrier.send(origin, Outgoing(head, whole, bodyless_answer=request.method == "HEAD"))
    if whole is None:
        body.pipe(_Upload(exchange, request, owner, chunked=chunked))
    try:
        await owner.result
    except asyncio.CancelledError:
        carrier.cancel()
        raise
    finally:
        request.on_disconnect = before


def request_head(
    method: str, target: str, origin: Origin, headers: Iterable[Field], length: int | None
) -> bytes:
    """The head of a request; `length` None means chunked. Raises ValueError for bad fields."""
    host = b"localhost" if origin.path else f"{origin.host}:{origin.port}".encode()
    framing = (
        b"transfer-encoding: chunked\r\n"
        if length is None
        else b"content-length: %d\r\n" % length
        if length or method not in ("GET", "HEAD", "DELETE", "OPTIONS")
        else b""
    )
    return b"%b %b HTTP/1.1\r\nhost: %b\r\n%b%b\r\n" % (
        method.encode(),
        target.encode(),
        host,
        encode_fields(headers),
        framing,
    )


class _Waiting:
    """The owner of a relay that a coroutine awaits."""

    def __init__(self, request: Request) -> None:
        self.request = request
        self.result: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def relay_head(self, status: int, headers: list[Field]) -> None:
        pass

    def relay_data(self, data: bytes) -> None:
        pass

    def relay_done(self) -> None:
        if not self.result.done():
            self.result.set_result(None)

    def relay_failed(self, error: UpstreamFailedError) -> None:
        if self.request.started:
            self.request.abort()
            self.relay_done()
        else:
            self.fail(error)

    def relay_cancelled(self) -> None:
        self.fail(ClientGoneError("the client hung up"))

    def fail(self, error: WireError) -> None:
        if not self.result.done():
            self.result.set_exception(error)


class _Upload:
    """The sink that streams a request's body to the upstream, with back pressure."""

    def __init__(
        self, exchange: Exchange, request: Request, owner: _Waiting, *, chunked: bool
    ) -> None:
        self._exchange = exchange
        self._owner = owner
        self._chunked = chunked
        exchange.on_pressure = request.body.pause
        exchange.on_drain = request.body.resume

    def feed(self, data: bytes) -> None:
        if self._chunked:
            data = b"%x\r\n%b\r\n" % (len(data), data)
        self._exchange.write_body(data)

    def end(self) -> None:
        self._exchange.write_body(b"0\r\n\r\n" if self._chunked else b"", ended=True)

    def lost(self, error: WireError) -> None:
        self._exchange.cancel()
        self._owner.fail(error)
