"""The history of a cluster, written by following its store."""

import itertools

from aimindserve.controllers.chronicle import Chronicle
from aimindserve.core.reason import Reason
from aimindserve.kit.tasks import TaskSupervisor
from aimindserve.resources.worker import WorkerSpec, WorkerStatus
from aimindserve.sim.clock import SimClock
from aimindserve.sim.loop import run_virtual
from aimindserve.store.base import Draft
from aimindserve.store.memory import MemoryBacking
from aimindserve.store.records.events import events
from aimindserve.store.resources import ResourceStore

LOST = Reason("worker_lost", {"worker": "w1", "since": "2026-01-01T00:00:00Z"})


class World:
    def __init__(self) -> None:
        numbers = itertools.count(1)
        self.clock = SimClock()
        backing = MemoryBacking()
        self.store = ResourceStore(backing, self.clock)
        self.events = events(backing, self.clock)
        self.chronicle = Chronicle(self.store, self.events, self.clock, lambda: f"e{next(numbers)}")

    async def status(self, **fields: object) -> None:
        """Write the worker's status and let a second pass."""
        status = WorkerStatus.model_validate(fields)
        await self.store.update("worker", "w1", lambda now: now.with_status(status))
        await self.clock.sleep(1)


def told(test):
    async def main():
        world = World()
        await world.store.open()
        tasks = TaskSupervisor(world.clock)
        await world.store.create(Draft("worker", "w1", WorkerSpec()))
        tasks.spawn(world.chronicle.run(), name="chronicle")
        await world.clock.sleep(1)
        await test(world)
        found = await world.events.query()
        await tasks.aclose()
        await world.store.close()
        return found

    return run_virtual(main())


def test_the_same_thing_again_counts_and_moves_to_the_top():
    async def flapping(world):
        for _ in range(3):
            await world.status(ready=True)
            await world.status(reason=LOST)

    lost, returned, joined = told(flapping)
    assert (lost.code, lost.count, lost.reason) == ("lost", 3, "worker_lost")
    assert (returned.code, returned.count) == ("returned", 2)
    assert (joined.code, joined.count) == ("joined", 1)
    assert lost.time - lost.first_time == 4
    assert lost.params == {"worker": "w1", "since": "2026-01-01T00:00:00Z"}


def test_after_an_hour_it_is_news_again():
    async def rarely(world):
        await world.status(ready=True)
        await world.status(reason=LOST)
        await world.clock.sleep(3_700)
        await world.status(ready=True)
        await world.status(reason=LOST)

    found = told(rarely)
    assert [(each.code, each.count) for each in found] == [
        ("lost", 1), ("returned", 1), ("lost", 1), ("joined", 1),
    ]  # fmt: skip
    assert len({each.id for each in found}) == 4


def test_what_was_there_before_is_no_news():
    async def nothing(world):
        await world.status(ready=False)

    assert told(nothing) == []


def test_missed_changes_are_told_as_one():
    async def burst(world):
        for ready in [True, False] * 600:  # more than a watcher's buffer holds
            fields = {"ready": ready, "reason": None if ready else LOST}
            status = WorkerStatus.model_validate(fields)
            await world.store.update("worker", "w1", lambda now, s=status: now.with_status(s))
        await world.clock.sleep(1)
        await world.status(ready=True)

    found = told(burst)
    assert {each.code for each in found} <= {"joined", "lost", "returned"}
    assert found[0].code in {"joined", "returned"}


def test_another_object_of_the_same_name_is_another_object():
    async def again(world):
        await world.status(ready=True)
        await world.store.delete("worker", "w1")
        await world.store.create(Draft("worker", "w1", WorkerSpec()))
        await world.clock.sleep(1)
        await world.status(ready=True)

    assert [(each.code, each.count) for each in told(again)] == [("joined", 2), ("left", 1)]
