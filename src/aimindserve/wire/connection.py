"""One client connection: requests in, answers out in their order, time limits, a gentle end.

Parsing is in `intake`. Time is checked by the server's sweep, which calls `check`; nothing here
starts a timer, so that ten thousand idle connections cost nothing.

Ends: kept alive until idle for long; closed after an answer that says so; refused (an error reply,
then what still comes in is thrown away for a moment, so that the client can read it); cut.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field, replace
from typing import Any, cast

from aimindserve.kit.log import get_logger
from aimindserve.kit.tasks import TaskSupervisor
from aimindserve.wire.body import Body
from aimindserve.wire.errors import BodyBrokenError, BodyTooLargeError, ClientGoneError
from aimindserve.wire.framing import RefusedError
from aimindserve.wire.intake import IDLE, Intake
from aimindserve.wire.limits import Limits
from aimindserve.wire.request import Reply, Request

log = get_logger("wire")

Handler = Callable[[Request], Coroutine[Any, Any, None] | None]
ErrorReply = Callable[[int, str, Request], Reply]
"""(status, sentence, the request as far as it was understood) -> what is answered. Nobody has seen
the request when its head was refused; then its target may be empty, and is cut where it ended."""


def plain_error(status: int, message: str, _request: Request) -> Reply:
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
    connections: "set[Connection]" = field(default_factory=set["Connection"])


class Connection(asyncio.Protocol):
    """The protocol object of one client connection."""

    __slots__ = (
        "_active",
        "_dispatching",
        "_drained",
        "_flushed",
        "_intake",
        "_limits",
        "_lingering_since",
        "_reading",
        "_refusal",
        "_refused",
        "_shared",
        "_stalled_since",
        "_transport",
        "_write_paused",
        "_written",
        "note",
    )

    def __init__(self, shared: Shared) -> None:
        self._shared = shared
        self._limits = shared.limits
        self._intake = Intake(self, shared.limits, shared.now)
        self._transport: asyncio.Transport | None = None
        self.note: object = None
        self._active: Request | None = None
        """The request being answered."""
        self._dispatching = False
        self._refusal: RefusedError | None = None
        """Set when nothing more is parsed; sent after the answers under way."""
        self._refused: Request | None = None
        """What it is the answer to."""
        self._lingering_since: float | None = None
        self._reading = True
        self._write_paused = False
        self._drained: asyncio.Future[None] | None = None
        self._written = self._flushed = 0
        self._stalled_since = shared.now

    # asyncio.Protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self._transport.set_write_buffer_limits(high=self._limits.write_high_bytes)
        peer: object = transport.get_extra_info("peername")
        self._intake.scheme = self._shared.scheme
        if isinstance(peer, tuple):
            self._intake.peer = str(cast("tuple[object, ...]", peer)[0])
        connections = self._shared.connections
        connections.add(self)
        if len(connections) > self._limits.connections or self._shared.draining:
            self._refuse(RefusedError(503, "This server has too many connections; try again."))

    def data_received(self, data: bytes) -> None:
        if self._refusal is not None or self._lingering_since is not None:
            return
        if self._active is None:
            request = self._intake.again(data)
            if request is not None:
                self._hand_over(request)
                return
        try:
            self._intake.feed(data, self._shared.now)
        except RefusedError as refused:
            self._refuse(refused)
            return
        if self._active is None and self._intake.ready:
            self._dispatch()

    def eof_received(self) -> None:
        """A client that ends its side is gone: what it asked for is stopped (nginx does the same).
        Returning nothing closes the transport once what is written has been sent."""
        self._hang_up()

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - any end is an end
        self._shared.connections.discard(self)
        self._transport = None
        self._hang_up()
        self._intake.close()

    def pause_writing(self) -> None:
        self._write_paused = True
        if self._active is not None and self._active.on_pressure is not None:
            self._active.on_pressure()

    def resume_writing(self) -> None:
        self._write_paused = False
        self._wake_drained()
        if self._active is not None and self._active.on_drain is not None:
            self._active.on_drain()

    # What requests and their bodies need (Channel)

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
            self._intake.mark_body(self._shared.now)
            if not self._transport.is_closing():
                self._transport.resume_reading()

    def may_keep_alive(self) -> bool:
        active = self._active
        return active is not None and active.body.complete and not self._shared.draining

    async def drain(self) -> None:
        if self._write_paused:
            if self._drained is None:
                self._drained = asyncio.get_running_loop().create_future()
            await asyncio.shield(self._drained)
        if self._transport is None:
            raise ClientGoneError("the client hung up")

    def switch(self, head: bytes, protocol: asyncio.Protocol) -> bool:
        """Write `head` and leave the connection to `protocol`. For the request being answered, when
        nothing has come in behind it."""
        transport, intake = self._transport, self._intake
        behind = intake.ready or intake.incoming is not None or intake.phase is not IDLE
        if transport is None or transport.is_closing() or behind or self._refusal is not None:
            return False
        self._shared.connections.discard(self)
        self._transport = self._active = None
        transport.write(head)
        transport.set_protocol(protocol)
        protocol.connection_made(transport)
        intake.close()
        return True

    def cut(self) -> None:
        """Close at once; what was not sent is lost."""
        if self._transport is not None:
            self._transport.abort()

    def complete(self, request: Request, data: bytes) -> None:
        if data and self._transport is not None:
            self._written += len(data)
            self._transport.write(data)
        if request is not self._active:
            return
        self._active = None
        intake = self._intake
        if not request.keep_alive or not request.body.complete:
            self._close_gently()
        elif intake.ready or self._refusal is not None or self._shared.draining:
            self._next()
        elif intake.phase is IDLE:
            intake.since = self._shared.now

    # The server's side

    def drain_and_close(self) -> None:
        """Close now if idle, else after the answer under way. The server is draining."""
        if self._active is None and self._intake.incoming is None:
            self._close_gently()

    def check(self, now: float) -> None:
        """Keep the time limits; called every sweep."""
        limits, intake = self._limits, self._intake
        if self._lingering_since is not None:
            if now - self._lingering_since > limits.linger_s and self._transport is not None:
                self._transport.close()
        elif intake.phase is IDLE:
            if self._active is None and now - intake.since > limits.idle_timeout_s:
                self._close_gently()
        elif self._reading and self._refusal is None:
            late = intake.overdue(now)
            if late:
                self._refuse(RefusedError(408, late))
        self._check_reader(now)

    # Inside, for answering

    def _dispatch(self) -> None:
        if self._dispatching:
            return
        self._dispatching = True
        ready = self._intake.ready
        while self._active is None and ready and self._lingering_since is None:
            self._hand_over(ready.popleft())
        self._dispatching = False
        if self._active is None and self._refusal is not None:
            self._send_refusal()

    def _hand_over(self, request: Request) -> None:
        self._active = request
        # Supervision point: a handler's defect is one 500, not the end of the connection.
        try:
            work = self._shared.handler(request)
            if work is not None:
                self._spawn(request, work)
        except Exception as error:
            log.error("handler.failed", path=request.path, error=repr(error), exc_info=error)
            self._answer_error(request, 500, DEFECT)

    def _next(self) -> None:
        """After an answer: the next request, a refusal that had to wait, or the end."""
        if self._intake.ready:
            self._dispatch()
        elif self._refusal is not None:
            if not self._dispatching:
                self._send_refusal()
        elif self._intake.incoming is None:
            self._close_gently()

    def _spawn(self, request: Request, work: Coroutine[Any, Any, None]) -> None:
        task = self._shared.tasks.spawn(self._run(request, work), name="wire.handler")
        request.on_disconnect = task.cancel

    async def _run(self, request: Request, work: Coroutine[Any, Any, None]) -> None:
        # Supervision point: see `_dispatch`.
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
            log.error("handler.failed", path=request.path, error=repr(error), exc_info=error)
            self._answer_error(request, 500, DEFECT)

    def _answer_error(self, request: Request, status: int, message: str) -> None:
        if request.started:
            request.abort()
        elif not request.ended:
            request.reply(self._shared.error_reply(status, message, request))

    # Inside, for refusing and ending

    def _refuse(self, refused: RefusedError) -> None:
        """Parse nothing more; send the refusal after the answers that come before it."""
        if self._refusal is not None or self._lingering_since is not None:
            return
        self._refusal = refused
        broken, self._intake.incoming = self._intake.incoming, None
        self._refused = self._answerable(broken)
        if broken is not None and broken is self._active:
            self._break(broken, refused)
        elif broken is not None:
            self._intake.ready.remove(broken)
        if self._active is None:
            self._dispatch()

    def _answerable(self, broken: Request | None) -> Request:
        """A request that a refusal can be the answer to, in the place of the one that is broken:
        what it asked for and what was promised to it, without its body."""
        known = self._intake.refused_head() if broken is None else broken.head
        head = replace(known, keep_alive=False, note=None)
        request = Request(self, head, Body(self, 0, self._limits))
        if broken is not None:
            request.extra = broken.extra
        return request

    def _break(self, request: Request, refused: RefusedError) -> None:
        """The body of the request being answered turned out to be malformed, large or slow."""
        started, ended = request.started, request.ended
        notify, request.on_disconnect = request.on_disconnect, None
        request.started = request.ended = True  # from here on the handler's answer goes nowhere
        request.body.fail(BodyBrokenError(refused.message))
        if ended:
            return
        if notify is not None:
            notify()
        if started:
            self.cut()
        else:
            self._active = None

    def _send_refusal(self) -> None:
        refused = self._refusal
        answer = self._refused
        if refused is None or answer is None or self._transport is None:
            return
        if self._lingering_since is not None:
            return
        self._active = answer
        answer.reply(self._shared.error_reply(refused.status, refused.message, answer))

    def _close_gently(self) -> None:
        """Close so that the client can read what was written even if it is still sending: closing
        with unread input would make the kernel reset the connection."""
        transport = self._transport
        if transport is None or self._lingering_since is not None:
            return
        self._lingering_since = self._shared.now
        if self._intake.phase is IDLE and self._refusal is None:
            transport.close()
            return
        self.resume()
        if transport.can_write_eof() and not transport.is_closing():
            transport.write_eof()

    def _hang_up(self) -> None:
        self._wake_drained()
        active, self._active = self._active, None
        queued, self._intake.ready = self._intake.ready, deque()
        for request in (active, *queued):
            if request is not None:
                request.disconnected()

    def _wake_drained(self) -> None:
        waiting, self._drained = self._drained, None
        if waiting is not None and not waiting.done():
            waiting.set_result(None)

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


DEFECT = "The request failed because of a defect of this program; it was logged."
