"""One request of a client, and the way to answer it.

A handler gets a `Request` as soon as its head is there; a small body is usually complete by then.
Answer in one of three ways: `respond` (bytes), `start` + `write` + `finish` (a stream), or
`wire.upstream.relay` (what another server says). All of them are plain calls; `drain` waits.
"""

import asyncio
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Protocol

from aimindserve.wire.body import Body, Flow
from aimindserve.wire.errors import ClientGoneError
from aimindserve.wire.headers import Field, encode_fields, status_line

TEXT = b"text/plain; charset=utf-8"
_BODYLESS = frozenset({204, 304})
"""Answers that never have a body."""


class Channel(Flow, Protocol):
    """What a request needs of its connection."""

    note: object
    """Whatever the handler wants to remember about this connection; None at first."""

    def write(self, data: bytes) -> None: ...

    def complete(self, request: "Request", data: bytes) -> None:
        """Write `data`, the last of the answer to `request`, and go on to the next."""
        ...

    def cut(self) -> None: ...

    def may_keep_alive(self) -> bool: ...

    async def drain(self) -> None: ...

    def switch(self, head: bytes, protocol: asyncio.Protocol) -> bool: ...


@dataclass(slots=True, eq=False)
class RequestHead:
    """What the head of a request says; for reading only.

    A client that sends the same head again, which kept-alive clients do, gets the same object
    again: what a handler made of a head can be kept with it, in `note`.
    """

    method: str
    target: str
    """Path and query as sent, always beginning with "/"; nothing is decoded."""
    headers: list[Field]
    """Lower-case names, in order; without content-length, which is `body.length`."""
    index: dict[bytes, bytes]
    """`headers` by name; of fields that came more than once, the last."""
    peer: str = ""
    """The client's address; empty on a unix socket."""
    scheme: str = ""
    http_1_0: bool = False
    keep_alive: bool = True
    """Whether the client would send more on this connection."""
    path: str = field(init=False)
    query: str = field(init=False)
    plain: bool = field(init=False)
    """Whether an answer may simply be a head, its length and that much body, on a connection that
    stays."""
    note: object = None
    """Whatever the handler wants to remember about this head."""

    def __post_init__(self) -> None:
        self.path, _, self.query = self.target.partition("?")
        self.plain = self.keep_alive and not self.http_1_0 and self.method != "HEAD"


@dataclass(frozen=True, slots=True)
class Reply:
    """A whole answer as a value."""

    status: int
    body: bytes = b""
    content_type: bytes = TEXT
    headers: tuple[Field, ...] = ()


