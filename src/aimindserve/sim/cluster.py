"""A whole cluster in one process: machines, the lines between them and the server, the server.

Only what a run may do to it from outside is here; what goes wrong is chosen in `faults`, what must
hold is checked in `invariants`.
"""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, TypeVar

from aimindserve.backends._all import backends
from aimindserve.backends.base import Backend
from aimindserve.controllers.constants import DEFAULTS, ControllerConstants
from aimindserve.core.errors import AimsError
from aimindserve.core.facts import Category, ModelFacts
from aimindserve.core.launch import LaunchContext, LaunchSpec, Probe
from aimindserve.kit.units import GIB
from aimindserve.runtimes.base import RunPlace
from aimindserve.runtimes.fake import Script
from aimindserve.sim import chance
from aimindserve.sim.clock import SimClock
from aimindserve.sim.machine import MachineParts, MachineShape, SimMachine
from aimindserve.sim.network import Line, SimLink
from aimindserve.sim.scenario import Scenario
from aimindserve.sim.server import SimServer
from aimindserve.sim.trace import Trace, TracedBacking
from aimindserve.store.base import ChangeRow, Store
from aimindserve.store.memory import MemoryBacking

R = TypeVar("R")

STUCK_S = 60.0
"""An engine that hangs while it loads is given up after this, not after half an hour: a run has no
half hour to wait."""
RSS_BYTES = 30 * 1024**2
TELLING_SHARE = 0.7
"""Machines whose driver says which process holds what."""
MODEL_PATH = "/models/model-{}.gguf"


@dataclass(frozen=True, slots=True)
class Size:
    """What was drawn for this run."""

    workers: int
    lasts_s: float


class Cluster:
    """Everything of one run."""

    def __init__(
        self,
        scenario: Scenario,
        seed: int,
        trace: Trace,
        watch: Callable[[ChangeRow], None] | None = None,
    ) -> None:
        rng = chance.stream(seed, "size")
        self.scenario = scenario
        self.seed = seed
        self.trace = trace
        self.size = Size(rng.randint(*scenario.workers), rng.uniform(*scenario.lasts_s))
        self.constants = _constants(scenario)
        self.clock = SimClock()
        self.lines: dict[str, Line] = {}
        self.machines: dict[str, SimMachine] = {}
        self.tokens_s: dict[str, float] = {}
        """Machine -> what a request gets in a second of the engines on it, in truth."""
        self.server: SimServer | None = None
        self.lives = 0
        self.awake_since: float | None = None
        """Since when the server has been up and not stalled; None while it is not."""
        self._backing = TracedBacking(MemoryBacking(), trace, watch)
        self._backends = {**backends(), "fake": Calm(backends()["fake"], scenario.probe_every_s)}
        self._models = {
            MODEL_PATH.format(number): model_facts(number)
            for number in range(scenario.deployments.models)
        }
        self._last: Store | None = None

    async def start(self) -> None:
        """Switch everything on."""
        await self.start_server()
        for number in range(self.size.workers):
            machine = self._machine(f"worker-{number:03d}")
            machine.start_agent()

    async def stop(self) -> None:
        """Switch everything off."""
        for machine in self.machines.values():
            await machine.crash_agent()
        await self.kill_server()

    async def start_server(self) -> None:
        """A new life of the server on what the one before has stored."""
        if self.server is not None:
            return
        self.lives += 1
        self.trace.add("server.start", self.lives)
        server = SimServer(
            self._backing,
            self._backends,
            seed=self.seed,
            life=self.lives,
            constants=self.constants,
        )
        await server.start()
        self.server, self._last = server, server.store
        self.awake_since = self.clock.monotonic()

    async def kill_server(self) -> None:
        """End the server's life in the middle of whatever it does."""
        server, self.server = self.server, None
        self.awake_since = None
        if server is not None:
            self.trace.add("server.kill", self.lives)
            await server.kill()

    def stall_server(self) -> None:
        """Its event loop is blocked, or the process is stopped."""
        if self.server is not None:
            self.trace.add("server.stall")
            self.server.clock.stall()
            self.awake_since = None

    def resume_server(self) -> None:
        """It goes on, late."""
        if self.server is not None:
            self.trace.add("server.resume")
            self.server.clock.resume()
            self.awake_since = self.clock.monotonic()

    @property
    def store(self) -> Store:
        """What the server knows; while it is down, what it knew."""
        if self._last is None:
            raise RuntimeError("the server has never been started")
        return self._last

    def awake_s(self) -> float:
        """For how long the server has been up and awake."""
        return 0.0 if self.awake_since is None else self.clock.monotonic() - self.awake_since

    def is_reachable(self, worker: str) -> bool:
        """Whether an agent runs there and nothing is wrong on the way."""
        return self.machines[worker].agent_runs and self.lines[worker].whole

    async def as_user(self, work: Callable[[Store], Awaitable[R]]) -> R | None:
        """Do something as a person would, through the server; None when it is away or refuses."""
        server = self.server
        if server is None:
            return None
        try:
            return await server.carry_out(lambda: work(server.store))
        except AimsError:
            return None

    def _machine(self, name: str) -> SimMachine:
        clock = SimClock(skew_s=chance.stream(self.seed, f"skew-{name}").uniform(-3600.0, 3600.0))
        line = self.lines[name] = Line()
        link = SimLink(line, lambda: self.server, clock, chance.stream(self.seed, f"line-{name}"))
        rng = chance.stream(self.seed, f"machine-{name}")
        tokens_s = chance.stream(self.seed, f"speed-{name}").uniform(5.0, 100.0)

        def play(_spec: LaunchSpec, place: RunPlace) -> Script:
            self.trace.add("engine.start", name, place.instance, place.run)
            load_s, stop_s = rng.uniform(1.0, 20.0), rng.uniform(0.1, 3.0)
            return Script(load_s=load_s, stop_s=stop_s, rss_bytes=RSS_BYTES, tokens_s=tokens_s)

        shape = MachineShape(
            devices=self.scenario.devices,
            device_memory_bytes=int(self.scenario.device_memory_gib * GIB),
            ram_bytes=int(self.scenario.ram_gib * GIB),
        )
        parts = MachineParts(
            name,
            shape,
            clock,
            link,
            self._backends,
            self._models,
            rng,
            {"zone": name[-1]},
            tells=rng.random() < TELLING_SHARE,
            play=play,
        )
        self.tokens_s[name] = tokens_s
        machine = self.machines[name] = SimMachine(parts)
        return machine


