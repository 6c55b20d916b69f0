"""What a call remembers once its first try has failed."""

import asyncio

FIRST_PAUSE_S = 0.1
LONGEST_PAUSE_S = 1.0


class Tries:
    """The tries of one call. Most calls have one try, and none of these."""

    __slots__ = ("_deadline", "_pause_s", "repeated", "tried", "waiting")

    def __init__(self) -> None:
        self.tried = frozenset[str]()
        """Instances that are not asked again for now."""
        self.repeated = False
        """Whether a request that may have been seen was sent again; that is done once."""
        self.waiting: asyncio.Task[None] | None = None
        self._pause_s = FIRST_PAUSE_S
        self._deadline: float | None = None

    def next_pause_s(self, now: float, window_s: float) -> float | None:
        """How long to wait before all instances are tried again; None when `window_s` seconds
        after the first such question are over."""
        if self._deadline is None:
            self._deadline = now + window_s
        pause_s = self._pause_s
        if now + pause_s > self._deadline:
            return None
        self._pause_s = min(pause_s * 2, LONGEST_PAUSE_S)
        return pause_s
