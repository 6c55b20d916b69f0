"""One client connection: bytes in, requests out, every limit kept, strict about framing.

Requests are parsed by llhttp (through httptools) in its strict mode; what it lets pass but two
servers could read differently is refused here. Answers go out in the order of the requests. Time
is checked by the server's sweep, which calls `check`; nothing here starts a timer.

             first byte            head complete          body complete
    IDLE ───────────────▶ HEAD ───────────────────▶ BODY ───────────────▶ IDLE
                            └── refused ─▶ LINGER ◀── refused ┘
"""

import asyncio
from collections import deque
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, cast

import httptools

from aimindserve.kit.log import get_logger
from aimindserve.kit.tasks import TaskSupervisor
from aimindserve.wire.body import Body
from aimindserve.wire.errors import BodyBrokenError, BodyTooLargeError, ClientGoneError
from aimindserve.wire.framing import Framing, RefusedError, clean_target, framing_of
from aimindserve.wire.limits import Limits
from aimindserve.wire.request import Reply, Request

log = get_logger("wire")

Handler = Callable[[Request], Coroutine[Any, Any, None] | None]
ErrorReply = Callable[[int, str, Request | None], Reply]


def plain_error(status: int, message: str, _request: Request | None) -> Reply:
    """The error reply of servers that have no format of their own."""
    return Reply(status, message.encode() + b"\n")


@dataclass(slots=True)
class Shared:
    """What all connections of one server have in common. `now` is set by the sweep."""

    handler: Handler
    limits: Limits
    error_reply: ErrorReply
    tasks: TaskSupervisor
    scheme: str
    now: float
    draining: bool = False
    connections: "set[Connection]" = field(default_factory=lambda: set[Connection]())


class Phase(Enum):
    """Where the incoming side stands."""

    IDLE = "idle"
    HEAD = "head"
    BODY = "body"
    LINGER = "linger"


