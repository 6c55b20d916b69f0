"""Background tasks: reported once, restarted when asked, gone when their owner is."""

import asyncio

import pytest

from aimindserve.kit.clock import SystemClock
from aimindserve.kit.tasks import TaskSupervisor


class QuickClock(SystemClock):
    """Real, but nobody waits."""

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(0)


def test_a_failure_ends_only_its_task() -> None:
    async def run() -> bool:
        supervisor = TaskSupervisor(QuickClock())
        done = asyncio.Event()

        async def fails() -> None:
            raise RuntimeError("on purpose")

        async def works() -> None:
            done.set()

        supervisor.spawn(fails(), name="fails")
        supervisor.spawn(works(), name="works")
        await asyncio.wait_for(done.wait(), 1)
        await supervisor.aclose()
        return done.is_set()

    assert asyncio.run(run())


def test_a_loop_is_started_again_until_it_returns() -> None:
    async def run() -> int:
        runs = 0
        supervisor = TaskSupervisor(QuickClock())

        async def loop() -> None:
            nonlocal runs
            runs += 1
            if runs < 3:
                raise RuntimeError("on purpose")

        await supervisor.keep_running(loop, name="loop")
        await supervisor.aclose()
        return runs

    assert asyncio.run(run()) == 3


def test_closing_cancels_and_waits_and_refuses_new_work() -> None:
    async def run() -> list[str]:
        story: list[str] = []
        supervisor = TaskSupervisor(QuickClock())

        async def forever() -> None:
            try:
                await asyncio.Event().wait()
            finally:
                story.append("cleaned")

        supervisor.spawn(forever(), name="forever")
        await asyncio.sleep(0)
        await supervisor.aclose()
        with pytest.raises(RuntimeError, match="closing"):
            supervisor.spawn(forever(), name="late")
        return story

    assert asyncio.run(run()) == ["cleaned"]
