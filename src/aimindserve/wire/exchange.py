"""One connection to an upstream, and the exchange of a request for an answer over it.

Answers arrive as plain calls on an `Answer`, batched per read of the socket, so that a small
answer is one `on_head` and one `on_data`. An exchange that is cancelled closes its connection at
once: that is how an upstream learns that nobody waits any more.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol, cast

import httptools

from aimindserve.wire.errors import Failure, UpstreamFailedError
from aimindserve.wire.headers import Field
from aimindserve.wire.limits import UpstreamLimits


class Answer(Protocol):
    """Who takes an upstream's answer."""

    def on_head(self, status: int, reason: bytes, headers: list[Field], length: int | None) -> None:
        """The head; names as sent. `length` is None unless content-length says it."""
        ...

    def on_data(self, data: bytes, ended: bool) -> None:
        """Body bytes (perhaps none), and whether they were the last."""
        ...

    def on_failure(self, error: UpstreamFailedError) -> None:
        """No (more) answer will come. Called at most once, and never after the end."""
        ...


@dataclass(frozen=True, slots=True)
class Outgoing:
    """A request to send. `head` is complete up to and including the empty line. `body` is resent
    when a pooled connection turns out to be stale; None means that it is streamed through
    `Exchange.write_body`, and then nothing is ever sent twice."""

    head: bytes
    body: bytes | None = b""
    bodyless_answer: bool = False
    """HEAD: the answer has no body, whatever its content-length says."""


class Exchange:
    """A request under way. Made by `Pool.send`."""

    __slots__ = (
        "_body_ended",
        "answer",
        "cancelled",
        "link",
        "on_drain",
        "on_pressure",
        "outgoing",
        "resent",
    )

    def __init__(self, outgoing: Outgoing, answer: Answer) -> None:
        self.outgoing = outgoing
        self.answer = answer
        self.link: Link | None = None
        self.cancelled = False
        self.resent = False
        self.on_pressure: Callable[[], None] | None = None
        """For streamed bodies: the upstream takes no more now."""
        self.on_drain: Callable[[], None] | None = None
        """For streamed bodies: the connection is there, or takes more again."""
        self._body_ended = outgoing.body is not None

    def cancel(self) -> None:
        """Nobody wants the answer any more: close the connection at once."""
        if self.cancelled:
            return
        self.cancelled = True
        if self.link is not None:
            self.link.abandon()

    def pause(self) -> None:
        """Read no more of the answer until `resume`."""
        if self.link is not None:
            self.link.pause()

    def resume(self) -> None:
        """Go on reading."""
        if self.link is not None:
            self.link.resume()

    def write_body(self, data: bytes, *, ended: bool = False) -> None:
        """A piece of a streamed body, already framed (chunked or counted) by the caller. Only from
        the first `on_drain` on, which says that there is a connection."""
        self._body_ended = self._body_ended or ended
        if self.cancelled:
            return
        if self.link is not None and data:
            self.link.write(data)

    @property
    def body_ended(self) -> bool:
        """Whether the whole request has been handed over."""
        return self._body_ended

    def attach(self, link: "Link") -> None:
        """Called by the pool: here is the connection; send."""
        self.link = link
        outgoing = self.outgoing
        link.begin(self)
        link.write(outgoing.head + outgoing.body if outgoing.body else outgoing.head)
        if outgoing.body is None and self.on_drain is not None and not link.write_paused:
            self.on_drain()


class LinkOwner(Protocol):
    """The pool, as its connections see it."""

    limits: UpstreamLimits
    now: float

    def idle(self, link: "Link") -> None: ...

    def gone(self, link: "Link") -> None: ...

    def unanswered(self, exchange: Exchange, link: "Link") -> bool: ...


