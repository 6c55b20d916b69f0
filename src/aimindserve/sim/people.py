"""People who change their minds: deploy, scale, edit, delete and recreate, cordon."""

import random
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace

from aimindserve.core.facts import ModelRef, SourceName
from aimindserve.resources._kind import AnyResource
from aimindserve.resources.deployment import DeploymentSpec
from aimindserve.sim.cluster import MODEL_PATH, Cluster
from aimindserve.sim.scenario import Deployments
from aimindserve.store.base import Draft, Store

AGAIN_S = 1.0
TRIES = 300


class People:
    """Acts on the cluster as users do, through the server, and tries again while it is away."""

    def __init__(self, cluster: Cluster, rng: random.Random) -> None:
        self._cluster = cluster
        self._rng = rng
        self._made = 0

    async def deploy_all(self) -> None:
        """The deployments of the scenario."""
        for _ in range(self._cluster.scenario.deployments.count):
            await self._deploy()

    async def go_on(self) -> None:
        """Change something now and then, for ever."""
        every_s = self._cluster.scenario.people_every_s
        whims = self._whims()
        while every_s:
            await self._cluster.clock.sleep(self._rng.expovariate(1 / every_s))
            await self._rng.choice(whims)()

    async def calm_down(self) -> None:
        """Leave the cluster in a state that can settle: everybody takes work again."""
        for name in self._names("worker"):
            await self._insist(lambda store, name=name: _cordon(store, name, cordoned=False))

    def _whims(self) -> Sequence[Callable[[], Awaitable[None]]]:
        return (self._scale, self._scale, self._edit, self._recreate, self._cordon, self._deploy)

    async def _deploy(self) -> None:
        self._made += 1
        name, spec = f"deployment-{self._made:03d}", self._spec()
        await self._insist(lambda store: store.create(Draft("deployment", name, spec)))

    async def _scale(self) -> None:
        low, high = self._cluster.scenario.deployments.replicas
        replicas = self._rng.choice([0, *range(low, high + 1)])
        await self._change({"replicas": replicas})

    async def _edit(self) -> None:
        """Other parameters make a new generation, sometimes another model too."""
        fresh = self._spec()
        changes: dict[str, object] = {"backend_parameters": fresh.backend_parameters}
        if self._rng.random() < 0.5:
            changes["model"] = fresh.model
        await self._change(changes)

    async def _recreate(self) -> None:
        """Delete one and make another of the same name at once."""
        name = self._some("deployment")
        if name is None:
            return
        await self._insist(lambda store: store.delete("deployment", name))
        if self._rng.random() < 0.7:
            spec = self._spec()
            await self._insist(lambda store: store.create(Draft("deployment", name, spec)))

    async def _cordon(self) -> None:
        name = self._some("worker")
        cordoned = self._rng.random() < 0.4
        if name is not None:
            await self._insist(lambda store: _cordon(store, name, cordoned=cordoned))

    async def _change(self, changes: dict[str, object]) -> None:
        name = self._some("deployment")
        if name is None:
            return

        def change(current: AnyResource) -> AnyResource:
            return replace(current, spec=current.spec.model_copy(update=changes))

        await self._insist(lambda store: store.update("deployment", name, change))

    async def _insist(self, work: Callable[[Store], Awaitable[object]]) -> None:
        """Try until the server has an opinion: while it is away nothing was done."""
        for _ in range(TRIES):
            if self._cluster.server is not None:
                await self._cluster.as_user(work)
                return
            await self._cluster.clock.sleep(AGAIN_S)

    def _spec(self) -> DeploymentSpec:
        wanted: Deployments = self._cluster.scenario.deployments
        rng = self._rng
        model = MODEL_PATH.format(rng.randrange(wanted.models))
        return DeploymentSpec(
            model=ModelRef(SourceName.LOCAL, path=model),
            replicas=rng.randint(*wanted.replicas),
            backend="fake",
            backend_parameters=(
                f"--vram={rng.uniform(*wanted.vram_gib):.1f}GiB",
                f"--devices={rng.randint(*wanted.devices)}",
                *self._way(wanted),
            ),
            placement_strategy=rng.choice(["spread", "binpack"]),
        )

    def _way(self, wanted: Deployments) -> tuple[str, ...]:
        """How an engine is put on devices, where it is not by their number alone."""
        if not wanted.layered + wanted.across:
            return ()
        chance = self._rng.random()
        if chance < wanted.layered:
            return (f"--layers={self._rng.randint(8, 60)}",)
        return ("--workers=2",) if chance < wanted.layered + wanted.across else ()

    def _some(self, kind: str) -> str | None:
        names = self._names(kind)
        return self._rng.choice(names) if names else None

    def _names(self, kind: str) -> Sequence[str]:
        return [each.name for each in self._cluster.store.list(kind)]


async def visit(cluster: Cluster) -> None:
    """Ask every engine something now and then, for ever."""
    every_s = cluster.scenario.visits_every_s
    while every_s:
        await cluster.clock.sleep(every_s)
        for machine in cluster.machines.values():
            machine.visit()


async def _cordon(store: Store, name: str, *, cordoned: bool) -> None:
    def change(current: AnyResource) -> AnyResource:
        return replace(current, spec=current.spec.model_copy(update={"cordoned": cordoned}))

    await store.update("worker", name, change)
