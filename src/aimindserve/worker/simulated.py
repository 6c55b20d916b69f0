"""Edges without a machine: for the simulation, the demo and tests. Ships with the product.

With these, `runtimes.fake` and a virtual clock an agent runs its real code without a socket, a
thread, a file or a look at the real time.
"""

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from aimindserve.accelerators.base import Accelerator, Host
from aimindserve.core.device import Device, Inventory, Usage
from aimindserve.core.facts import ModelFacts, ModelRef
from aimindserve.core.launch import Counters, Installation, Probe
from aimindserve.core.reason import Reason
from aimindserve.core.report import FileObservation, FileState
from aimindserve.runtimes.base import Handle
from aimindserve.runtimes.fake import FakeRuntime
from aimindserve.worker.edges import Edges
from aimindserve.worker.life import Answer
from aimindserve.worker.observed import Counted, FileSeen
from aimindserve.worker.state import AgentState

GIB = 1024**3

EXAMPLE_MACHINE = Inventory(
    os="linux",
    os_name="Simulated Linux",
    os_version="1",
    kernel="0.0-simulated",
    arch="amd64",
    cpu_name="Simulated CPU",
    cpu_count=32,
    ram_bytes=256 * GIB,
    swap_bytes=0,
    boot_time=0.0,
)


class FakeProber:
    """Asks the fake runtime instead of a socket."""

    def __init__(self, runtime: FakeRuntime) -> None:
        self._runtime = runtime

    async def ask(self, handle: Handle, probe: Probe, *, confirm: bool) -> Answer:  # noqa: ARG002 - protocol
        return Answer(self._runtime.answer(handle))


class FakeMeter:
    """Asks the fake runtime instead of a page."""

    def __init__(self, runtime: FakeRuntime) -> None:
        self._runtime = runtime

    async def read(self, handle: Handle, counters: Counters) -> Counted | None:  # noqa: ARG002 - protocol
        told = self._runtime.counted(handle)
        return None if told is None else Counted(*told)


class FakeMachine:
    """A machine as described; devices come from the given accelerator plugins."""

    def __init__(
        self,
        inventory: Inventory,
        accelerators: Mapping[str, Accelerator],
        host: Host,
        ooms: Callable[[], int] = lambda: 0,
    ) -> None:
        """`ooms`: how many processes this machine has killed for memory."""
        self._ooms = ooms
        self._inventory = inventory
        self._accelerators = accelerators
        self._host = host

    async def devices(self, worker: str) -> Mapping[str, Sequence[Device]]:  # noqa: ARG002 - protocol
        found = {
            name: tuple(plugin.detect(self._host)) for name, plugin in self._accelerators.items()
        }
        return {name: devices for name, devices in found.items() if devices}

    async def inventory(self, devices: Sequence[Device]) -> Inventory:
        return replace(self._inventory, devices=tuple(devices))

    async def usage(self, worker: str) -> Usage:  # noqa: ARG002 - protocol
        devices = [
            usage
            for plugin in self._accelerators.values()
            for usage in plugin.usage(self._host).values()
        ]
        return Usage(
            cpu=0.0,
            ram_used_bytes=0,
            ram_available_bytes=self._inventory.ram_bytes,
            swap_used_bytes=0,
            disk_available_bytes=1024 * GIB,
            devices=tuple(devices),
        )

    async def installations(self) -> Sequence[Installation]:
        return ()

    def oom_kills(self) -> int:
        return self._ooms()

    def address(self, server_url: str) -> str:  # noqa: ARG002 - protocol
        return "127.0.0.1"


class FreePorts:
    """Nobody listens anywhere."""

    def taken(self, first: int, last: int) -> frozenset[int]:  # noqa: ARG002 - protocol
        return frozenset()


class GivenFiles:
    """Models that are there because somebody says so; all others are missing."""

    def __init__(self, facts: Mapping[str, ModelFacts]) -> None:
        self.facts = dict(facts)
        """By path, repository or name of the model."""

    async def look(self, worker: str, model: ModelRef, before: FileSeen | None) -> FileSeen:  # noqa: ARG002 - protocol
        key = model.path or model.repo or model.name or ""
        facts = self.facts.get(key)
        if facts is None:
            reason = Reason("path_missing", {"path": key, "worker": worker})
            return FileSeen(FileObservation(FileState.MISSING, path=key, reason=reason))
        return FileSeen(
            FileObservation(FileState.READY, path=key, size_bytes=facts.size_bytes, facts=facts),
            signature=(0, facts.size_bytes),
        )


class KeptInMemory:
    """A state file that outlives agents as long as somebody holds it."""

    def __init__(self, machine_id: str) -> None:
        self.state = AgentState(machine_id)

    def load(self) -> AgentState:
        return self.state

    async def save(self, state: AgentState) -> None:
        self.state = state

    def lock(self) -> None:
        """Nobody else is here."""

    def unlock(self) -> None:
        """Nobody else is here."""


class NoLogs:
    """Runs that say nothing."""

    def place(self, instance: str, run: int) -> tuple[str, str]:
        return f"/simulated/{instance}/{run}", f"/simulated/{instance}/{run}.log"

    def size(self, log_path: str) -> int:  # noqa: ARG002 - protocol
        return 0

    async def last_lines(self, log_path: str, count: int) -> Sequence[str]:  # noqa: ARG002 - protocol
        return []

    async def first_lines(self, log_path: str, count: int) -> Sequence[str]:  # noqa: ARG002 - protocol
        return []

    async def sweep(self, living: Sequence[tuple[str, int]], known: Sequence[str]) -> None:
        """There is nothing to sweep."""

    async def tidy(self, living: Sequence[tuple[str, int]]) -> None:
        """There is nothing to tidy."""

    def home(self, instance: str) -> str:
        return f"/simulated/{instance}/home"

    def drop_run(self, instance: str, run: int) -> None:
        """There is nothing to drop."""

    async def forget(self, instance: str) -> None:
        """There is nothing to drop."""

    def runs(self, instance: str) -> Sequence[int]:  # noqa: ARG002 - protocol
        return []


def simulated_edges(
    runtime: FakeRuntime,
    machine: FakeMachine,
    *,
    files: GivenFiles,
    memory: KeptInMemory,
    rng: random.Random,
) -> Edges:
    """Edges for an agent on `runtime`. Keep `memory` (and the runtime) across agents to simulate a
    crash of the agent alone."""
    return Edges(
        prober=FakeProber(runtime),
        meter=FakeMeter(runtime),
        machine=machine,
        ports=FreePorts(),
        files=files,
        memory=memory,
        logs=NoLogs(),
        jitter=rng.random,
    )
