"""Waiting for a time or an event, whichever comes first, on the clock that was given.

`asyncio.wait_for` would wait on the event loop's own time, which a virtual clock cannot move.
"""

import asyncio

from aimindserve.kit.clock import Clock
from aimindserve.kit.tasks import TaskSupervisor


class Alarm:
    """One waiter, many who ring. A ring while nobody waits is kept for the next wait."""

    def __init__(self, clock: Clock, tasks: TaskSupervisor, name: str) -> None:
        self._clock = clock
        self._tasks = tasks
        self._name = name
        self._event = asyncio.Event()

    def ring(self) -> None:
        """Wake the waiter."""
        self._event.set()

    def quiet(self) -> None:
        """Forget rings so far: what they were about is being dealt with."""
        self._event.clear()

    async def wait(self, seconds: float) -> None:
        """Return after `seconds`, or at once when rung."""
        if not self._event.is_set():
            timer = self._tasks.spawn(self._after(seconds), name=f"{self._name}.timer")
            try:
                await self._event.wait()
            finally:
                timer.cancel()
        self._event.clear()

    async def _after(self, seconds: float) -> None:
        await self._clock.sleep(seconds)
        self._event.set()