class Connection(asyncio.Protocol):
    """The protocol object of one client connection."""

    __slots__ = (
        "_active",
        "_body_mark",
        "_dispatching",
        "_drained",
        "_fields",
        "_fields_bytes",
        "_flushed",
        "_incoming",
        "_junk",
        "_limits",
        "_parser",
        "_peer",
        "_phase",
        "_queue",
        "_reading",
        "_refusal",
        "_shared",
        "_since",
        "_skip",
        "_stalled_since",
        "_transport",
        "_url",
        "_write_paused",
        "_written",
    )

    def __init__(self, shared: Shared) -> None:
        self._shared = shared
        self._limits = shared.limits
        self._transport: asyncio.Transport | None = None
        self._parser: Any = None
        self._phase = Phase.HEAD
        self._since = shared.now
        self._peer = ""
        # the message being parsed
        self._url = b""
        self._fields: list[tuple[bytes, bytes]] = []
        self._fields_bytes = 0
        self._junk = 0
        """Bytes since the last byte of a head or body that counted: chunk extensions, trailers."""
        self._skip = False
        self._incoming: Request | None = None
        self._body_mark = (shared.now, 0)
        # the messages being answered
        self._active: Request | None = None
        self._queue: deque[Request] = deque()
        self._dispatching = False
        self._refusal: tuple[int, str] | None = None
        # the two directions of the socket
        self._reading = True
        self._write_paused = False
        self._drained: asyncio.Future[None] | None = None
        self._written = 0
        self._flushed = 0
        self._stalled_since = shared.now

    # asyncio.Protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self._parser = httptools.HttpRequestParser(self)
        self._since = self._shared.now
        self._transport.set_write_buffer_limits(high=self._limits.write_high_bytes)
        peer: object = transport.get_extra_info("peername")
        if isinstance(peer, tuple):
            self._peer = str(cast("tuple[object, ...]", peer)[0])
        connections = self._shared.connections
        connections.add(self)
        if len(connections) > self._limits.connections or self._shared.draining:
            self._refuse(503, "This server has too many connections; try again.")

    def data_received(self, data: bytes) -> None:
        if self._phase is Phase.LINGER or self._refusal is not None:
            return
        if self._phase is Phase.IDLE:
            self._phase = Phase.HEAD
            self._since = self._shared.now
        self._junk += len(data)
        try:
            self._feed(data)
        except RefusedError as refused:
            self._refuse(refused.status, refused.message)
            return
        if self._junk > self._limits.head_bytes and self._phase is not Phase.IDLE:
            # No callback may have seen these bytes yet: llhttp keeps an unfinished field to itself.
            self._refuse(431 if self._phase is Phase.HEAD else 400, "The headers are too large.")
            return
        if self._active is None and self._queue:
            self._dispatch()

    def eof_received(self) -> None:
        """A client that ends its side is gone: what it asked for is stopped (nginx does the same).
        Returning nothing closes the transport once what is written has been sent."""
        self._hang_up()

    def connection_lost(self, exc: Exception | None) -> None:
        self._shared.connections.discard(self)
        self._hang_up()
        self._parser = None  # breaks the cycle between the parser's callbacks and this object
        self._transport = None

    def pause_writing(self) -> None:
        self._write_paused = True
        if self._active is not None and self._active.on_pressure is not None:
            self._active.on_pressure()

    def resume_writing(self) -> None:
        self._write_paused = False
        self._wake_drained()
        if self._active is not None and self._active.on_drain is not None:
            self._active.on_drain()

    # llhttp's callbacks

    def on_url(self, url: bytes) -> None:
        if self._phase is Phase.IDLE:  # a request sent ahead, in one piece with the one before
            self._phase = Phase.HEAD
            self._since = self._shared.now
        self._url += url
        if len(self._url) > self._limits.target_bytes:
            raise RefusedError(414, "The request's path and query are too long.")

    def on_header(self, name: bytes, value: bytes) -> None:
        if self._skip:
            return
        self._fields_bytes += len(name) + len(value) + 4
        if (
            self._fields_bytes > self._limits.head_bytes
            or len(self._fields) >= self._limits.head_fields
        ):
            raise RefusedError(431, "The request has too many or too large header fields.")
        if self._phase is Phase.HEAD:
            self._fields.append((name.lower(), value))

    def on_headers_complete(self) -> None:
        if self._skip:
            return
        parser = self._parser
        fields, self._fields = self._fields, []
        method: str = parser.get_method().decode()
        version = parser.get_http_version()
        if version not in ("1.1", "1.0"):
            raise RefusedError(505, "This server speaks HTTP/1.1.")
        http_1_0 = version == "1.0"
        framing = framing_of(method, fields, http_1_0=http_1_0)
        if framing.length is not None and framing.length > self._limits.body_bytes:
            raise RefusedError(413, f"The body is larger than {self._limits.body_bytes} bytes.")
        request = Request(self, method, clean_target(self._url), fields)
        self._url = b""
        request.peer = self._peer
        request.scheme = self._shared.scheme
        request.http_1_0 = http_1_0
        request.keep_alive = parser.should_keep_alive()
        limits = self._limits
        request.body = Body(self, framing.length, limits.body_bytes, limits.body_buffer_bytes)
        self._incoming = request
        self._junk = 0
        if framing.has_body:
            self._await_body(request, framing)
        if len(self._queue) >= self._limits.pipelined:
            raise RefusedError(503, "Too many requests were sent ahead on this connection.")
        self._queue.append(request)

    def on_body(self, data: bytes) -> None:
        self._junk = 0
        if self._incoming is not None:
            try:
                self._incoming.body.receive(data)
            except BodyTooLargeError as error:
                raise RefusedError(413, f"The body is larger than {error.limit} bytes.") from error

    def on_message_complete(self) -> None:
        request = self._incoming
        if request is None or self._parser.should_upgrade():
            return  # `_decline_upgrade` goes on with it
        self._complete(request)

    def _complete(self, request: Request) -> None:
        self._incoming = None
        self._phase = Phase.IDLE
        self._since = self._shared.now
        self._junk = self._fields_bytes = 0
        self._fields = []
        request.body.finish()

    # Channel and Flow: what requests and their bodies need

    def write(self, data: bytes) -> None:
        if self._transport is not None:
            self._written += len(data)
            self._transport.write(data)

    def pause(self) -> None:
        if self._reading and self._transport is not None and not self._transport.is_closing():
            self._reading = False
            self._transport.pause_reading()

    def resume(self) -> None:
        if not self._reading and self._transport is not None:
            self._reading = True
            self._mark_body()
            if not self._transport.is_closing():
                self._transport.resume_reading()

    def may_keep_alive(self) -> bool:
        return not (
            self._shared.draining or self._refusal is not None or self._phase is Phase.BODY
        )

    async def drain(self) -> None:
        if self._transport is None:
            raise ClientGoneError("the client hung up")
        if not self._write_paused:
            return
        if self._drained is None:
            self._drained = asyncio.get_running_loop().create_future()
        await asyncio.shield(self._drained)
        if self._transport is None:  # pyright: ignore[reportUnnecessaryComparison] - lost meanwhile
            raise ClientGoneError("the client hung up")

    def cut(self) -> None:
        """Close at once; what was not sent is lost."""
        if self._transport is not None:
            self._transport.abort()

    def finished(self, request: Request) -> None:
        if request is not self._active:
            return
        self._active = None
        if not request.keep_alive or not request.body.complete:
            self._close_gently()
        elif self._queue:
            self._dispatch()
        elif self._refusal is not None:
            self._send_refusal()
        elif self._shared.draining:
            self._close_gently()
        elif self._phase is Phase.IDLE:
            self._since = self._shared.now

    # The server's side

    def drain_and_close(self) -> None:
        """Close now if idle, else after the answer under way."""
        self._shared.draining = True
        if self._active is None and self._phase in (Phase.IDLE, Phase.HEAD):
            self._close_gently()

    def check(self, now: float) -> None:
        """Keep the time limits; called every sweep."""
        limits = self._limits
        waited = now - self._since
        if self._phase is Phase.IDLE:
            if self._active is None and waited > limits.idle_timeout_s:
                self._close_gently()
        elif self._phase is Phase.HEAD:
            if waited > limits.head_timeout_s:
                self._refuse(408, "The request's headers did not arrive in time.")
        elif self._phase is Phase.LINGER:
            if waited > limits.linger_s and self._transport is not None:
                self._transport.close()
        else:
            self._check_body_rate(now)
        self._check_reader(now)

    # Inside

    def _feed(self, data: bytes) -> None:
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserCallbackError as error:
            cause = error.__context__
            if cause is None:
                raise
            raise cause from None
        except httptools.HttpParserUpgrade as upgrade:
            self._decline_upgrade(data, cast("int", upgrade.args[0]))
        except httptools.HttpParserError as error:
            raise RefusedError(400, f"This is not a proper HTTP/1.1 request: {error}.") from error

    def _decline_upgrade(self, data: bytes, offset: int) -> None:
        """Go on in HTTP/1.1 with a request that offered an upgrade. llhttp has skipped its body, so
        a fresh parser is told of its framing and fed the rest. (Some clients offer h2c always.)"""
        request = self._incoming
        if request is None:
            raise RefusedError(400, "This is not a proper HTTP/1.1 request.")
        framing = framing_of(request.method, request.headers, http_1_0=request.http_1_0)
        self._parser = httptools.HttpRequestParser(self)
        if framing.has_body:
            head = (
                b"transfer-encoding: chunked"
                if framing.length is None
                else b"content-length: %d" % framing.length
            )
            self._skip = True
            self._parser.feed_data(b"POST / HTTP/1.1\r\nhost: x\r\n%b\r\n\r\n" % head)
            self._url = b""
        self._skip = False
        if not framing.has_body:
            self._complete(request)
        if data[offset:]:
            self._feed(data[offset:])

    def _await_body(self, request: Request, framing: Framing) -> None:
        self._phase = Phase.BODY
        self._since = self._shared.now
        self._mark_body()
        if framing.expects_continue:
            request.body.before_first_reader(
                lambda: (
                    self.write(b"HTTP/1.1 100 Continue\r\n\r\n") if not request.started else None
                )
            )

    def _dispatch(self) -> None:
        if self._dispatching:
            return
        self._dispatching = True
        try:
            while self._active is None and self._queue and self._transport is not None:
                request = self._active = self._queue.popleft()
                self._handle(request)
        finally:
            self._dispatching = False
        if self._active is None and self._refusal is not None and self._phase is not Phase.LINGER:
            self._send_refusal()

    def _handle(self, request: Request) -> None:
        # Supervision point: a handler's defect becomes one 500, not the end of the connection.
        try:
            work = self._shared.handler(request)
        except Exception as error:
            self._failed(request, error)
            return
        if work is not None:
            task = self._shared.tasks.spawn(self._run(request, work), name="wire.handler")
            request.on_disconnect = task.cancel

    async def _run(self, request: Request, work: Coroutine[Any, Any, None]) -> None:
        # Supervision point: see `_handle`.
        try:
            await work
            if not request.ended:
                raise RuntimeError("the handler returned without completing its answer")
        except ClientGoneError:
            request.abort()
        except BodyTooLargeError as error:
            self._answer_error(request, 413, f"The body is larger than {error.limit} bytes.")
        except BodyBrokenError as error:
            self._answer_error(request, 400, str(error))
        except Exception as error:
            self._failed(request, error)

    def _failed(self, request: Request, error: Exception) -> None:
        log.error("handler.failed", path=request.path, error=repr(error), exc_info=error)
        self._answer_error(request, 500, "The request failed because of a defect; it was logged.")

    def _answer_error(self, request: Request, status: int, message: str) -> None:
        if request.started:
            request.abort()
        elif not request.ended:
            request.reply(self._shared.error_reply(status, message, request))

    def _refuse(self, status: int, message: str) -> None:
        """End this connection with an error reply, after the answers that come before it."""
        if self._refusal is not None or self._phase is Phase.LINGER:
            return
        self._refusal = (status, message)
        broken, self._incoming = self._incoming, None
        if broken is None:
            if self._active is None:
                self._dispatch()
                if self._active is None and self._phase is not Phase.LINGER:
                    self._send_refusal()
            return
        if broken is not self._active and broken in self._queue:
            self._queue.remove(broken)
        elif broken is self._active:
            broken.body.fail(BodyBrokenError(message))
            self._answer_broken(broken)
            return
        if self._active is None:
            self._dispatch()
            if self._active is None:
                self._send_refusal()

    def _answer_broken(self, request: Request) -> None:
        """The request being answered turned out to be malformed while its body came in."""
        if request.ended:
            return
        notify, request.on_disconnect = request.on_disconnect, None
        if notify is not None:
            notify()
        if request.started:
            request.abort()
        else:
            self._active = None
            request.started = request.ended = True
            self._send_refusal()

    def _send_refusal(self) -> None:
        if self._refusal is None or self._transport is None:
            return
        status, message = self._refusal
        request = Request(self, "GET", "/", [])
        request.keep_alive = False
        request.body = Body(self, 0, 0, 0)
        request.body.complete = True
        self._active = request
        request.reply(self._shared.error_reply(status, message, None))

    def _close_gently(self) -> None:
        """Close so that the client can read what was written, even if it is still sending:
        closing with unread input would make the kernel reset the connection."""
        transport = self._transport
        if transport is None or self._phase is Phase.LINGER:
            return
        if self._phase is Phase.IDLE and self._refusal is None:
            transport.close()
            return
        self._phase = Phase.LINGER
        self._since = self._shared.now
        self.resume()
        if transport.can_write_eof() and not transport.is_closing():
            transport.write_eof()

    def _hang_up(self) -> None:
        self._wake_drained()
        active, self._active = self._active, None
        queue, self._queue = self._queue, deque()
        for request in (active, *queue):
            if request is not None:
                request.disconnected()

    def _wake_drained(self) -> None:
        waiting, self._drained = self._drained, None
        if waiting is not None and not waiting.done():
            waiting.set_result(None)

    def _mark_body(self) -> None:
        size = self._incoming.body.size if self._incoming is not None else 0
        self._body_mark = (self._shared.now, size)

    def _check_body_rate(self, now: float) -> None:
        request, limits = self._incoming, self._limits
        since, size = self._body_mark
        if request is None or not self._reading or now - since < limits.body_window_s:
            return
        if request.body.size - size < limits.body_rate_bytes_s * limits.body_window_s:
            self._refuse(408, "The request's body arrives too slowly.")
        else:
            self._mark_body()

    def _check_reader(self, now: float) -> None:
        transport = self._transport
        if transport is None:
            return
        waiting = transport.get_write_buffer_size()
        flushed = self._written - waiting
        if not waiting or flushed != self._flushed:
            self._flushed = flushed
            self._stalled_since = now
        elif now - self._stalled_since > self._limits.stalled_write_s:
            transport.abort()
