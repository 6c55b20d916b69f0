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

    __slots__ = ("_after", "_at", "_before", "_misses", "made", "start")

    def __init__(self) -> None:
        self._at = 0
        self._before = b""
        self._after = b""
        self._misses = 0
        self.made: T | None = None
        """What the remembered head meant; None when nothing is remembered."""
        self.start = 0
        """After `match`: where the body begins."""

    def match(self, data: bytes) -> bytes | None:
        """The digits of content-length when `data` is the remembered head with a body that ends
        where `data` does; None for anything else."""
        at = self._at
        end = data.find(b"\r", at, at + 16)
        digits = data[at:end]
        if not (
            end > 0
            and data.startswith(self._before)
            and data.startswith(self._after, end)
            and digits.isdigit()
        ):
            return None
        start = self.start = end + len(self._after)
        if len(data) - start != int(digits):
            return None
        self._misses = 0
        return digits

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
        self._at = found.start(1)
        self._before = message[: self._at]
        self._after = message[found.end(1) : end + 2]
        self.made = made
