"""One connection to an upstream; carries one exchange at a time, and is kept for the next."""

import asyncio
from typing import Any, Protocol, cast

import httptools

from aimindserve.wire.errors import Failure, UpstreamFailedError
from aimindserve.wire.exchange import FRAMING, Exchange, Head
from aimindserve.wire.limits import UpstreamLimits
from aimindserve.wire.memo import HeadMemo
from aimindserve.wire.origin import Origin

_Made = tuple[Head, frozenset[bytes]]
"""The head of an answer, and the fields that were dropped from its lines."""


class LinkOwner(Protocol):
    """The pool, as its connections see it."""

    limits: UpstreamLimits
    now: float

    def idle(self, link: "Link") -> None: ...

    def gone(self, link: "Link") -> None: ...

    def unanswered(self, exchange: Exchange, link: "Link") -> bool: ...


class Link(asyncio.Protocol):
    """The protocol object of one connection to `origin`."""

    __slots__ = (
        "_chunked",
        "_complete",
        "_drop",
        "_exchange",
        "_head",
        "_head_bytes",
        "_index",
        "_keep",
        "_lines",
        "_memo",
        "_news",
        "_owner",
        "_parser",
        "_pieces",
        "_reading",
        "_reason",
        "_transport",
        "began_at",
        "origin",
        "used",
        "write_paused",
    )

    def __init__(self, owner: LinkOwner, origin: Origin) -> None:
        self._owner = owner
        self.origin = origin
        self.used = 0
        """Exchanges begun; the first is on a fresh connection."""
        self.began_at = 0.0
        self.write_paused = False
        self._transport: asyncio.Transport | None = None
        self._parser: Any = None
        self._reading = True
        self._exchange: Exchange | None = None
        self._drop = FRAMING
        self._head_bytes = 0
        self._lines: list[bytes] = []
        self._index: dict[bytes, bytes] = {}
        self._reason = b""
        self._head: Head | None = None
        self._pieces: list[bytes] = []
        self._chunked = self._news = self._keep = self._complete = False
        self._memo = HeadMemo[_Made]()

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
        fresh = not self._head_bytes
        if fresh and self._memo.made is not None and self._again(data, self._memo.made, exchange):
            return
        self._head_bytes += len(data)
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade) as error:
            if not self._complete:
                self._fail(Failure.GARBAGE, f"the answer is not HTTP: {error}")
                return
            self._keep = False  # it said more than was asked; what was asked is complete
        head = self._head
        if head is not None:
            if fresh and self._complete and self._keep and head.length:
                self._memo.remember(data, (head, exchange.drop))
            self._deliver(exchange, head)
        elif self._head_bytes > self._owner.limits.head_bytes:
            self._fail(Failure.GARBAGE, "the answer's head is too large")

    def connection_lost(self, exc: Exception | None) -> None:
        self._owner.gone(self)
        self._transport = None
        self._parser = None
        exchange, head = self._exchange, self._head
        if exchange is None:
            return
        if head is not None and head.length is None and not self._chunked and exc is None:
            self._complete = True  # an answer without a length ends with its connection
            self._deliver(exchange, head)
            return
        self._exchange = None
        exchange.link = None
        if exchange.cancelled or (not self._head_bytes and self._owner.unanswered(exchange, self)):
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
        if self._head is not None:
            return  # a trailer, which nobody needs
        lower = name.lower()
        self._index[lower] = value
        if lower not in self._drop:
            self._lines.append(name + b": " + value + b"\r\n")

    def on_headers_complete(self) -> None:
        parser, index = self._parser, self._index
        status: int = parser.get_status_code()
        if status < 200:
            if status == 101:
                raise ValueError("the answer switches protocols")
            return  # informational: `on_message_complete` starts over
        if len(self._lines) > self._owner.limits.head_fields:
            raise ValueError("the answer has too many header fields")
        length = index.get(b"content-length")
        self._chunked = b"transfer-encoding" in index
        counted = None if length is None else int(length)
        self._head = Head(status, self._reason, self._lines, index, counted)
        self._news = True
        self._keep = parser.should_keep_alive()
        exchange = self._exchange
        if exchange is not None and exchange.bodyless_answer:
            self._complete = True
            if counted or self._chunked:
                self._keep = False  # llhttp waits for a body that does not come
        elif status in {204, 304}:
            self._complete = True

    def on_body(self, data: bytes) -> None:
        if not self._complete:
            self._pieces.append(data)

    def on_message_complete(self) -> None:
        if self._head is not None:
            self._complete = True
        else:
            self._lines, self._index, self._reason = [], {}, b""

    # What exchanges and the pool call

    def carry(self, exchange: Exchange) -> bool:
        """Send `exchange`'s request; its answer is told to it. False when this connection is
        closed: nothing has been sent."""
        transport = self._transport
        if transport is None or transport.is_closing():
            return False
        self._exchange = exchange
        exchange.link = self
        self._drop = exchange.drop
        self.used += 1
        self.began_at = self._owner.now
        body = exchange.body
        transport.write(exchange.head + body if body else exchange.head)
        if body is None and exchange.on_drain is not None and not self.write_paused:
            exchange.on_drain()
        return True

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
        exchange = self._exchange
        if limit_s is None or exchange is None or self._head is not None:
            return
        if exchange.body_ended and now - self.began_at > limit_s:
            self._fail(Failure.TIMEOUT, f"no answer within {limit_s:g} s")

    # Inside

    def _again(self, data: bytes, last: _Made, exchange: Exchange) -> bool:
        """Deliver `data` if it is one whole answer with the head of the last one."""
        head, drop = last
        if drop is not exchange.drop or exchange.bodyless_answer:
            return False
        memo = self._memo
        length = memo.match(data)
        if length < 0:
            return False
        if length != head.length:
            index = {**head.index, b"content-length": b"%d" % length}
            head = Head(head.status, head.reason, head.lines, index, length, head.text)
        self._keep = True
        self._release(exchange)
        exchange.answer.on_whole(head, data[memo.start :])
        return True

    def _deliver(self, exchange: Exchange, head: Head) -> None:
        """Tell the exchange's owner what this read brought: head, data, end."""
        answer, news, pieces, ended = exchange.answer, self._news, self._pieces, self._complete
        self._news = False
        if ended:
            self._head, self._head_bytes, self._complete = None, 0, False
            self._lines, self._index, self._pieces, self._reason = [], {}, [], b""
            self._release(exchange)
        elif pieces:
            self._pieces = []
        if news:
            answer.on_head(head)
            if exchange.cancelled:
                return
        if pieces or ended:
            answer.on_data(pieces[0] if len(pieces) == 1 else b"".join(pieces), ended)

    def _release(self, exchange: Exchange) -> None:
        """The exchange is over: be ready for the next one."""
        self._exchange = exchange.link = None
        if not self._reading:
            self.resume()
        if self._keep and exchange.body_ended:
            self._owner.idle(self)
        elif self._transport is not None:
            self._transport.abort()

    def _fail(self, kind: Failure, detail: str) -> None:
        exchange = self._exchange
        self.abandon()
        if exchange is not None:
            exchange.link = None
            exchange.answer.on_failure(UpstreamFailedError(kind, detail))
