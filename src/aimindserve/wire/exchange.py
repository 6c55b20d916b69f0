"""A request under way to an upstream, and who takes its answer.

Answers arrive as plain calls on an `Answer`, batched per read of the socket, so that a small
answer is one `on_head` and one `on_data`, or one `on_whole`. An exchange that is cancelled closes
its connection at once: that is how an upstream learns that nobody waits any more.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from aimindserve.wire.errors import UpstreamFailedError
from aimindserve.wire.headers import HOP_BY_HOP


@dataclass(slots=True)
class Head:
    """The head of an answer. `lines` are encoded fields as sent, without those the exchange drops;
    `index` is every field by lower-case name (the last, where one came more than once)."""

    status: int
    reason: bytes
    lines: list[bytes]
    index: dict[bytes, bytes]
    length: int | None
    """As content-length says; None when it does not."""
    text: bytes = b""
    """Status line and `lines` in one piece, once somebody has put them together."""


class Answer(Protocol):
    """Who takes an upstream's answer."""

    def on_head(self, head: Head) -> None:
        """The head is there."""
        ...

    def on_data(self, data: bytes, ended: bool) -> None:
        """Body bytes (perhaps none), and whether they were the last."""
        ...

    def on_whole(self, head: Head, data: bytes) -> None:
        """All of an answer with a counted length came at once: `on_head` and `on_data` in one."""
        ...

    def on_failure(self, error: UpstreamFailedError) -> None:
        """No (more) answer will come. Called at most once, and never after the end."""
        ...


class Wire(Protocol):
    """What an exchange needs of the connection that carries it."""

    write_paused: bool

    def write(self, data: bytes) -> None: ...

    def pause(self) -> None: ...

    def resume(self) -> None: ...

    def abandon(self) -> None: ...


FRAMING = HOP_BY_HOP | {b"content-length"}
"""Fields that never go on: they are made anew at every hop."""


class Exchange:
    """A request under way. Made by `Pool.send`.

    `head` is complete up to and including the empty line. `body` is sent again when a pooled
    connection turns out to be stale; None means that it is streamed through `write_body`, and then
    nothing is ever sent twice.
    """

    __slots__ = (
        "answer",
        "body",
        "body_ended",
        "bodyless_answer",
        "cancelled",
        "drop",
        "head",
        "link",
        "on_drain",
        "on_pressure",
        "resent",
    )

    def __init__(
        self,
        head: bytes,
        body: bytes | None,
        answer: Answer,
        drop: frozenset[bytes] = FRAMING,
    ) -> None:
        self.head = head
        self.body = body
        self.answer = answer
        self.drop = drop
        self.link: Wire | None = None
        self.cancelled = self.resent = False
        self.bodyless_answer = False
        """The request is a HEAD: its answer has no body, whatever content-length says."""
        self.body_ended = body is not None
        """Whether the whole request has been handed over."""
        self.on_pressure: Callable[[], None] | None = None
        """For streamed bodies: the upstream takes no more now."""
        self.on_drain: Callable[[], None] | None = None
        """For streamed bodies: the connection is there, or takes more again."""

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
        self.body_ended = self.body_ended or ended
        if self.link is not None and data and not self.cancelled:
            self.link.write(data)
