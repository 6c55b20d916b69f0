"""How many requests each engine is answering right now, and how many it was handed in all.

A polite stop waits for the former; of an engine that never worked, the memory measured says little.
An engine that lends devices gets no requests: whoever uses it is connected for good, and busy while
something moves on that connection.
"""

from collections.abc import Callable

Busy = Callable[[], bool]


class Traffic:
    """Counts by process token."""

    def __init__(self) -> None:
        self._open: dict[str, int] = {}
        self._joined: dict[str, list[Busy]] = {}
        self._handed: dict[str, int] = {}

    def begin(self, token: str) -> None:
        """A request was handed to the engine."""
        self._open[token] = self._open.get(token, 0) + 1
        self._handed[token] = self._handed.get(token, 0) + 1

    def end(self, token: str) -> None:
        """It has been answered, or nobody waits for the answer any more."""
        left = self._open.get(token, 0) - 1
        if left > 0:
            self._open[token] = left
        else:
            self._open.pop(token, None)

    def join(self, token: str, busy: Busy) -> None:
        """Another process of its instance is connected with it; `busy` says whether it is used."""
        self._joined.setdefault(token, []).append(busy)

    def leave(self, token: str, busy: Busy) -> None:
        """That connection is over."""
        joined = self._joined.get(token, [])
        if busy in joined:
            joined.remove(busy)
        if not joined:
            self._joined.pop(token, None)

    def count(self, token: str) -> int:
        """Requests under way, and connections on which there is something to wait for."""
        return self._open.get(token, 0) + sum(busy() for busy in self._joined.get(token, ()))

    def handed(self, token: str) -> int:
        """Requests since this agent knows the engine."""
        return self._handed.get(token, 0)

    def answered(self, token: str) -> int:
        """Requests since this agent knows the engine that are over."""
        return self.handed(token) - self.count(token)

    def forget(self, token: str) -> None:
        """The engine has ended."""
        self._handed.pop(token, None)
