"""The clock of a simulated process: virtual, its wall time possibly wrong, possibly stalled.

A stall is what a blocked event loop or a stopped process looks like to the code inside: every wait
that should have ended meanwhile ends late, all at once.
"""

import asyncio

EPOCH_S = 1_800_000_000.0
"""Where virtual wall time begins."""


class SimClock:
    """Time of one simulated process on the running virtual loop."""

    def __init__(self, *, skew_s: float = 0.0) -> None:
        """`skew_s`: how wrong the wall clock of this machine is."""
        self.skew_s = skew_s
        self._flowing = asyncio.Event()
        self._flowing.set()

    def now(self) -> float:
        return EPOCH_S + self.skew_s + self.monotonic()

    def monotonic(self) -> float:
        return asyncio.get_running_loop().time()

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(max(0.0, seconds))
        await self.flow()

    async def flow(self) -> None:
        """Wait while the process is stalled."""
        while not self._flowing.is_set():
            await self._flowing.wait()

    def stall(self) -> None:
        """Nothing in this process goes on until `resume`."""
        self._flowing.clear()

    def resume(self) -> None:
        """The process goes on, late."""
        self._flowing.set()
