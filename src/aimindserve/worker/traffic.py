"""How many requests each engine is answering right now: what a polite stop waits for."""


class Traffic:
    """Counts by process token."""

    def __init__(self) -> None:
        self._open: dict[str, int] = {}

    def begin(self, token: str) -> None:
        """A request was handed to the engine."""
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
