"""Pauses that grow: for whoever asks a server that does not answer."""

from collections.abc import Callable

FIRST_S = 0.25
LIMIT_S = 5.0


class Backoff:
    """Twice as long each time, up to a limit, each varied by a quarter either way."""

    def __init__(
        self, jitter: Callable[[], float], *, first_s: float = FIRST_S, limit_s: float = LIMIT_S
    ) -> None:
        self._jitter = jitter
        self._first_s = first_s
        self._limit_s = limit_s
        self._next_s = first_s

    def reset(self) -> None:
        """It worked."""
        self._next_s = self._first_s

    def next_s(self) -> float:
        """It did not: how long to wait now."""
        pause_s = self._next_s
        self._next_s = min(self._limit_s, pause_s * 2)
        return pause_s * (0.75 + 0.5 * self._jitter())
