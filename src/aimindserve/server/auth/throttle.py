"""Slowing down whoever guesses passwords, without locking anybody else out.

Counts per account *and* client address: five tries in a minute are free, then each further failure
doubles the pause. A second, wider count per client address catches one client that tries many
accounts. The table is bounded; the oldest entries go first.
"""

from collections import OrderedDict
from dataclasses import dataclass

from aimindserve.core.errors import ThrottledError
from aimindserve.kit.clock import Clock

FREE_TRIES = 5
CLIENT_FREE_TRIES = 30
JOIN_FREE_TRIES = 10
JOIN = "\x00join"
"""No account has this name."""
WINDOW_S = 60.0
PAUSE_LIMIT_S = 3600.0
FORGET_S = 2 * PAUSE_LIMIT_S
ENTRIES_MAX = 10_000


@dataclass(slots=True)
class _Count:
    """Failures in the present window and the pause that followed from them."""

    window_started: float
    tries: int = 0
    blocked_until: float = 0.0
    pause_s: float = 0.0
    touched: float = 0.0


class LoginThrottle:
    """Counts tries before they are evaluated, so that many at once gain nothing."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._counts: OrderedDict[tuple[str, str], _Count] = OrderedDict()

    def admit(self, account: str, client: str) -> None:
        """Count a try; raises ThrottledError when it must wait."""
        now = self._clock.monotonic()
        narrow = self._count((account, client), now)
        wide = self._count(("", client), now)
        wait_s = max(narrow.blocked_until, wide.blocked_until) - now
        if wait_s > 0:
            raise ThrottledError(
                "Too many sign-in attempts.",
                hint="Wait before trying again; other people's sign-ins are not affected.",
                params={"retry_after_s": round(wait_s, 1)},
            )
        _try(narrow, now, FREE_TRIES)
        _try(wide, now, CLIENT_FREE_TRIES)

    def succeeded(self, account: str, client: str) -> None:
        """The try was good: the account owes nothing from this client."""
        self._counts.pop((account, client), None)

    def admit_join(self, client: str) -> None:
        """Raise ThrottledError while `client` must wait after too many wrong join tokens; counts
        nothing, because a whole fleet with the right token may join from one address."""
        now = self._clock.monotonic()
        wait_s = self._count((JOIN, client), now).blocked_until - now
        if wait_s > 0:
            raise ThrottledError(
                "Too many wrong join tokens from this address.",
                hint="Correct --token there, and wait before trying again.",
                params={"retry_after_s": round(wait_s, 1)},
            )

    def wrong_join(self, client: str) -> None:
        """A join token was wrong."""
        now = self._clock.monotonic()
        count = self._count((JOIN, client), now)
        _try(count, now, JOIN_FREE_TRIES)
        # Short, for others behind the same address: the token itself is too long to be guessed.
        count.pause_s = 0.0

    def __len__(self) -> int:
        return len(self._counts)

    def _count(self, key: tuple[str, str], now: float) -> _Count:
        count = self._counts.get(key)
        if count is None or now - count.touched > FORGET_S:
            count = _Count(window_started=now)
            self._counts[key] = count
        self._counts.move_to_end(key)
        count.touched = now
        while len(self._counts) > ENTRIES_MAX:
            self._counts.popitem(last=False)
        return count


def _try(count: _Count, now: float, free: int) -> None:
    if now - count.window_started > WINDOW_S and count.pause_s == 0:
        count.window_started, count.tries = now, 0
    count.tries += 1
    if count.tries >= free:
        count.pause_s = min(max(WINDOW_S, count.pause_s * 2), PAUSE_LIMIT_S)
        count.blocked_until = now + count.pause_s
