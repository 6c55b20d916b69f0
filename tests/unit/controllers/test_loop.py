"""The framework: wakes, resyncs, poison keys, stalls."""

import asyncio

from aimindserve.controllers.base import Done, Later
from aimindserve.controllers.loop import ControllerLoop
from aimindserve.core.facts import ModelRef, SourceName
from aimindserve.kit.tasks import TaskSupervisor
from aimindserve.resources.deployment import DeploymentSpec
from aimindserve.sim.clock import SimClock
from aimindserve.sim.loop import run_virtual
from aimindserve.store.base import Draft
from aimindserve.store.decisions import Decisions
from aimindserve.store.memory import MemoryBacking
from aimindserve.store.resources import ResourceStore


class Recorder:
    """A controller that writes down when it ran."""

    name = "recorder"

    def __init__(self, clock, keys=(), outcome=None):
        self.clock = clock
        self.always = tuple(keys)
        self.outcome = outcome or (lambda key: Done())
        self.runs = []
        self.stalls = []

    def wakes_on(self):
        return {"deployment": lambda deployment: [deployment.name]}

    def keys(self):
        return self.always

    def stalled(self, seconds):
        self.stalls.append(seconds)

    async def reconcile(self, key):
        self.runs.append((key, round(self.clock.monotonic(), 3)))
        return self.outcome(key)

    def times(self, key):
        return [at for name, at in self.runs if name == key]


def with_loop(test, **options):
    async def main():
        clock = SimClock()
        store = ResourceStore(MemoryBacking(), clock)
        await store.open()
        recorder = Recorder(clock, **options)
        loop = ControllerLoop(store, [recorder], clock, jitter=lambda: 1.0)
        tasks = TaskSupervisor(clock)
        tasks.spawn(loop.run(), name="loop")
        try:
            return await test(clock, store, recorder, loop)
        finally:
            await tasks.aclose()
            await store.close()

    return run_virtual(main())


def deployment(name):
    spec = DeploymentSpec(model=ModelRef(SourceName.LOCAL, path="/m.gguf"))
    return Draft("deployment", name, spec)


def test_every_key_runs_at_the_start_and_every_ten_minutes():
    async def test(clock, _store, recorder, _loop):
        await clock.sleep(1300.0)
        assert recorder.times("a") == [0.0, 600.0, 1200.0]

    with_loop(test, keys=("a", "b"))


def test_a_change_wakes_its_keys_at_once():
    async def test(clock, store, recorder, _loop):
        await clock.sleep(5.0)
        await store.create(deployment("d"))
        await clock.sleep(1.0)
        assert recorder.times("d") == [5.0]

    with_loop(test)


def test_a_key_may_ask_to_run_later():
    async def test(clock, _store, recorder, _loop):
        await clock.sleep(25.0)
        assert recorder.times("a") == [0.0, 10.0, 20.0]

    with_loop(test, keys=("a",), outcome=lambda key: Later(10.0))


def test_a_poison_key_pauses_alone_and_is_seen():
    def outcome(key):
        if key == "poison":
            raise ValueError("cannot")
        return Later(1.0)

    async def test(clock, _store, recorder, loop):
        await clock.sleep(300.5)
        assert len(recorder.times("well")) == 301
        assert len(recorder.times("poison")) < 25
        failing = loop.failing()
        assert [(each.controller, each.key) for each in failing] == [("recorder", "poison")]
        assert failing[0].failures > 15
        assert "cannot" in failing[0].error
        assert loop.stats()["recorder"].failing == 1

    with_loop(test, keys=("poison", "well"), outcome=outcome)


def test_a_watcher_that_fell_behind_begins_anew():
    async def test(clock, store, recorder, _loop):
        await clock.sleep(1.0)
        store._replica.hub.restart(store.revision)
        await clock.sleep(1.0)
        assert recorder.times("a") == [0.0, 1.0]
        await store.create(deployment("d"))
        await clock.sleep(1.0)
        assert recorder.times("d") == [2.0]

    with_loop(test, keys=("a",))


def test_a_stall_is_told_before_anything_else_runs():
    def outcome(key):
        return Later(0.5)

    async def test(clock, _store, recorder, _loop):
        await clock.sleep(3.0)
        seen = []
        reconcile = recorder.reconcile

        async def watched(key):
            seen.append((clock.monotonic(), len(recorder.stalls)))
            return await reconcile(key)

        recorder.reconcile = watched
        clock.stall()
        await asyncio.sleep(60.0)
        clock.resume()
        await clock.sleep(1.0)
        after = [told for at, told in seen if at > 60.0]
        assert after
        assert all(told == 1 for told in after)
        assert recorder.stalls[0] > 50.0

    with_loop(test, keys=("a",), outcome=outcome)


def test_a_key_that_was_running_when_all_stood_still_has_not_failed():
    async def test(clock, _store, recorder, loop):
        reconcile = recorder.reconcile

        async def slow(key):
            await clock.sleep(0.5)
            return await reconcile(key)

        recorder.reconcile = slow
        await clock.sleep(10.25)  # in the middle of a run
        before = len(recorder.runs)
        clock.stall()
        await asyncio.sleep(100.0)
        clock.resume()
        await clock.sleep(2.0)
        assert not loop.failing()
        assert len(recorder.runs) > before

    with_loop(test, keys=("a",), outcome=lambda key: Later(0.01))


def test_short_delays_are_no_stall():
    async def test(clock, _store, recorder, _loop):
        clock.stall()
        await asyncio.sleep(4.0)
        clock.resume()
        await clock.sleep(5.0)
        assert recorder.stalls == []

    with_loop(test, keys=("a",))


def test_decisions_are_bounded_and_the_newest_stay():
    decisions = Decisions(kept=3)
    for number in range(5):
        decisions.put(f"i{number}", {"n": number})
    decisions.put("i2", {"n": 22})
    decisions.put("i5", {"n": 5})
    assert len(decisions) == 3
    assert decisions.get("i2") == {"n": 22}
    assert decisions.get("i3") is None
    decisions.forget("i2")
    assert decisions.get("i2") is None
