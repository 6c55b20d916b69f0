"""A simulated machine: accelerators and engines that live on while agents come and go.

The agent is the real one. What survives its crash (engines, its state file) lives here; a reboot
takes the engines too.
"""

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from aimindserve.backends.base import Backend
from aimindserve.core.device import Device, DeviceUsage, Inventory
from aimindserve.core.facts import ModelFacts
from aimindserve.core.ids import DeviceId, device_id
from aimindserve.core.launch import Exposure, LaunchSpec
from aimindserve.kit.clock import Clock
from aimindserve.kit.tasks import TaskSupervisor
from aimindserve.kit.units import GIB
from aimindserve.runtimes.base import RunPlace
from aimindserve.runtimes.fake import FakeRuntime, Script
from aimindserve.sim.talk import Talk, TalkingRuntime
from aimindserve.worker.agent import Agent
from aimindserve.worker.config import WorkerConfig
from aimindserve.worker.link import ServerLink
from aimindserve.worker.simulated import FakeMachine, GivenFiles, KeptInMemory, simulated_edges

ROOT = Path("/simulated")


@dataclass(frozen=True, slots=True)
class MachineShape:
    """What a simulated machine has. Bytes."""

    devices: int = 8
    device_memory_bytes: int = 80 * GIB
    device_name: str = "Simulated H200"
    cpu_count: int = 64
    ram_bytes: int = 512 * GIB


@dataclass(frozen=True, slots=True)
class MachineParts:
    """Everything a machine is put together from."""

    name: str
    shape: MachineShape
    clock: Clock
    link: ServerLink
    backends: Mapping[str, Backend]
    models: Mapping[str, ModelFacts]
    """By path: what lies on this machine's disk."""
    rng: random.Random
    labels: Mapping[str, str] = field(default_factory=dict[str, str])
    port: int = 10150
    tells: bool = True
    """Whether the devices' driver says which process holds what."""
    talk: Talk | None = None
    """What its engines answer by; with it the agent listens, and engines can be asked."""
    play: Callable[[LaunchSpec, RunPlace], Script] | None = None
    """The life of each engine; without it each loads for a while and then runs for ever."""


FOREIGN_PID = 1
"""The process of other people, on every machine."""


class SimAccelerator:
    """Devices that exist by declaration; memory in use is what the owner says, and other people."""

    name = "simulated"

    def __init__(self, devices: Sequence[Device], *, tells: bool = True) -> None:
        """`tells`: whether the driver says which process holds what."""
        self.devices = tuple(devices)
        self.tells = tells
        self.held: Callable[[DeviceId], Mapping[int, int]] = lambda _device: {}
        """What our engines hold of a device, by process."""
        self.foreign: dict[DeviceId, int] = {}
        """What other people's processes hold."""
        self.stuck: Mapping[DeviceId, DeviceUsage] | None = None
        """What the driver keeps on answering, whatever happens."""

    def detect(self, host: object) -> Sequence[Device]:  # noqa: ARG002 - nothing to look at
        return self.devices

    def usage(self, host: object) -> Mapping[DeviceId, DeviceUsage]:  # noqa: ARG002 - see above
        return self.look() if self.stuck is None else self.stuck

    def look(self) -> Mapping[DeviceId, DeviceUsage]:
        """The truth."""
        found: dict[DeviceId, DeviceUsage] = {}
        for device in self.devices:
            held = {**self.held(device.id)}
            if self.foreign.get(device.id):
                held[FOREIGN_PID] = self.foreign[device.id]
            told = tuple(sorted(held.items(), key=lambda one: (-one[1], one[0])))
            processes = told if self.tells else None
            found[device.id] = DeviceUsage(device.id, sum(held.values()), processes=processes)
        return found

    def expose(self, devices: Sequence[Device]) -> Exposure:
        return Exposure(env=(("CUDA_VISIBLE_DEVICES", ",".join(str(d.index) for d in devices)),))


class SimHost:
    """The machine as accelerator plugins see it: no tools, no files."""

    def __init__(self, name: str) -> None:
        self.name = name

    def run(self, *argv: str, timeout_s: float = 10.0) -> str | None:  # noqa: ARG002 - protocol
        return None

    def read(self, path: str) -> str | None:  # noqa: ARG002 - protocol
        return None


