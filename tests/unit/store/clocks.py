"""A clock that stands still until a test lets time pass."""

import asyncio
import heapq
from itertools import count


class ManualClock:
    """Sleepers wake in order while `advance` runs."""

    def __init__(self) -> None:
        self.time = 1_000.0
        self._order = count()
        self._sleepers: list[tuple[float, int, asyncio.Future[None]]] = []

    def now(self) -> float:
        return 1_700_000_000.0 + self.time

    def monotonic(self) -> float:
        return self.time

    async def sleep(self, seconds: float) -> None:
        future = asyncio.get_running_loop().create_future()
        heapq.heappush(self._sleepers, (self.time + seconds, next(self._order), future))
        await future

    async def advance(self, seconds: float) -> None:
        """Let `seconds` pass and everybody do what is due."""
        until = self.time + seconds
        await settle()
        while self._sleepers and self._sleepers[0][0] <= until:
            self.time, _, future = heapq.heappop(self._sleepers)
            if not future.done():
                future.set_result(None)
            await settle()
        self.time = until


async def settle() -> None:
    """Let every task go on until it waits for something else than its turn."""
    for _ in range(50):
        await asyncio.sleep(0)
