"""A real store in memory, real controllers and a worker made of words, on virtual time."""

import asyncio
import itertools
from contextlib import asynccontextmanager
from dataclasses import replace

from aimindserve.backends._all import backends
from aimindserve.controllers import all as controllers_all
from aimindserve.controllers.constants import DEFAULTS
from aimindserve.controllers.fits import FitParts, Fits
from aimindserve.controllers.inspections import Inspections
from aimindserve.controllers.loop import ControllerLoop
from aimindserve.controllers.snapshot import Snapshots
from aimindserve.core.device import Device, Reserved, Usage
from aimindserve.core.facts import Category, ModelFacts, ModelRef, SourceName
from aimindserve.core.ids import DeviceId
from aimindserve.core.report import (
    FileObservation,
    FileState,
    InstanceObservation,
    Presence,
    Report,
    RunState,
    WorkerObservation,
)
from aimindserve.kit.tasks import TaskSupervisor
from aimindserve.kit.units import GIB
from aimindserve.resources.deployment import DeploymentSpec
from aimindserve.resources.worker import WorkerSpec
from aimindserve.sim.clock import SimClock
from aimindserve.sim.cluster import model_facts
from aimindserve.sim.loop import run_virtual
from aimindserve.store.base import Draft
from aimindserve.store.decisions import Decisions
from aimindserve.store.leases import Leases
from aimindserve.store.memory import MemoryBacking
from aimindserve.store.resources import ResourceStore
from aimindserve.worker.simulated import EXAMPLE_MACHINE

PATH = "/models/a.gguf"
FACTS: ModelFacts = replace(model_facts(0), categories=(Category.LLM,))


def in_world(test, **options):
    """Run `test(world)` on virtual time with controllers running."""

    async def main():
        world = World(**options)
        async with world.running():
            return await test(world)

    return run_virtual(main())


async def _at_once(work, *arguments):
    """Virtual time knows no threads."""
    return work(*arguments)


class World:
    def __init__(self, backing=None, constants=DEFAULTS):
        numbers = itertools.count(1)
        self.clock = SimClock()
        self.backing = backing or MemoryBacking()
        self.ids = lambda: f"{next(numbers) * 7919 % 16**12:05x}{'0' * 7}"
        self.store = ResourceStore(self.backing, self.clock, self.ids)
        self.leases = Leases(self.clock)
        self.decisions = Decisions()
        self.inspections = Inspections(self.clock)
        snapshots = Snapshots(self.store, self.leases)
        self.fits = Fits(
            FitParts(self.store, snapshots, self.clock, backends(), self.inspections, _at_once)
        )
        controllers = controllers_all.build(
            self.store,
            self.leases,
            self.clock,
            backends(),
            self.ids,
            self.decisions,
            constants=constants,
            inspections=self.inspections,
            snapshots=snapshots,
        )
        self.controllers = controllers
        self.loop = ControllerLoop(
            self.store, controllers, self.clock, constants=constants, jitter=lambda: 1.0
        )
        self.silent = set()
        self.workers = []

    @asynccontextmanager
    async def running(self):
        tasks = TaskSupervisor(self.clock)
        await self.store.open()
        tasks.spawn(self.loop.run(), name="controllers")
        tasks.spawn(self._beat(), name="beats")
        try:
            yield
        finally:
            await tasks.aclose()
            await self.store.close()

    async def pass_(self, seconds=1.0):
        await self.clock.sleep(seconds)

    async def pass_real(self, seconds):
        """Time goes by also for a stalled process."""
        await asyncio.sleep(seconds)

    async def add_worker(self, name, *, devices=0, ram_gib=64, labels=None, kind="H200"):
        inventory = replace(
            EXAMPLE_MACHINE,
            ram_bytes=ram_gib * GIB,
            devices=tuple(
                Device(DeviceId(f"{name}:cuda:{n}"), n, "cuda", "nvidia", kind, 80 * GIB)
                for n in range(devices)
            ),
        )
        usage = Usage(0.0, 0, ram_gib * GIB, 0, 0)
        seen = WorkerObservation("1", "127.0.0.1", 10150, 0, inventory, usage, Reserved())
        await self.store.create(Draft("worker", name, WorkerSpec(), labels=labels or {}))

        def observe(current):
            return current.with_status(current.status.model_copy(update={"observed": seen}))

        self.leases.renew(name, Report(self.store.revision, seen))
        await self.store.update("worker", name, observe)
        self.workers.append(name)
        await self.pass_(0.1)

    def hear(self, name):
        seen = self.store.get("worker", name).status.observed
        last = self.leases.report(name)
        if last is not None:
            seen = replace(seen, usage=last.worker.usage)
        own = () if last is None else last.instances
        self.leases.renew(name, Report(self.store.revision, seen, own))

    async def say(self, name, presence):
        """The worker reports that its agent stays, is ending, or has ended with its engines."""

        def observe(current):
            seen = replace(current.status.observed, presence=presence)
            return current.with_status(current.status.model_copy(update={"observed": seen}))

        (self.silent.add if presence is Presence.LEFT else self.silent.discard)(name)
        self.hear(name)
        await self.store.update("worker", name, observe)
        await self.pass_(0.1)

    async def deploy(self, name, *words, replicas=1, path=PATH, **fields):
        spec = DeploymentSpec(
            model=ModelRef(SourceName.LOCAL, path=path),
            replicas=replicas,
            backend="fake",
            backend_parameters=words or ("--ram=1GiB",),
            **fields,
        )
        await self.store.create(Draft("deployment", name, spec))
        await self.pass_(0.1)

    async def change(self, kind, name, **fields):
        def change(current):
            return replace(current, spec=current.spec.model_copy(update=fields))

        await self.store.update(kind, name, change)
        await self.pass_(0.1)

    async def look(self, facts=FACTS, only=None):
        """Every worker finds every model file it is asked for, or None of it."""
        for file in self.store.list("model-file"):
            if file.status.observed is None and (only is None or file.spec.worker in only):
                seen = FileObservation(FileState.READY, path=file.spec.model.path, facts=facts)
                await self._observe("model-file", file.name, seen)
        await self.pass_(0.1)

    async def run(self, *names, state=RunState.READY):
        """The named instances, or all that are placed, are `state` on their workers."""
        for each in self.store.list("instance"):
            placement = each.status.placement
            if placement is not None and (not names or each.name in names):
                seen = InstanceObservation(placement.id, state, since=0.0, port=40000)
                await self._observe("instance", each.name, seen)
        await self.pass_(0.1)

    async def let_go(self):
        """Workers report without the instances that are stopping (what `server.reports` does)."""
        for each in self.store.list("instance"):
            if each.spec.stopping:
                await self.store.delete("instance", each.name)
        await self.pass_(0.1)

    async def up(self, name, *words, replicas=1):
        """A deployment with all its instances ready."""
        await self.deploy(name, *words, replicas=replicas)
        await self.look()
        await self.run()

    def instances(self, deployment=None):
        return [
            each
            for each in self.store.list("instance")
            if deployment is None or each.spec.deployment == deployment
        ]

    def status(self, name):
        return self.store.get("deployment", name).status

    async def _observe(self, kind, name, seen):
        def observe(current):
            return current.with_status(current.status.model_copy(update={"observed": seen}))

        await self.store.update(kind, name, observe)

    async def _beat(self):
        while True:
            await self.clock.sleep(10.0)
            for name in self.workers:
                if name not in self.silent and self.store.find("worker", name) is not None:
                    self.hear(name)
