"""Virtual time: it jumps, it is exact, and nothing real gets in."""

import asyncio
import time

import anyio
import pytest

from aimindserve.sim.clock import SimClock
from aimindserve.sim.loop import DeadlockError, VirtualLoop, run_virtual


def test_hours_pass_in_no_time_and_in_order():
    async def main():
        clock, seen = SimClock(), []

        async def sleeper(name, seconds):
            await clock.sleep(seconds)
            seen.append((name, clock.monotonic()))

        async with anyio.create_task_group() as group:
            for name, seconds in (("late", 7200.0), ("first", 1.5), ("second", 60.0)):
                group.start_soon(sleeper, name, seconds)
        return seen

    began = time.monotonic()
    assert run_virtual(main()) == [("first", 1.5), ("second", 60.0), ("late", 7200.0)]
    assert time.monotonic() - began < 5.0


def test_who_wakes_finds_that_his_time_has_come():
    async def main():
        loop = asyncio.get_running_loop()
        for _ in range(2000):
            due = loop.time() + 0.1
            while loop.time() < due:
                await asyncio.sleep(due - loop.time())
        return loop.time()

    assert run_virtual(main()) == pytest.approx(200.0)


def test_timeouts_are_virtual_too():
    async def main():
        with anyio.move_on_after(3600.0) as scope:
            await anyio.sleep_forever()
        return scope.cancelled_caught, asyncio.get_running_loop().time()

    assert run_virtual(main()) == (True, 3600.0)


def test_waiting_for_what_cannot_come_is_an_error():
    async def main():
        await asyncio.get_running_loop().create_future()

    with pytest.raises(DeadlockError):
        run_virtual(main())


def test_threads_are_refused():
    async def main():
        await asyncio.to_thread(time.monotonic)

    with pytest.raises(RuntimeError, match="no threads"):
        run_virtual(main())


def test_a_stalled_process_wakes_late_and_in_order():
    async def main():
        loop, clock, seen = asyncio.get_running_loop(), SimClock(), []

        async def sleeper(seconds):
            await clock.sleep(seconds)
            seen.append((seconds, loop.time()))

        async with anyio.create_task_group() as group:
            for seconds in (1.0, 5.0, 8.0, 30.0):
                group.start_soon(sleeper, seconds)
            await asyncio.sleep(2.0)
            clock.stall()
            await asyncio.sleep(10.0)
            clock.resume()
        return seen

    assert run_virtual(main()) == [(1.0, 1.0), (5.0, 12.0), (8.0, 12.0), (30.0, 30.0)]


def test_a_loop_may_be_made_and_closed_without_use():
    VirtualLoop().close()
