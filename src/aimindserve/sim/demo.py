"""A simulated fleet on the real clock, beside a real control plane: for looking around.

Workers, devices and engines are simulated; store, controllers, scheduler and API are the real ones
and cannot tell. Now and then an engine dies and comes back, so that there is something to see.
With `talk`, engines answer chats, too, for there is a network then.
"""

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from aimindserve.backends._all import backends
from aimindserve.core.errors import ExistsError
from aimindserve.core.facts import Category, ModelFacts, ModelRef, SourceName
from aimindserve.core.ids import DeviceId
from aimindserve.core.launch import LaunchSpec
from aimindserve.kit.clock import Clock
from aimindserve.kit.log import get_logger
from aimindserve.kit.tasks import TaskSupervisor
from aimindserve.kit.units import GIB
from aimindserve.resources.deployment import DeploymentSpec
from aimindserve.runtimes.base import RunPlace
from aimindserve.runtimes.fake import Script
from aimindserve.sim import chance
from aimindserve.sim.cluster import Calm, model_facts
from aimindserve.sim.door import Door
from aimindserve.sim.machine import MachineParts, MachineShape, SimMachine
from aimindserve.sim.network import Line, LocalServer, SimLink
from aimindserve.sim.talk import Talk
from aimindserve.store.base import Draft, Store
from aimindserve.store.leases import Leases

log = get_logger("demo")

ANY_PORT = 0
PROBE_S = 10.0
TROUBLE_S = 90.0
START_APART_S = 0.05
TAKEN_SHARE = 0.93
"""What engines really take of their claims."""

SHAPES: tuple[tuple[int, MachineShape], ...] = (
    (4, MachineShape(8, 141 * GIB, "NVIDIA H200 (simulated)", 96, 1024 * GIB)),
    (3, MachineShape(4, 48 * GIB, "NVIDIA L40S (simulated)", 64, 512 * GIB)),
    (2, MachineShape(2, 24 * GIB, "NVIDIA RTX 4090 (simulated)", 32, 128 * GIB)),
    (1, MachineShape(0, 0, "", 64, 256 * GIB)),
)
"""(how many of ten machines, shape)"""


@dataclass(frozen=True, slots=True)
class Sample:
    """A deployment to look at."""

    name: str
    replicas: int
    words: tuple[str, ...]
    category: Category = Category.LLM
    layers: int = 32
    labels: tuple[tuple[str, str], ...] = ()

    @property
    def path(self) -> str:
        """Where its model pretends to lie on every machine."""
        return f"/models/{self.name}.gguf"


SAMPLES: tuple[Sample, ...] = (
    Sample("qwen3-8b", 6, ("--vram=11GiB",)),
    Sample("llama-3.1-70b", 3, ("--vram=44GiB",), layers=80),
    Sample("deepseek-r1-distill-32b", 2, ("--vram=34GiB",), layers=64),
    Sample("qwen3-235b", 1, ("--vram=130GiB", "--devices=2"), layers=94),
    Sample("bge-m3", 3, ("--ram=3GiB",), Category.EMBEDDING, 24),
    Sample("bge-reranker-v2", 2, ("--ram=3GiB",), Category.RERANKER, 24),
    Sample("whisper-large-v3", 2, ("--vram=6GiB",), Category.SPEECH_TO_TEXT),
    Sample("kimi-k2", 1, ("--vram=900GiB",), layers=61),
    Sample("smollm2-edge", 2, ("--ram=1GiB",), labels=(("zone", "edge"),)),
)


async def run_fleet(  # noqa: PLR0913 - a composition root hands in every part by name
    store: Store,
    leases: Leases,
    clock: Clock,
    *,
    workers: int,
    devices: int,
    seed: int,
    talk: Talk | None = None,
) -> None:
    """Register `workers` simulated machines with at most `devices` devices each, deploy a few
    models on them, and keep it all going until cancelled."""
    tasks = TaskSupervisor(clock)
    door = Door(store, leases, clock)
    fleet = Fleet(store, clock, LocalServer(door), seed, devices, talk)
    try:
        tasks.keep_running(door.run, name="demo.desired")
        for number in range(workers):
            fleet.add(number)
            await clock.sleep(START_APART_S)
        await _deploy(store)
        await fleet.live()
    finally:
        await fleet.stop()
        await tasks.aclose()


