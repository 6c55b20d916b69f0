"""Relaying for coroutines: send a client's request on, body and all, and wait for the end."""

import asyncio
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from aimindserve.wire.body import Body
from aimindserve.wire.errors import ClientGoneError, UpstreamFailedError, WireError
from aimindserve.wire.exchange import Exchange, Head
from aimindserve.wire.headers import Field, encode_fields
from aimindserve.wire.origin import Origin
from aimindserve.wire.pool import Pool
from aimindserve.wire.relay import EVERYTHING, Relay, RelayRules
from aimindserve.wire.request import Request

_NEVER_A_BODY = frozenset({"GET", "HEAD", "DELETE", "OPTIONS"})


@dataclass(frozen=True, slots=True)
class Onward:
    """What is sent upstream instead of what came: None means the same. `headers` are all fields
    that are sent, but for framing, and for Host unless it is among them."""

    headers: Iterable[Field] = ()
    method: str | None = None
    target: str | None = None
    rules: RelayRules = EVERYTHING


async def relay(
    request: Request, pool: Pool, origin: Origin, *, headers: Iterable[Field] = ()
) -> None:
    """Send `request` with exactly `headers` to `origin`, its body as it comes, and the answer
    back. See `forward`."""
    await forward(request, pool, origin, Onward(headers))


async def forward(request: Request, pool: Pool, origin: Origin, onward: Onward) -> None:
    """Send `request` on as `onward` says, and the answer back.

    Raises UpstreamFailedError when nothing has been sent to the client yet; afterwards a failing
    upstream cuts the client's connection. Raises ClientGoneError when the client hangs up,
    BodyTooLargeError and BodyBrokenError for a body that fails.
    """
    before = request.on_disconnect
    owner = _Waiting(request)
    carrier = Relay(request, pool, owner, onward.rules)
    body = request.body
    whole = body.take() if body.complete else None
    chunked = whole is None and body.length is None
    head = request_head(
        onward.method or request.method,
        onward.target or request.target,
        origin,
        onward.headers,
        None if chunked else len(whole) if whole is not None else body.length,
    )
    exchange = carrier.send(origin, head, whole)
    if whole is None:
        Upload(exchange, body, owner.fail, chunked=chunked)
    try:
        await owner.result
    except BaseException:
        if not request.ended:
            carrier.cancel()
        raise
    finally:
        request.on_disconnect = before


def request_head(
    method: str, target: str, origin: Origin, headers: Iterable[Field], length: int | None
) -> bytes:
    """The head of a request; `length` None means chunked. Raises ValueError for bad fields."""
    fields = encode_fields(headers)
    host = b""
    if b"host: " not in fields.lower():
        name = "localhost" if origin.path else f"{origin.host}:{origin.port}"
        host = b"host: %b\r\n" % name.encode()
    framing = b""
    if length is None:
        framing = b"transfer-encoding: chunked\r\n"
    elif length or method not in _NEVER_A_BODY:
        framing = b"content-length: %d\r\n" % length
    line = f"{method} {target} HTTP/1.1\r\n".encode("ascii")
    return b"%b%b%b%b\r\n" % (line, host, fields, framing)


class Upload:
    """Streams a request's body to an upstream, with back pressure. Nothing is read before the
    upstream's connection is there: until then another upstream can be tried."""

    __slots__ = ("_begun", "_body", "_chunked", "_exchange", "_failed", "_first")

    def __init__(
        self,
        exchange: Exchange,
        body: Body,
        failed: Callable[[WireError], None],
        *,
        chunked: bool,
        first: bytes = b"",
    ) -> None:
        self._exchange = exchange
        self._body = body
        self._failed = failed
        self._chunked = chunked
        self._first = first
        self._begun = False
        exchange.on_pressure = body.pause
        exchange.on_drain = self._ready
        if exchange.link is not None:
            self._ready()

    def feed(self, data: bytes) -> None:
        if self._chunked:
            data = b"%x\r\n%b\r\n" % (len(data), data)
        self._exchange.write_body(data)

    def end(self) -> None:
        self._exchange.write_body(b"0\r\n\r\n" if self._chunked else b"", ended=True)

    def lost(self, error: WireError) -> None:
        self._exchange.cancel()
        self._failed(error)

    def _ready(self) -> None:
        if self._begun:
            self._body.resume()
            return
        self._begun = True
        first, self._first = self._first, b""
        if first:
            self.feed(first)
        self._body.pipe(self)


class _Waiting:
    """The owner of a relay that a coroutine awaits."""

    __slots__ = ("request", "result")

    def __init__(self, request: Request) -> None:
        self.request = request
        self.result: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def relay_head(self, head: Head) -> int | None:  # noqa: ARG002 - everything is passed on
        return 0

    def relay_data(self, data: bytes) -> None:
        pass

    def relay_done(self, last: bytes) -> None:  # noqa: ARG002 - nothing is read out of it
        if not self.result.done():
            self.result.set_result(None)

    def relay_failed(self, error: UpstreamFailedError) -> None:
        if self.request.started:
            self.request.abort()
            self.relay_done(b"")
        else:
            self.fail(error)

    def relay_cancelled(self) -> None:
        self.fail(ClientGoneError("the client hung up"))

    def fail(self, error: WireError) -> None:
        if not self.result.done():
            self.result.set_exception(error)