class Link(asyncio.Protocol):
    """A connection to one origin; carries one exchange at a time."""

    __slots__ = (
        "_bodyless",
        "_chunked",
        "_complete",
        "_exchange",
        "_head_bytes",
        "_head_done",
        "_headers",
        "_keep",
        "_length",
        "_news",
        "_owner",
        "_parser",
        "_pieces",
        "_reading",
        "_reason",
        "_status",
        "_transport",
        "began_at",
        "key",
        "used",
        "write_paused",
    )

    def __init__(self, owner: LinkOwner, key: Any) -> None:
        self._owner = owner
        self.key = key
        self.used = 0
        """Exchanges begun; the first is on a fresh connection."""
        self.began_at = 0.0
        self.write_paused = False
        self._transport: asyncio.Transport | None = None
        self._parser: Any = None
        self._exchange: Exchange | None = None
        self._reading = True
        self._reset()

    # asyncio.Protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self._transport.set_write_buffer_limits(high=self._owner.limits.write_high_bytes)
        self._parser = httptools.HttpResponseParser(self)

    def data_received(self, data: bytes) -> None:
        exchange = self._exchange
        if exchange is None:  # nobody asked: not a server to talk to again
            self.close()
            return
        if not self._head_done:
            self._head_bytes += len(data)
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade) as error:
            if not self._complete:
                self._fail(Failure.GARBAGE, f"the answer is not HTTP: {error}")
                return
            self._keep = False  # it said more than was asked; what was asked is complete
        if not self._head_done:
            if self._head_bytes > self._owner.limits.head_bytes:
                self._fail(Failure.GARBAGE, "the answer's head is too large")
            return
        self._deliver(exchange)

    def eof_received(self) -> None:
        return None

    def connection_lost(self, exc: Exception | None) -> None:
        self._owner.gone(self)
        self._transport = None
        self._parser = None
        exchange = self._exchange
        if exchange is None:
            return
        if self._head_done and self._length is None and not self._chunked and exc is None:
            self._complete = True  # an answer without a length ends with its connection
            self._keep = False
            self._deliver(exchange)
            return
        self._exchange = None
        exchange.link = None
        if exchange.cancelled:
            return
        if not self._head_bytes and self._owner.unanswered(exchange, self):
            return
        detail = f"the connection was lost: {exc}" if exc else "the connection was closed"
        exchange.answer.on_failure(UpstreamFailedError(Failure.LOST, detail))

    def pause_writing(self) -> None:
        self.write_paused = True
        if self._exchange is not None and self._exchange.on_pressure is not None:
            self._exchange.on_pressure()

    def resume_writing(self) -> None:
        self.write_paused = False
        if self._exchange is not None and self._exchange.on_drain is not None:
            self._exchange.on_drain()

    # llhttp's callbacks

    def on_status(self, reason: bytes) -> None:
        self._reason += reason

    def on_header(self, name: bytes, value: bytes) -> None:
        if self._head_done:
            return  # a trailer
        headers = self._headers
        headers.append((name, value))
        if len(headers) > self._owner.limits.head_fields:
            raise ValueError("the answer has too many header fields")

    def on_headers_complete(self) -> None:
        status: int = self._parser.get_status_code()
        if status < 200:
            if status == 101:
                raise ValueError("the answer switches protocols")
            return  # informational; on_message_complete starts over
        self._status = status
        for name, value in self._headers:
            lower = name.lower()
            if lower == b"content-length":
                self._length = int(value)
            elif lower == b"transfer-encoding":
                self._chunked = True
        self._keep = self._parser.should_keep_alive()
        if self._bodyless or status in {204, 304}:
            if self._bodyless and (self._length or self._chunked):
                self._keep = False  # llhttp waits for a body that does not come
            self._complete = True
        self._head_done = self._news = True

    def on_body(self, data: bytes) -> None:
        if not self._complete:
            self._pieces.append(data)

    def on_message_complete(self) -> None:
        if self._head_done:
            self._complete = True
        else:
            self._headers = []
            self._reason = b""

    # What exchanges and the pool call

    @property
    def usable(self) -> bool:
        """Whether a request could be sent."""
        return self._transport is not None and not self._transport.is_closing()

    def begin(self, exchange: Exchange) -> None:
        """Carry `exchange` from now on."""
        self._exchange = exchange
        self._bodyless = exchange.outgoing.bodyless_answer
        self.used += 1
        self.began_at = self._owner.now

    def write(self, data: bytes) -> None:
        """Send bytes."""
        if self._transport is not None:
            self._transport.write(data)

    def pause(self) -> None:
        """Stop reading."""
        if self._reading and self._transport is not None and not self._transport.is_closing():
            self._reading = False
            self._transport.pause_reading()

    def resume(self) -> None:
        """Read on."""
        if not self._reading and self._transport is not None:
            self._reading = True
            if not self._transport.is_closing():
                self._transport.resume_reading()

    def abandon(self) -> None:
        """Close at once, without telling the exchange."""
        self._exchange = None
        if self._transport is not None:
            self._transport.abort()

    def close(self) -> None:
        """Close; nothing is under way."""
        if self._transport is not None:
            self._transport.close()

    def check(self, now: float) -> None:
        """Keep the time limit of answers; called by the pool's sweep."""
        limit_s = self._owner.limits.head_timeout_s
        if limit_s is None or self._exchange is None or self._head_done:
            return
        if self._exchange.body_ended and now - self.began_at > limit_s:
            self._fail(Failure.TIMEOUT, f"no answer within {limit_s:g} s")

    # Inside

    def _reset(self) -> None:
        self._headers: list[Field] = []
        self._pieces: list[bytes] = []
        self._reason = b""
        self._status = 0
        self._length: int | None = None
        self._chunked = self._bodyless = False
        self._head_done = self._complete = self._keep = self._news = False
        self._head_bytes = 0

    def _deliver(self, exchange: Exchange) -> None:
        """Tell the exchange's owner what this read brought: head, data, end."""
        answer = exchange.answer
        news, self._news = self._news, False
        pieces = self._pieces
        data = pieces[0] if len(pieces) == 1 else b"".join(pieces)
        ended = self._complete
        status, reason, headers, length = self._status, self._reason, self._headers, self._length
        if ended:
            self._release(exchange)
        elif pieces:
            self._pieces = []
        if news:
            answer.on_head(status, reason, headers, length)
            if exchange.cancelled:
                return
        if data or ended:
            answer.on_data(data, ended)

    def _release(self, exchange: Exchange) -> None:
        reusable = self._keep and exchange.body_ended and self.usable
        self._exchange = None
        exchange.link = None
        self._reset()
        self.resume()
        if reusable:
            self._owner.idle(self)
        elif self._transport is not None:
            self._transport.abort()

    def _fail(self, kind: Failure, detail: str) -> None:
        exchange = self._exchange
        self.abandon()
        if exchange is not None:
            exchange.link = None
            exchange.answer.on_failure(UpstreamFailedError(kind, detail))
