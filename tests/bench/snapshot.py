"""How long a picture of the cluster takes: `PYTHONPATH=src python tests/bench/snapshot.py`.

1,250 workers with 8 devices each and 5,000 placed instances in a real store in memory. Limit: under
5 ms for the picture after one change, since an incremental plan has 20 ms in all. Prints processor
time; asserts nothing, since machines differ.
"""

import asyncio
import time
from dataclasses import replace

from aimindserve.controllers.snapshot import Snapshots
from aimindserve.core.device import Device, DeviceUsage, EngineUsage, MemoryParts, Reserved, Usage
from aimindserve.core.facts import ModelRef, SourceName
from aimindserve.core.placement import Claim, Placement, Rank
from aimindserve.core.report import Report, WorkerObservation
from aimindserve.kit.clock import SystemClock
from aimindserve.resources.deployment import DeploymentSpec
from aimindserve.resources.instance import InstanceSpec, InstanceStatus
from aimindserve.resources.worker import WorkerSpec, WorkerStatus
from aimindserve.store.base import Draft
from aimindserve.store.leases import Leases
from aimindserve.store.memory import MemoryBacking
from aimindserve.store.resources import ResourceStore
from aimindserve.worker.simulated import EXAMPLE_MACHINE

GIB = 1024**3
WORKERS, DEVICES, INSTANCES = 1250, 8, 5000
LIMIT_MS = 5.0
ROUNDS = 20


def observation(name: str) -> WorkerObservation:
    devices = tuple(
        Device(f"{name}:cuda:{n}", n, "cuda", "nvidia", "H200", 80 * GIB) for n in range(DEVICES)
    )
    inventory = replace(EXAMPLE_MACHINE, devices=devices)
    return WorkerObservation("1", "127.0.0.1", 1, 0, inventory, usage(name), Reserved())


def usage(name: str, foreign: int = 0, engines: tuple[EngineUsage, ...] = ()) -> Usage:
    held = sum(size for engine in engines for _, size in engine.devices)
    devices = tuple(
        DeviceUsage(f"{name}:cuda:{n}", foreign + (held if n == 0 else 0)) for n in range(DEVICES)
    )
    return Usage(0.1, GIB, 200 * GIB, 0, GIB, devices, engines)


async def build(store: ResourceStore, leases: Leases) -> None:
    template = DeploymentSpec(model=ModelRef(SourceName.LOCAL, path="/m.gguf"))
    spec = InstanceSpec(deployment="d", deployment_generation=1, template=template)
    for number in range(WORKERS):
        name = f"w{number:04d}"
        seen = observation(name)
        status = WorkerStatus(ready=True, observed=seen)
        await store.create(Draft("worker", name, WorkerSpec(), status))
        leases.renew(name, Report(0, seen))
    for number in range(INSTANCES):
        name = f"w{number % WORKERS:04d}"
        device = f"{name}:cuda:{number // WORKERS % DEVICES}"
        ranks = (Rank(name, (Claim(device, MemoryParts(20 * GIB)),), MemoryParts(GIB)),)
        status = InstanceStatus(placement=Placement(f"p{number}", "1 device", ranks))
        await store.create(Draft("instance", f"d-{number:05d}", spec, status))


async def main() -> None:
    clock = SystemClock()
    store, leases = ResourceStore(MemoryBacking(), clock), Leases(clock)
    await store.open()
    snapshots = Snapshots(store, leases)
    await build(store, leases)
    began = time.process_time()
    snapshots.take()
    print(f"{'first picture':38} {1000 * (time.process_time() - began):8.2f} ms")

    async def nothing(_: int) -> None:
        """As it was."""

    async def report(turn: int) -> None:
        name = f"w{turn:04d}"
        engine = EngineUsage("i", f"p{turn}", 1, True, GIB, GIB, ((f"{name}:cuda:0", 20 * GIB),))
        seen = store.get("worker", name).status.observed
        fresh = replace(seen, usage=usage(name, turn * GIB, (engine,)))
        leases.renew(name, Report(0, fresh))

    async def instance(turn: int) -> None:
        await store.delete("instance", f"d-{turn:05d}")

    async def worker(turn: int) -> None:
        current = store.get("worker", f"w{turn:04d}")
        cordoned = current.spec.model_copy(update={"cordoned": True})
        await store.replace(
            "worker", current.name, revision=current.metadata.revision, spec=cordoned
        )

    for change in (nothing, report, instance, worker):
        took: list[float] = []
        shared = 0
        for turn in range(1, ROUNDS + 1):
            before = {id(view) for view in snapshots.take().workers}
            await change(turn)
            began = time.process_time()
            after = snapshots.take()
            took.append(time.process_time() - began)
            shared = sum(id(view) in before for view in after.workers)
        print(
            f"after {change.__name__:32} {1000 * sorted(took)[ROUNDS // 2]:8.2f} ms"
            f"   {shared} of {WORKERS} views shared   limit {LIMIT_MS} ms"
        )
    seen = report(7)
    began = time.process_time()
    await seen
    print(f"{'hearing one report':38} {1000 * (time.process_time() - began):8.2f} ms")
    await store.close()


if __name__ == "__main__":
    asyncio.run(main())
