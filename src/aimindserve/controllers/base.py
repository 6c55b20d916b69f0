"""What a controller is: a function from a key to the world as it should be.

A reconcile gets a key, never an event: it reads everything, writes what differs, and may run at any
time, twice, or late. Watches only wake it early; the periodic run guarantees it.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Protocol

from aimindserve.resources._kind import AnyResource


@dataclass(frozen=True, slots=True)
class Done:
    """Nothing more to do until something wakes the key."""


@dataclass(frozen=True, slots=True)
class Later:
    """Run the key again after this long, whatever happens."""

    after_s: float


Wake = Callable[[AnyResource], Iterable[str]]
"""The keys that a changed object wakes."""


class Controller(Protocol):
    """One reconciler. Only the framework in `controllers.loop` calls it."""

    name: str

    def wakes_on(self) -> Mapping[str, Wake]:
        """Kind -> which keys a change of an object of it wakes."""
        ...

    def keys(self) -> Iterable[str]:
        """Every key there is now; the periodic resync runs them all."""
        ...

    async def reconcile(self, key: str) -> Done | Later:
        """Make the world right for `key`; raise to be tried again with growing pauses."""
        ...
