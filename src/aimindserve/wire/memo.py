"""Recognise a head that is the one before, byte for byte but for the digits of content-length.

A kept-alive client sends the same twenty fields with every request, and a server nearly the same
head with every answer. What llhttp accepted once at the beginning of a message it would accept
again, so a message that begins with the same bytes, and is complete in one piece, need not be
parsed again. Everything else goes to llhttp.
"""

import re
from typing import Generic, TypeVar

T = TypeVar("T")

_LENGTH = re.compile(rb"\r\ncontent-length: ?([0-9]{1,15})\r\n", re.IGNORECASE)
MISSES = 4
"""After so many heads in a row that differ, the sender is taken to vary them always."""


class HeadMemo(Generic[T]):
    """The last head on one connection, and whatever was made of it."""

    __slots__ = ("_after", "_before", "_misses", "_size", "made", "start")

    def __init__(self) -> None:
        self._before = self._after = b""
        self._size = 0
        self._misses = 0
        self.made: T | None = None
        """What the remembered head meant; None when nothing is remembered."""
        self.start = 0
        """After `match`: where the body begins."""

    def match(self, data: bytes) -> int:
        """The length of the body when `data` is the remembered head with a body that ends where
        `data` does; -1 for anything else. The body begins at `start`."""
        # Build the head that `data` must have and compare once: cheaper than taking `data` apart.
        length = len(data) - self._size
        head = b"%b%d%b" % (self._before, length, self._after)
        more = len(head) - self._size
        if more:  # the length has more digits than last time, or fewer
            length -= more
            head = b"%b%d%b" % (self._before, length, self._after)
        if not data.startswith(head) or len(data) - len(head) != length:
            return -1
        self.start = len(head)
        self._misses = 0
        return length

    def remember(self, message: bytes, made: T) -> None:
        """`message` was one whole message with a content-length; its head meant `made`."""
        if self._misses >= MISSES:
            return
        self._misses += 1
        self.made = None
        end = message.find(b"\r\n\r\n") + 2
        found = _LENGTH.search(message, 0, end)
        if found is None or int(found.group(1)) != len(message) - end - 2:
            return
        self._before, self._after = message[: found.start(1)], message[found.end(1) : end + 2]
        self._size = end + 2
        self.made = made
