"""From bytes to requests: llhttp's callbacks, with the limits and the strictness around them.

llhttp (through httptools) in its strict mode parses; what it lets pass but two servers could read
differently is refused in `framing`. Raises `RefusedError`; writes nothing and keeps no timer.

            first byte          head complete        body complete
    IDLE ──────────────▶ HEAD ────────────────▶ BODY ──────────────▶ IDLE
"""

from collections import deque
from enum import Enum
from typing import Any, cast

import httptools

from aimindserve.wire.body import Body, WholeBody
from aimindserve.wire.errors import BodyTooLargeError
from aimindserve.wire.framing import RefusedError, body_length, clean_target, expects_continue
from aimindserve.wire.headers import Field
from aimindserve.wire.limits import Limits
from aimindserve.wire.memo import HeadMemo
from aimindserve.wire.request import Channel, Request, RequestHead


class Phase(Enum):
    """Where the message being received stands."""

    IDLE = "idle"
    HEAD = "head"
    BODY = "body"


IDLE = Phase.IDLE  # an enum's members are found slowly by their class


class Intake:
    """Parses what one client sends. `ready` holds the requests whose heads are complete."""

    __slots__ = (
        "_channel",
        "_fields",
        "_junk",
        "_limits",
        "_mark",
        "_memo",
        "_now",
        "_parser",
        "_skip",
        "_url",
        "incoming",
        "peer",
        "phase",
        "ready",
        "scheme",
        "since",
    )

    def __init__(self, channel: Channel, limits: Limits, now: float) -> None:
        self._channel = channel
        self._limits = limits
        self._now = now
        self.peer = ""
        """The client's address."""
        self.scheme = "http"
        self._parser: Any = httptools.HttpRequestParser(self)
        self.phase = Phase.HEAD  # a fresh connection owes us a request
        self.since = now
        """When the phase began; by the server's coarse clock."""
        self.ready: deque[Request] = deque()
        self.incoming: Request | None = None
        """The request whose body is arriving."""
        self._url = b""
        self._fields: list[Field] = []
        self._junk = 0
        """Bytes since the last byte of a head or body that counted: chunk extensions, trailers,
        and unfinished fields, which llhttp keeps to itself without limit."""
        self._skip = False
        self._mark = (now, 0)
        self._memo = HeadMemo[RequestHead]()

    def again(self, data: bytes) -> Request | None:
        """The request that `data` is if it has the head of the last one and all of its body, and
        nothing came between; None: `feed` it."""
        memo = self._memo
        head = memo.made
        if head is None or self.phase is not IDLE or self.ready:
            return None
        length = memo.match(data)
        limit = self._limits.body_bytes
        if length < 0 or length > limit:
            return None
        return Request(self._channel, head, WholeBody(data[memo.start :], limit))

    def feed(self, data: bytes, now: float) -> None:
        """Take in what was read. Raises RefusedError: parse nothing more after it."""
        self._now = now
        fresh = self.phase is IDLE
        if fresh:
            self._begin()
        self._junk += len(data)
        try:
            self._parse(data)
        except RefusedError:
            if not self._url and not self.ready and self.incoming is None:
                self._url = _target_in(data)
            raise
        if fresh and self.phase is IDLE and len(self.ready) == 1:
            self._remember(data, self.ready[0])
        if self._junk > self._limits.head_bytes and self.phase is not IDLE:
            raise RefusedError(
                431 if self.phase is Phase.HEAD else 400, "The header fields are too large."
            )

    def refused_head(self) -> RequestHead:
        """What is known of the head that was being read, for whoever words its refusal. The target
        is empty when it was not understood."""
        fields = self._fields
        try:
            target = clean_target(self._url) if self._url else ""
        except RefusedError:
            text = self._url.decode("ascii", "replace")
            target = text if text.startswith("/") else ""
        return RequestHead("GET", target, fields, dict(fields), self.peer, self.scheme)

    def close(self) -> None:
        """Break the cycle between the parser and this object."""
        self._parser = None
        self._memo = HeadMemo[RequestHead]()

    def mark_body(self, now: float) -> None:
        """Measure the rate of the body from here on."""
        self._now = now
        self._mark = (now, self.incoming.body.size if self.incoming is not None else 0)

    def overdue(self, now: float) -> str:
        """Why the client is too slow, as a sentence; empty when it is not."""
        limits = self._limits
        if self.phase is Phase.HEAD and now - self.since > limits.head_timeout_s:
            return "The request's header fields did not arrive in time."
        since, size = self._mark
        if self.incoming is None or now - since < limits.body_window_s:
            return ""
        if self.incoming.body.size - size < limits.body_rate_bytes_s * limits.body_window_s:
            return "The request's body arrives too slowly."
        self.mark_body(now)
        return ""

    # llhttp's callbacks

    def on_url(self, url: bytes) -> None:
        if self.phase is IDLE:  # sent ahead, in one piece with the request before
            self._begin()
        self._url += url
        if len(self._url) > self._limits.target_bytes:
            raise RefusedError(414, "The request's path and query are too long.")

    def on_header(self, name: bytes, value: bytes) -> None:
        self._fields.append((name.lower(), value))

    def on_headers_complete(self) -> None:
        if self._skip:
            return
        parser, limits, fields = self._parser, self._limits, self._fields
        if len(fields) > limits.head_fields or (
            self._junk > limits.head_bytes and _size_of(fields) > limits.head_bytes
        ):
            raise RefusedError(431, "The request has too many or too large header fields.")
        version = parser.get_http_version()
        http_1_0 = version == "1.0"
        if not http_1_0 and version != "1.1":
            raise RefusedError(505, "This server speaks HTTP/1.1.")
        index = dict(fields)
        length = body_length(fields, index, http_1_0=http_1_0)
        method: str = parser.get_method().decode()
        if method == "CONNECT":
            raise RefusedError(405, "This server is no proxy.")
        if length is not None and length > limits.body_bytes:
            raise RefusedError(413, f"The body is larger than {limits.body_bytes} bytes.")
        if len(self.ready) >= limits.pipelined:
            raise RefusedError(503, "Too many requests were sent ahead on this connection.")
        if b"content-length" in index:
            fields.remove((b"content-length", index.pop(b"content-length")))
        head = RequestHead(
            method,
            clean_target(self._url),
            fields,
            index,
            self.peer,
            self.scheme,
            http_1_0,
            parser.should_keep_alive(),
        )
        request = Request(self._channel, head, Body(self._channel, length, limits))
        self._url, self._fields, self._junk = b"", [], 0
        self.incoming = request
        self.ready.append(request)
        if length != 0:
            self._expect_body(request)

    def on_body(self, data: bytes) -> None:
        self._junk = 0
        if self.incoming is not None:
            try:
                self.incoming.body.receive(data)
            except BodyTooLargeError as error:
                raise RefusedError(413, f"The body is larger than {error.limit} bytes.") from error

    def on_message_complete(self) -> None:
        request = self.incoming
        if request is None or (b"upgrade" in request.index and self._parser.should_upgrade()):
            return  # an upgrade goes on in `_decline_upgrade`
        self._complete(request)

    # Inside

    def _remember(self, data: bytes, request: Request) -> None:
        """`data` was exactly `request`: perhaps its head comes again."""
        head = request.head
        if not head.keep_alive or head.http_1_0 or not request.body.length:
            return
        if b"expect" not in head.index and b"upgrade" not in head.index:
            self._memo.remember(data, head)

    def _begin(self) -> None:
        self.phase = Phase.HEAD
        self.since = self._now

    def _parse(self, data: bytes) -> None:
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserCallbackError as error:
            if error.__context__ is None:
                raise
            raise error.__context__ from None
        except httptools.HttpParserUpgrade as upgrade:
            self._decline_upgrade(data, cast("int", upgrade.args[0]))
        except httptools.HttpParserError as error:
            raise RefusedError(400, f"This is not a proper HTTP/1.1 request: {error}.") from error

    def _decline_upgrade(self, data: bytes, offset: int) -> None:
        """Go on in HTTP/1.1 with a request that offered an upgrade (some clients offer h2c with
        every request). llhttp has skipped its body, so a fresh parser is told of its framing."""
        request = self.incoming
        if request is None:
            raise RefusedError(400, "This is not a proper HTTP/1.1 request.")
        self._parser = httptools.HttpRequestParser(self)
        length = request.body.length
        if length == 0:
            self._complete(request)
        else:
            framing = b"transfer-encoding: chunked"
            if length is not None:
                framing = b"content-length: %d" % length
            self._skip = True
            self._parser.feed_data(b"POST / HTTP/1.1\r\nhost: x\r\n%b\r\n\r\n" % framing)
            self._skip, self._url, self._fields = False, b"", []
        if data[offset:]:
            self._parse(data[offset:])

    def _expect_body(self, request: Request) -> None:
        self.phase = Phase.BODY
        self.since = self._now
        self._mark = (self._now, 0)
        if expects_continue(request.index):
            request.body.before_first_reader(request.ask_for_body)

    def _complete(self, request: Request) -> None:
        self.incoming = None
        self.phase = IDLE
        self.since = self._now
        self._junk = 0
        if self._fields:  # trailers, which nobody needs
            self._fields = []
        request.body.finish()


def _target_in(data: bytes) -> bytes:
    """The target in a request line whose method or form was refused before it; or nothing."""
    words = data.lstrip(b"\r\n").partition(b"\n")[0].split(b" ")
    return words[1] if len(words) > 1 and words[1].startswith(b"/") else b""


def _size_of(fields: list[Field]) -> int:
    return sum(len(name) + len(value) + 4 for name, value in fields)