class Request:
    """A head, a body, and the way to answer. `extra` is written into the head of whatever answer
    follows: encoded header lines, for fields that every answer needs."""

    __slots__ = (
        "_bodyless",
        "_channel",
        "_chunked",
        "_unsent",
        "body",
        "ended",
        "extra",
        "head",
        "keep_alive",
        "on_disconnect",
        "on_drain",
        "on_pressure",
        "started",
    )

    def __init__(self, channel: Channel, head: RequestHead, body: Body) -> None:
        self._channel = channel
        self.head = head
        self.body = body
        self.keep_alive = head.keep_alive
        self._chunked = self._bodyless = False
        self.started = False
        """The head of the answer is on its way; its status can no longer change."""
        self.ended = False
        """The answer is complete, or the client is gone."""
        self.extra = self._unsent = b""
        """`_unsent`: the head of the answer, until it is written with the first of the body."""
        self.on_disconnect: Callable[[], object] | None = None
        """Called once when the client is gone before the answer was complete."""
        self.on_pressure: Callable[[], None] | None = None
        """Called when more waits for the client than `write_high_bytes`: stop producing."""
        self.on_drain: Callable[[], None] | None = None
        """Called when the client has taken enough of it: go on."""

    @property
    def channel(self) -> Channel:
        """The connection it came by."""
        return self._channel

    @property
    def method(self) -> str:
        return self.head.method

    @property
    def target(self) -> str:
        return self.head.target

    @property
    def path(self) -> str:
        return self.head.path

    @property
    def query(self) -> str:
        return self.head.query

    @property
    def headers(self) -> list[Field]:
        return self.head.headers

    @property
    def index(self) -> dict[bytes, bytes]:
        return self.head.index

    @property
    def peer(self) -> str:
        return self.head.peer

    @property
    def scheme(self) -> str:
        return self.head.scheme

    def header(self, name: bytes) -> bytes | None:
        """The field called `name` (lower case); the last one if it came more than once."""
        return self.head.index.get(name)

    def respond(
        self,
        status: int,
        body: bytes = b"",
        *,
        content_type: bytes = TEXT,
        headers: Iterable[Field] = (),
    ) -> None:
        """Answer with `body`. Raises RuntimeError when an answer has begun already."""
        if self.ended:
            return
        lines = status_line(status) + b"content-type: %b\r\n" % content_type
        self.prepare(lines + encode_fields(headers), status, len(body))
        self.send(body, True)

    def reply(self, reply: Reply) -> None:
        """Answer with a `Reply`."""
        self.respond(
            reply.status, reply.body, content_type=reply.content_type, headers=reply.headers
        )

    def start(
        self, status: int, headers: Iterable[Field] = (), *, length: int | None = None
    ) -> None:
        """Begin an answer whose body follows in `write`s: of `length` bytes, or chunked."""
        self.prepare(status_line(status) + encode_fields(headers), status, length)
        self.send(b"", False)

    def write(self, data: bytes) -> None:
        """A piece of the body. Does nothing when the client is gone; `drain` tells."""
        self.send(data, False)

    def finish(self) -> None:
        """The answer is complete."""
        self.send(b"", True)

    async def drain(self) -> None:
        """Wait until a slow client has taken enough. Raises ClientGoneError."""
        if self.ended:
            raise ClientGoneError("the client hung up")
        await self._channel.drain()

    def switch(self, name: bytes, protocol: asyncio.Protocol) -> bool:
        """Answer 101 and leave the connection to `protocol`, which speaks `name` from here on; this
        server counts and limits it no more. False, and nothing is answered, when the client is gone
        or has sent something behind its request: whose bytes would those be?"""
        if self.ended or self.started:
            return False
        head = status_line(101) + b"connection: upgrade\r\nupgrade: %b\r\n\r\n" % name
        if not self._channel.switch(head, protocol):
            return False
        self.started = self.ended = True
        self.on_disconnect = self.on_pressure = self.on_drain = None
        return True

    def abort(self) -> None:
        """Cut the connection: the client sees that the answer is not complete."""
        if not self.ended:
            self.ended = True
            self._channel.cut()

    def prepare(self, head: bytes, status: int, length: int | None) -> None:
        """Set the head of the answer: status line and encoded fields, without framing. It is
        written together with the first `send`. For relays, which have the bytes already."""
        if self.started:
            raise RuntimeError("an answer to this request has begun already")
        self.started = True
        http_1_0 = self.head.http_1_0
        self._bodyless = self.head.method == "HEAD" or status in _BODYLESS
        if not self._channel.may_keep_alive():
            self.keep_alive = False
        if length is not None:
            framing = b"" if status == 204 else b"content-length: %d\r\n" % length
        elif http_1_0:
            framing, self.keep_alive = b"", False
        else:
            framing, self._chunked = b"transfer-encoding: chunked\r\n", not self._bodyless
        if not self.keep_alive:
            framing += b"connection: close\r\n"
        elif http_1_0:
            framing += b"connection: keep-alive\r\n"
        self._unsent = b"%b%b%b\r\n" % (head, framing, self.extra)

    def answer(self, head: bytes, status: int, body: bytes) -> None:
        """A whole answer in one step: `prepare` and `send`, for relays."""
        if self.ended:
            return
        if (
            self.started
            or not (self.head.plain and self.keep_alive)
            or status in _BODYLESS
            or not self._channel.may_keep_alive()
        ):
            self.prepare(head, status, len(body))
            self.send(body, True)
            return
        self.started = self.ended = True
        self.on_disconnect = None
        self._channel.complete(
            self, b"%bcontent-length: %d\r\n%b\r\n%b" % (head, len(body), self.extra, body)
        )

    def send(self, data: bytes, ended: bool) -> None:
        """Write `data`, with the head before it if that is still to come; `ended` ends the body."""
        if self.ended:
            return
        head = self._unsent
        if self._bodyless:
            data = b""
        elif self._chunked:
            data = _chunks(data, ended)
        if head:
            data = head + data
            self._unsent = b""
        if ended:
            self.ended = True
            # what these hold would otherwise live on in a cycle until the next collection
            self.on_disconnect = self.on_pressure = self.on_drain = None
            self._channel.complete(self, data)
        elif data:
            self._channel.write(data)

    @property
    def open_ended(self) -> bool:
        """Whether the answer that has begun may still grow: its length was not declared."""
        return self._chunked or (self.head.http_1_0 and not self.keep_alive)

    def ask_for_body(self) -> None:
        """Called when somebody begins to read a body whose client waits for 100 Continue."""
        if not self.started and not self.ended:
            self._channel.write(b"HTTP/1.1 100 Continue\r\n\r\n")

    def disconnected(self) -> None:
        """Called by the connection when the client is gone."""
        if self.ended:
            return
        self.ended = True
        self.body.fail(ClientGoneError("the client hung up"))
        if self.on_disconnect is not None:
            self.on_disconnect()


def _chunks(data: bytes, ended: bool) -> bytes:
    if not data:
        return b"0\r\n\r\n" if ended else b""
    end = b"\r\n0\r\n\r\n" if ended else b"\r\n"
    return b"%x\r\n%b%b" % (len(data), data, end)
