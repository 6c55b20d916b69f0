"""The demo's fleet, on virtual time instead of a patient person's."""

import itertools

from aimindserve.backends._all import backends
from aimindserve.controllers import all as controllers_all
from aimindserve.controllers.chronicle import Chronicle
from aimindserve.controllers.loop import ControllerLoop
from aimindserve.kit.secrets import new_id
from aimindserve.kit.tasks import TaskSupervisor
from aimindserve.sim.clock import SimClock
from aimindserve.sim.demo import SAMPLES, run_fleet
from aimindserve.sim.loop import run_virtual
from aimindserve.store.decisions import Decisions
from aimindserve.store.leases import Leases
from aimindserve.store.memory import MemoryBacking
from aimindserve.store.records.events import events
from aimindserve.store.resources import ResourceStore


def test_a_fleet_comes_up_with_something_to_look_at():
    async def main():
        clock = SimClock()
        backing = MemoryBacking()
        store = ResourceStore(backing, clock)
        history = events(backing, clock)
        leases, decisions = Leases(clock), Decisions()
        numbers = itertools.count(1)
        controllers = controllers_all.build(
            store,
            leases,
            clock,
            backends(),
            lambda: f"{next(numbers) * 7919:05x}".ljust(12, "0"),
            decisions,
        )
        tasks = TaskSupervisor(clock)
        await store.open()
        tasks.spawn(ControllerLoop(store, controllers, clock).run(), name="controllers")
        tasks.spawn(Chronicle(store, history, clock, new_id).run(), name="chronicle")
        fleet = run_fleet(store, leases, clock, workers=30, devices=8, seed=1)
        tasks.spawn(fleet, name="fleet")
        await clock.sleep(90.0)
        workers = store.list("worker")
        phases = {each.name: each.status for each in store.list("deployment")}
        waiting = [each for each in store.list("instance") if each.status.placement is None]
        told = await history.query(limit=1_000)
        await tasks.aclose()
        await store.close()
        return workers, phases, waiting, decisions, told

    workers, phases, waiting, decisions, told = run_virtual(main())
    assert len(workers) == 30
    assert all(each.status.ready for each in workers)
    assert set(phases) == {each.name for each in SAMPLES}
    ready = {name for name, status in phases.items() if status.ready_replicas == status.replicas}
    assert {"qwen3-8b", "bge-m3"} <= ready
    assert phases["kimi-k2"].reason.code == "no_fit"
    stuck = next(each for each in waiting if each.spec.deployment == "kimi-k2")
    assert decisions.get(stuck.name)["refused_total"] == 30
    codes = {each.code for each in told}
    assert {"joined", "deployed", "file_ready", "placed", "refused", "started", "ready"} <= codes