class Calm:
    """A backend whose engines are asked how they are less often: health checks are most of what a
    simulated hour costs."""

    def __init__(self, backend: Backend, every_s: float) -> None:
        self._backend = backend
        self._every_s = every_s
        self.name = backend.name
        self.aliases = backend.aliases
        self.title = backend.title
        self.starts_across = backend.starts_across
        self.serves = backend.serves
        self.context = backend.context
        self.shapes = backend.shapes
        self.launch = backend.launch
        self.loads = backend.loads
        self.lesser = backend.lesser
        self.installations = backend.installations

    def probe(self, context: LaunchContext) -> Probe:
        """The backend's own probe, slower, and sooner out of patience."""
        return replace(
            self._backend.probe(context),
            interval_s=self._every_s,
            startup_interval_s=1.0,
            startup_timeout_s=STUCK_S,
        )


def model_facts(number: int) -> ModelFacts:
    """A model that nobody ever trained."""
    layers = 16 + 8 * (number % 4)
    return ModelFacts(
        format="gguf",
        architecture="llama",
        size_bytes=layers * GIB // 4,
        parameter_count=layers * 250_000_000,
        quantization="Q4_K_M",
        context_length=8192 * (1 + number % 4),
        layer_count=layers,
        embedding_length=4096,
        feed_forward_length=14336,
        vocabulary_size=128256,
        head_count=32,
        head_count_kv=(8,),
        key_length=128,
        value_length=128,
        token_embedding_bytes=GIB // 4,
        output_bytes=GIB // 4,
        layer_bytes=(GIB // 4,) * layers,
        chat_template=True,
        name=f"Simulated model {number}",
        categories=(Category.LLM,),
    )


def _constants(scenario: Scenario) -> ControllerConstants:
    changes: Mapping[str, Any] = scenario.constants
    return replace(DEFAULTS, **changes)
