"""Time as a value one can pass: the real clock here, a virtual one in `sim`.

Nothing outside this file asks the operating system what time it is, so that the simulation can run
the same code for hours of virtual time in milliseconds.
"""

import time
from datetime import datetime, timezone
from typing import Protocol


class Clock(Protocol):
    """Wall time for people, monotonic time for durations, and a way to wait."""

    def now(self) -> float:
        """Seconds since the Unix epoch. May jump; show it to people, never subtract it."""
        ...

    def monotonic(self) -> float:
        """Seconds from an arbitrary start. Never goes back."""
        ...

    async def sleep(self, seconds: float) -> None:
        """Wait for `seconds`; zero or less yields once."""
        ...


class SystemClock:
    """The clock of this machine."""

    def now(self) -> float:
        return time.time()  # noqa: TID251 - this is the one place that reads the wall clock

    def monotonic(self) -> float:
        return time.monotonic()

    async def sleep(self, seconds: float) -> None:
        # Here, because the supervisor needs a clock but not the ten megabytes of asyncio.
        import asyncio

        await asyncio.sleep(max(0.0, seconds))


def rfc3339(epoch_s: float, timespec: str = "milliseconds") -> str:
    """Seconds since the epoch as RFC 3339 in UTC with milliseconds, as the API shows times; with
    `timespec` "seconds" as sentences do."""
    moment = datetime.fromtimestamp(epoch_s, tz=timezone.utc)
    return moment.isoformat(timespec=timespec).replace("+00:00", "Z")


def parse_rfc3339(text: str) -> float:
    """Inverse of `rfc3339`; raises ValueError for anything else."""
    return datetime.fromisoformat(text.replace("Z", "+00:00")).timestamp()
