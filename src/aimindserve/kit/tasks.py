"""The one place that may start background tasks.

A task nobody awaits loses its exception. Everything that runs in the background is spawned here, so
it has a name, its failure is reported once, and it ends before its owner does.
"""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

from aimindserve.kit.clock import Clock
from aimindserve.kit.log import get_logger

log = get_logger("tasks")

R = TypeVar("R")

RESTART_FIRST_S = 0.5
RESTART_LIMIT_S = 30.0


class TaskSupervisor:
    """Owns the background tasks of one part of a process."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        # A dict, not a set: tasks end in the order in which they began, in every run alike.
        self._tasks: dict[asyncio.Task[Any], None] = {}
        self._closing = False

    def spawn(self, work: Coroutine[Any, Any, None], *, name: str) -> asyncio.Task[None]:
        """Run `work` once in the background; a failure is logged under `name`."""
        if self._closing:
            work.close()
            raise RuntimeError(f"{name}: the supervisor is closing")
        task = asyncio.get_running_loop().create_task(self._guard(work, name), name=name)
        self._own(task)
        # A task cancelled before its first step never gets to await `work`.
        task.add_done_callback(lambda _task: work.close())
        return task

    def keep_running(
        self, make: Callable[[], Coroutine[Any, Any, None]], *, name: str
    ) -> asyncio.Task[None]:
        """Run `make()` again, after a growing pause, whenever it fails; it ends when it returns."""
        return self.spawn(self._restart(make, name), name=name)

    async def finish(self, work: Coroutine[Any, Any, R], *, name: str) -> R:
        """Run `work` to its end, even when the caller is cancelled meanwhile; returns its result.

        For work that must not stop half-way, such as a transaction: the caller's impatience may end
        the waiting, never the work. Only `aclose` cancels it.
        """
        if self._closing:
            work.close()
            raise RuntimeError(f"{name}: the supervisor is closing")
        task = asyncio.get_running_loop().create_task(work, name=name)
        self._own(task)
        return await asyncio.shield(task)

    async def aclose(self) -> None:
        """Cancel every task and wait until all are gone."""
        self._closing = True
        while self._tasks:
            tasks = list(self._tasks)
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks)

    def _own(self, task: asyncio.Task[Any]) -> None:
        self._tasks[task] = None
        task.add_done_callback(lambda done: self._tasks.pop(done, None))

    async def _guard(self, work: Coroutine[Any, Any, None], name: str) -> None:
        # Supervision point: whatever a task raises is reported here, once, and ends only that task.
        try:
            await work
        except Exception as error:
            log.error("task.failed", task=name, error=repr(error), exc_info=error)

    async def _restart(self, make: Callable[[], Coroutine[Any, Any, None]], name: str) -> None:
        pause_s = RESTART_FIRST_S
        while True:
            started = self._clock.monotonic()
            # Supervision point: a loop that must not die is started again instead of being lost.
            try:
                await make()
            except Exception as error:
                log.error("task.restarted", task=name, error=repr(error), exc_info=error)
            else:
                return
            if self._clock.monotonic() - started > RESTART_LIMIT_S:
                pause_s = RESTART_FIRST_S
            await self._clock.sleep(pause_s)
            pause_s = min(pause_s * 2, RESTART_LIMIT_S)
