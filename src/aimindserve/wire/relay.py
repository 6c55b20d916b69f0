"""Carry one upstream's answer to a client, byte for byte, as fast as the slower of the two.

Status, reason, header fields and body pass unchanged, but for fields that end at one hop and those
the rules drop; the body's framing is made anew (same length, or chunked). A client that hangs up
ends the upstream exchange at once; a client that reads slowly slows the upstream.
"""

from dataclasses import dataclass, field
from typing import Protocol

from aimindserve.wire.errors import UpstreamFailedError
from aimindserve.wire.exchange import Exchange, Outgoing
from aimindserve.wire.headers import HOP_BY_HOP, Field, named_by_connection, status_line
from aimindserve.wire.pool import Origin, Pool
from aimindserve.wire.request import Request

_FRAMING = HOP_BY_HOP | {b"content-length"}
_ORDINARY = (b"close", b"keep-alive")


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

    def relay_head(self, status: int, headers: list[Field]) -> int | None:
        """The head of an answer is there (names as sent). Return how many bytes of its body to
        hold back in case it breaks off (0: none), or None to refuse it: the exchange is closed
        and the owner answers the client itself."""
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

    __slots__ = (
        "_exchange",
        "_head",
        "_held",
        "_held_left",
        "_length",
        "_owner",
        "_pool",
        "_request",
        "_rules",
        "_status",
    )

    def __init__(self, request: Request, pool: Pool, owner: Owner, rules: RelayRules) -> None:
        self._request = request
        self._pool = pool
        self._owner = owner
        self._rules = rules
        self._exchange: Exchange | None = None
        self._held: list[bytes] = []
        self._held_left = 0
        self._head = b""
        self._status = 0
        self._length: int | None = None
        request.on_disconnect = self.cancel

    def send(self, origin: Origin, outgoing: Outgoing) -> Exchange:
        """Ask `origin`; its answer goes to the client."""
        exchange = self._exchange = self._pool.send(origin, outgoing, self)
        return exchange

    def cancel(self) -> None:
        """Stop; the upstream's connection is closed at once."""
        exchange, self._exchange = self._exchange, None
        if exchange is not None:
            exchange.cancel()
        self._owner.relay_cancelled()

    # Answer, called by the exchange

    def on_head(self, status: int, reason: bytes, headers: list[Field], length: int | None) -> None:
        held_left = self._owner.relay_head(status, headers)
        if held_left is None:
            exchange, self._exchange = self._exchange, None
            if exchange is not None:
                exchange.cancel()
            return
        self._held_left = held_left
        self._status = status
        self._length = length
        self._head = self._encode(status, reason, headers)

    def on_data(self, data: bytes, ended: bool) -> None:
        if self._head:
            if not ended and len(data) < self._held_left:
                self._held.append(data)
                self._held_left -= len(data)
                return
            self._begin()
            if self._held:
                data = b"".join((*self._held, data))
                self._held = []
        if ended:
            self._exchange = None
        self._request.send(data, ended=ended)
        if data:
            self._owner.relay_data(data)
        if ended:
            self._owner.relay_done()

    def on_failure(self, error: UpstreamFailedError) -> None:
        self._exchange = None
        self._head, self._held = b"", []
        self._owner.relay_failed(error)

    def _begin(self) -> None:
        request, exchange = self._request, self._exchange
        request.prepare(self._head, self._status, self._length)
        self._head = b""
        if exchange is not None:
            request.on_pressure = exchange.pause
            request.on_drain = exchange.resume

    def _encode(self, status: int, reason: bytes, headers: list[Field]) -> bytes:
        dropped = self._rules.dropped
        parts = [status_line(status, reason)]
        for name, value in headers:
            lower = name.lower()
            if lower not in dropped:
                parts.append(b"%b: %b\r\n" % (name, value))
            elif lower == b"connection" and value.lower() not in _ORDINARY:
                named = dropped | named_by_connection(headers)
                rest = (pair for pair in headers if pair[0].lower() not in named)
                return b"".join((parts[0], *(b"%b: %b\r\n" % pair for pair in rest)))
        return b"".join(parts)