class SimMachine:
    """One machine with its agent."""

    def __init__(self, parts: MachineParts) -> None:
        self.name = parts.name
        self._parts = parts
        rng = parts.rng
        root, play = ROOT / parts.name, parts.play or self._play
        self.runtime = (
            FakeRuntime(root, parts.clock, play)
            if parts.talk is None
            else TalkingRuntime(root, parts.clock, play, parts.talk)
        )
        devices = _devices(parts.name, parts.shape)
        self.accelerator = SimAccelerator(devices, tells=parts.tells)
        self.oom_kills = 0
        self.files = GivenFiles(parts.models)
        self._memory = KeptInMemory(f"{rng.getrandbits(128):032x}")
        self._tasks: TaskSupervisor | None = None
        self._agent_now: Agent | None = None

    @property
    def agent_runs(self) -> bool:
        """Whether there is an agent on this machine now."""
        return self._tasks is not None

    def start_agent(self) -> None:
        """Start the agent, as the machine's service manager would."""
        if self._tasks is None:
            self._tasks = TaskSupervisor(self._parts.clock)
            self._agent_now = self._agent()
            self._tasks.keep_running(self._agent_now.run, name=f"agent.{self.name}")

    async def crash_agent(self) -> None:
        """The agent is gone, its engines live on."""
        if self._tasks is not None:
            tasks, self._tasks, self._agent_now = self._tasks, None, None
            await tasks.aclose()

    def visit(self) -> None:
        """Every engine that can be reached here answers one request."""
        agent = self._agent_now
        for process in () if agent is None else agent.board.processes.values():
            if agent is not None and self.runtime.answer(process.handle) == "ready":
                agent.traffic.begin(process.token)
                self.runtime.visited(process.handle)
                agent.traffic.end(process.token)

    async def power_off(self) -> None:
        """The machine is gone with everything that ran on it; its disk remains."""
        self.runtime.power_off()
        await self.crash_agent()
        self.runtime.power_off()

    def _agent(self) -> Agent:
        parts = self._parts
        host = SimHost(parts.name)
        accelerators = {self.accelerator.name: self.accelerator}
        machine = FakeMachine(_inventory(parts.shape), accelerators, host, lambda: self.oom_kills)
        config = WorkerConfig(
            server_url="sim://server",
            token="simulated",  # noqa: S106 - opens nothing
            data_dir=ROOT / parts.name,
            log_dir=ROOT / parts.name,
            cache_dir=ROOT / parts.name,
            name=parts.name,
            explicit_name=True,
            labels=parts.labels,
            ip="127.0.0.1",
            port=parts.port,
            bind="127.0.0.1",
            serve=parts.talk is not None,
            metrics=False,
            runtime="fake",
            stop_engines_on_exit=False,
        )
        return Agent(
            config,
            parts.link,
            self.runtime,
            parts.backends,
            accelerators,
            {},
            parts.clock,
            host,
            edges=simulated_edges(
                self.runtime, machine, files=self.files, memory=self._memory, rng=parts.rng
            ),
        )

    def _play(self, _spec: LaunchSpec, _place: RunPlace) -> Script:
        rng = self._parts.rng
        return Script(load_s=rng.uniform(1.0, 20.0), stop_s=rng.uniform(0.1, 3.0))


def _devices(worker: str, shape: MachineShape) -> Sequence[Device]:
    return [
        Device(
            id=device_id(worker, "cuda", index),
            index=index,
            type="cuda",
            vendor="simulated",
            name=shape.device_name,
            memory_bytes=shape.device_memory_bytes,
            compute_capability="9.0",
            uuid=f"SIM-{worker}-{index}",
        )
        for index in range(shape.devices)
    ]


def _inventory(shape: MachineShape) -> Inventory:
    return Inventory(
        os="linux",
        os_name="Simulated Linux",
        os_version="1",
        kernel="0.0-simulated",
        arch="amd64",
        cpu_name="Simulated CPU",
        cpu_count=shape.cpu_count,
        ram_bytes=shape.ram_bytes,
        swap_bytes=0,
        boot_time=0.0,
    )
