"""Watch a stream go by: its beginning and its end, by reference, in bounded memory.

For whoever wants to read something out of an answer without delaying or changing a byte of it.
"""

from collections import deque

from aimindserve.kit.units import KIB


class Tap:
    """Keeps the first `head_bytes` and the last `tail_bytes` (a piece more or less) of a stream."""

    __slots__ = ("_head", "_head_left", "_tail", "_tail_bytes", "_tail_size", "dropped", "size")

    def __init__(self, head_bytes: int = 64 * KIB, tail_bytes: int = 64 * KIB) -> None:
        self._head: list[bytes] = []
        self._head_left = head_bytes
        self._tail: deque[bytes] = deque()
        self._tail_bytes = tail_bytes
        self._tail_size = 0
        self.size = 0
        """Bytes seen."""
        self.dropped = False
        """Whether something between head and tail was let go."""

    def feed(self, data: bytes) -> None:
        """See `data` go by."""
        size = len(data)
        self.size += size
        if self._head_left > 0:
            kept = data if size <= self._head_left else data[: self._head_left]
            self._head.append(kept)
            self._head_left -= len(kept)
            if len(kept) == size:
                return
            data = data[len(kept) :]
            size = len(data)
        if size > self._tail_bytes:
            data, size, self.dropped = data[-self._tail_bytes :], self._tail_bytes, True
            self._tail.clear()
            self._tail_size = 0
        self._tail.append(data)
        self._tail_size += size
        while self._tail_size - len(self._tail[0]) >= self._tail_bytes:
            self._tail_size -= len(self._tail.popleft())
            self.dropped = True

    def head(self) -> bytes:
        """The beginning; all of it unless more than `head_bytes` went by."""
        return b"".join(self._head)

    def tail(self) -> bytes:
        """The end; with the beginning when nothing was dropped between them."""
        if self.dropped:
            return b"".join(self._tail)
        return b"".join((*self._head, *self._tail))

    def ends_with(self, suffix: bytes) -> bool:
        """Whether the stream so far ends with `suffix` (looks no further back than one piece)."""
        last = self._tail[-1] if self._tail else self._head[-1] if self._head else b""
        return last.endswith(suffix) or (
            len(last) < len(suffix) and self.tail()[-len(suffix) :] == suffix
        )