class Fleet:
    """The machines of the demo."""

    def __init__(
        self,
        store: Store,
        clock: Clock,
        server: LocalServer,
        seed: int,
        devices: int,
        talk: Talk | None = None,
    ) -> None:
        self._store = store
        self._clock = clock
        self._server = server
        self._seed = seed
        self._devices = devices
        self._talk = talk
        self._rng = chance.stream(seed, "demo")
        self._machines: list[SimMachine] = []
        self._backends = {**backends(), "fake": Calm(backends()["fake"], PROBE_S)}
        self._models: Mapping[str, ModelFacts] = {each.path: _facts(each) for each in SAMPLES}

    def add(self, number: int) -> None:
        """Switch another machine on."""
        name = f"sim-{number:03d}"
        rng = chance.stream(self._seed, name)
        shape = _shape(rng, self._devices)
        machine = SimMachine(
            MachineParts(
                name=name,
                shape=shape,
                clock=self._clock,
                link=SimLink(Line(), lambda: self._server, self._clock, rng),
                backends=self._backends,
                models=self._models,
                rng=rng,
                labels={"zone": "edge" if not shape.devices else f"hall-{number % 3 + 1}"},
                port=ANY_PORT,
                talk=self._talk,
                play=_player(rng),
            )
        )
        machine.accelerator.held = self._meter(machine)
        self._machines.append(machine)
        machine.start_agent()

    async def live(self) -> None:
        """Let an engine die now and then, for ever."""
        while True:
            await self._clock.sleep(self._rng.expovariate(1 / TROUBLE_S))
            machine = self._rng.choice(self._machines)
            living = list(machine.runtime.living)
            if living:
                handle = self._rng.choice(living)
                log.info("demo.engine_killed", worker=machine.name, instance=handle.instance)
                machine.runtime.kill(handle.token)

    async def stop(self) -> None:
        """Switch everything off."""
        for machine in self._machines:
            await machine.crash_agent()

    def _meter(self, machine: SimMachine) -> Callable[[DeviceId], Mapping[int, int]]:
        """Memory in use on a device: most of what its living engines claimed."""

        def held(device: DeviceId) -> Mapping[int, int]:
            found: dict[int, int] = {}
            for handle in machine.runtime.living:
                instance = self._store.find("instance", handle.instance)
                placement = None if instance is None else instance.status.placement
                ranks = () if placement is None else placement.ranks
                claims = [each for rank in ranks for each in rank.claims if each.device == device]
                if claims:
                    found[handle.pid] = int(TAKEN_SHARE * sum(c.memory_bytes for c in claims))
            return found

        return held


async def _deploy(store: Store) -> None:
    for sample in SAMPLES:
        spec = DeploymentSpec(
            model=ModelRef(SourceName.LOCAL, path=sample.path),
            replicas=sample.replicas,
            backend="fake",
            backend_parameters=sample.words,
            worker_selector=dict(sample.labels),
            description="Part of the demo.",
        )
        try:
            await store.create(Draft("deployment", sample.name, spec))
        except ExistsError:
            log.debug("demo.deployed_before", deployment=sample.name)


def _facts(sample: Sample) -> ModelFacts:
    layer = GIB // 4
    return replace(
        model_facts(0),
        name=sample.name,
        layer_count=sample.layers,
        layer_bytes=(layer,) * sample.layers,
        size_bytes=layer * sample.layers,
        categories=(sample.category,),
    )


def _shape(rng: random.Random, devices: int) -> MachineShape:
    weights: Sequence[int] = [weight for weight, _ in SHAPES]
    _, shape = rng.choices(SHAPES, weights)[0]
    return replace(shape, devices=min(shape.devices, devices))


def _player(rng: random.Random) -> Callable[[LaunchSpec, RunPlace], Script]:
    def play(_spec: LaunchSpec, _place: RunPlace) -> Script:
        return Script(load_s=rng.uniform(2.0, 25.0), stop_s=rng.uniform(0.1, 2.0), rss_bytes=GIB)

    return play
