"""The queue's promises: once each, one run at a time, pauses that grow, nobody starves."""

import asyncio

import pytest

from aimindserve.kit.tasks import TaskSupervisor
from aimindserve.kit.workqueue import QueueLimits, WorkQueue
from aimindserve.sim.clock import SimClock
from aimindserve.sim.loop import run_virtual


def with_queue(test, *, limits=None, jitter=lambda: 1.0):
    """Run `test(queue, clock)` on virtual time."""

    async def main():
        clock = SimClock()
        tasks = TaskSupervisor(clock)
        queue = WorkQueue(clock, tasks, jitter=jitter, limits=limits)
        try:
            return await test(queue, clock)
        finally:
            await tasks.aclose()

    return run_virtual(main())


async def take(queue, count):
    keys = []
    for _ in range(count):
        key = await queue.get()
        queue.done(key)
        keys.append(key)
    return keys


def test_a_key_added_many_times_waits_once():
    async def test(queue, _clock):
        for key in ("a", "b", "a", "a"):
            queue.add(key)
        assert await take(queue, 2) == ["a", "b"]
        assert queue.stats().depth == 0

    with_queue(test)


def test_a_running_key_is_not_given_to_anybody_else_and_runs_again_when_added_meanwhile():
    async def test(queue, _clock):
        queue.add("a")
        assert await queue.get() == "a"
        queue.add("a")
        queue.add("a")
        assert queue.stats().depth == 0
        queue.done("a")
        assert await take(queue, 1) == ["a"]
        assert queue.stats() == queue.stats().__class__(
            depth=0, delayed=0, running=0, failing=0, added=2, retries=0, dropped=0
        )

    with_queue(test)


def test_keys_run_in_the_order_in_which_they_came():
    async def test(queue, _clock):
        order = []
        queue.add("busy")
        for key in "xyz":
            queue.add(key)
        for _ in range(6):
            key = await queue.get()
            order.append(key)
            if key == "busy":
                queue.add(key)  # a key that wakes itself all the time
            queue.done(key)
            if order.count("busy") == 3:
                break
        assert order == ["busy", "x", "y", "z", "busy", "busy"]

    with_queue(test)


def test_a_delayed_key_runs_at_its_time_and_the_earlier_time_wins():
    async def test(queue, clock):
        queue.add_after("late", 100.0)
        queue.add_after("a", 10.0)
        queue.add_after("a", 5.0)
        queue.add_after("a", 50.0)
        assert await take(queue, 1) == ["a"]
        assert clock.monotonic() == pytest.approx(5.0)
        assert await take(queue, 1) == ["late"]
        assert clock.monotonic() == pytest.approx(100.0)

    with_queue(test)


def test_an_add_overrides_a_delay():
    async def test(queue, clock):
        queue.add_after("a", 600.0)
        queue.add("a")
        assert await take(queue, 1) == ["a"]
        assert clock.monotonic() == 0.0
        assert queue.stats().delayed == 0
        with pytest.raises((TimeoutError, asyncio.TimeoutError)):  # two types until 3.11
            await asyncio.wait_for(queue.get(), 1000.0)

    with_queue(test)


def test_the_pause_of_a_failing_key_doubles_to_its_limit_and_success_resets_it():
    async def test(queue, clock):
        pauses = []
        for _ in range(20):
            pauses.append(queue.retry("a"))
            assert await queue.get() == "a"
            queue.done("a")
        assert pauses[:4] == [0.001, 0.002, 0.004, 0.008]
        assert pauses[-1] == 60.0
        assert queue.failures("a") == 20
        queue.succeeded("a")
        assert queue.stats().failing == 0
        assert queue.retry("a") == 0.001

    with_queue(test)


def test_jitter_spreads_the_pause_over_half_of_it():
    async def test(queue, _clock):
        return queue.retry("a")

    assert with_queue(test, jitter=lambda: 0.0) == 0.0005


def test_a_delay_of_almost_nothing_still_lets_time_pass():
    async def test(queue, clock):
        queue.add_after("a", 1e-14)
        await take(queue, 1)
        assert clock.monotonic() >= 0.001

    with_queue(test)


def test_full_jitter_is_the_whole_pause():
    async def test(queue, _clock):
        return queue.retry("a")

    assert with_queue(test, jitter=lambda: 1.0) == 0.001


def test_a_failing_key_that_is_woken_all_the_time_still_pauses():
    async def test(queue, clock):
        runs = 0
        for _ in range(20):
            queue.retry("poison")
            assert await queue.get() == "poison"
            queue.done("poison")
        start = clock.monotonic()
        while clock.monotonic() - start < 10.0:
            queue.retry("poison")
            queue.add("poison")  # its own writes wake it
            assert await queue.get() == "poison"
            queue.done("poison")
            runs += 1
        assert runs == 10

    with_queue(test)


def test_a_full_queue_drops_and_counts():
    async def test(queue, _clock):
        for key in "abcd":
            queue.add(key)
        for key in "efgh":
            queue.add_after(key, 1.0)
        assert queue.stats().depth == 3
        assert queue.stats().delayed == 3
        assert queue.stats().dropped == 2

    with_queue(test, limits=QueueLimits(keys_max=3))


def test_overridden_delays_do_not_pile_up():
    async def test(queue, _clock):
        for _ in range(5000):
            queue.add_after("a", 600.0)
            queue.add("a")
            await take(queue, 1)
        assert len(queue._heap) < 200

    with_queue(test)
