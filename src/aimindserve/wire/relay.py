"""Carry one upstream's answer to a client, byte for byte, as fast as the slower of the two.

Status, reason, header fields and body pass unchanged, but for fields that end at one hop and those
the rules drop; the body's framing is made anew (same length, or chunked). A client that hangs up
ends the upstream exchange at once; a client that reads slowly slows the upstream.
"""

from dataclasses import dataclass, field
from typing import Protocol

from aimindserve.wire.errors import UpstreamFailedError
from aimindserve.wire.exchange import FRAMING, Exchange, Head
from aimindserve.wire.headers import named_by_connection, status_line
from aimindserve.wire.origin import Origin
from aimindserve.wire.pool import Pool
from aimindserve.wire.request import Request

_ORDINARY = (None, b"close", b"keep-alive", b"Keep-Alive", b"Close")


@dataclass(frozen=True, slots=True)
class RelayRules:
    """What of an answer is not passed on: lower-case names of header fields."""

    drop: frozenset[bytes] = frozenset()
    dropped: frozenset[bytes] = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "dropped", FRAMING | self.drop)


EVERYTHING = RelayRules()


class Owner(Protocol):
    """Who started a relay and decides what happens when it does not go well."""

    def relay_head(self, head: Head) -> int | None:
        """The head of an answer is there. Return how many bytes of its body to hold back in case
        it breaks off (0: none), or None to refuse it: the exchange is closed and the owner answers
        the client itself."""
        ...

    def relay_data(self, data: bytes) -> None:
        """These bytes were just handed to the client's connection, and more will come."""
        ...

    def relay_done(self, last: bytes) -> None:
        """The answer is complete; `last` was just handed to the client's connection. It is the
        whole body if `relay_data` was never called."""
        ...

    def relay_failed(self, error: UpstreamFailedError) -> None:
        """The upstream failed. `request.started` tells whether the client has seen anything."""
        ...

    def relay_cancelled(self) -> None:
        """The client hung up; the upstream has been told."""
        ...


class Relay:
    """One answer on its way. `send` may be called again after a failure before the first byte."""

    __slots__ = (
        "_drop",
        "_exchange",
        "_head",
        "_held",
        "_held_left",
        "_owner",
        "_pool",
        "_request",
    )

    def __init__(self, request: Request, pool: Pool, owner: Owner, rules: RelayRules) -> None:
        self._request = request
        self._pool = pool
        self._owner = owner
        self._drop = rules.dropped
        self._exchange: Exchange | None = None
        self._head: Head | None = None
        self._held: list[bytes] | None = None
        self._held_left = 0
        request.on_disconnect = self.cancel

    def send(self, origin: Origin, head: bytes, body: bytes | None) -> Exchange:
        """Ask `origin`; its answer goes to the client. `body` None: streamed by the caller."""
        exchange = self._exchange = Exchange(head, body, self, self._drop)
        if self._request.head.method == "HEAD":
            exchange.bodyless_answer = True
        self._pool.send(origin, exchange)
        return exchange

    def cancel(self) -> None:
        """Stop; the upstream's connection is closed at once."""
        exchange, self._exchange = self._exchange, None
        if exchange is not None:
            exchange.cancel()
        self._owner.relay_cancelled()

    # Answer, called by the exchange

    def on_head(self, head: Head) -> None:
        held_left = self._owner.relay_head(head)
        if held_left is None:
            exchange, self._exchange = self._exchange, None
            if exchange is not None:
                exchange.cancel()
            return
        self._held_left = held_left
        self._head = head

    def on_data(self, data: bytes, ended: bool) -> None:
        head = self._head
        if head is not None:
            if not ended and len(data) < self._held_left:
                self._hold(data)
                return
            if self._held:
                data = b"".join((*self._held, data))
                self._held = None
            self._begin(head)
        if ended:
            self._exchange = None
            self._request.send(data, True)
            self._owner.relay_done(data)
        else:
            self._request.send(data, False)
            self._owner.relay_data(data)

    def on_whole(self, head: Head, data: bytes) -> None:
        owner = self._owner
        self._exchange = None
        if owner.relay_head(head) is not None:
            if not head.text:
                head.text = _text_of(head)
            self._request.answer(head.text, head.status, data)
            owner.relay_done(data)

    def on_failure(self, error: UpstreamFailedError) -> None:
        self._exchange = self._head = self._held = None
        self._owner.relay_failed(error)

    def _hold(self, data: bytes) -> None:
        self._held_left -= len(data)
        if self._held is None:
            self._held = []
        self._held.append(data)

    def _begin(self, head: Head) -> None:
        request, exchange = self._request, self._exchange
        self._head = None
        if not head.text:
            head.text = _text_of(head)
        request.prepare(head.text, head.status, head.length)
        if exchange is not None:
            request.on_pressure = exchange.pause
            request.on_drain = exchange.resume


def _text_of(head: Head) -> bytes:
    """Status line and fields that go on, encoded."""
    lines = head.lines
    if head.index.get(b"connection") not in _ORDINARY:
        named = named_by_connection(head.index.items())
        lines = [line for line in lines if line.partition(b":")[0].lower() not in named]
    return status_line(head.status, head.reason) + b"".join(lines)
