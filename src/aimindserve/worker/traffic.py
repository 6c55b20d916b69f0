"""How many requests each engine is answering right now, and how many it was handed in all.

A polite stop waits for the former; of an engine that never worked, the memory measured says little.
"""


class Traffic:
    """Counts by process token."""

    def __init__(self) -> None:
        self._open: dict[str, int] = {}
        self._handed: dict[str, int] = {}

    def begin(self, token: str) -> None:
        """A request was handed to the engine."""
        self.join(token)
        self._handed[token] = self._handed.get(token, 0) + 1

    def join(self, token: str) -> None:
        """Another process of its instance is connected with it, which may be about any request."""
        self._open[token] = self._open.get(token, 0) + 1

    def end(self, token: str) -> None:
        """It has been answered, or nobody waits for the answer any more."""
        left = self._open.get(token, 0) - 1
        if left > 0:
            self._open[token] = left
        else:
            self._open.pop(token, None)

    def count(self, token: str) -> int:
        """Requests under way."""
        return self._open.get(token, 0)

    def handed(self, token: str) -> int:
        """Requests since this agent knows the engine."""
        return self._handed.get(token, 0)

    def forget(self, token: str) -> None:
        """The engine has ended."""
        self._handed.pop(token, None)
