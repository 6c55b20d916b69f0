"""Equal values as one object, so that comparing them costs nothing.

For large immutable values that arrive again and again, each time as a new object.
"""

from collections.abc import Hashable
from typing import Generic, TypeVar

T = TypeVar("T", bound=Hashable)


class Interner(Generic[T]):
    """Remembers up to `size_max` objects, then begins anew."""

    def __init__(self, size_max: int) -> None:
        self._size_max = size_max
        self._ones: dict[T, T] = {}
        self._seen: dict[int, tuple[T, T]] = {}
        """By identity: the object, which keeps its identity from being given away, and the one that
        stands for it."""

    def __call__(self, value: T) -> T:
        """The object that stands for all that equal `value`."""
        known = self._seen.get(id(value))
        if known is not None:
            return known[1]
        if len(self._seen) >= self._size_max:
            self._ones.clear()
            self._seen.clear()
        one = self._ones.setdefault(value, value)
        self._seen[id(value)] = (value, one)
        return one
