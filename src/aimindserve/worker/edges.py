"""Everything by which the agent touches its machine, as protocols.

The real ones live beside this file; the simulation passes others (`simulated`), and then the agent
opens no socket, starts no thread and reads no clock but the one it was given.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from aimindserve.core.device import Device, Inventory, Usage
from aimindserve.core.facts import ModelRef
from aimindserve.core.launch import Counters, Installation, Probe
from aimindserve.runtimes.base import Handle
from aimindserve.worker.life import Answer
from aimindserve.worker.observed import Counted, FileSeen
from aimindserve.worker.state import AgentState


class Prober(Protocol):
    """Asks engines how they are."""

    async def ask(self, handle: Handle, probe: Probe, *, confirm: bool) -> Answer:
        """One health check. `confirm`: a ready answer counts only when the engine itself, not
        another program, listens on its port."""
        ...


class Meter(Protocol):
    """Asks engines how much they have generated."""

    async def read(self, handle: Handle, counters: Counters) -> Counted | None:
        """What it has counted; None when it does not tell. Raises TimeoutError when it is too busy
        to answer."""
        ...


class Machine(Protocol):
    """Reads the machine, its accelerators through their plugins."""

    async def devices(self, worker: str) -> Mapping[str, Sequence[Device]]:
        """By accelerator plugin, with ids that begin with the worker's name; only those that found
        something."""
        ...

    async def inventory(self, devices: Sequence[Device]) -> Inventory:
        """What there is, with the given devices."""
        ...

    async def installations(self) -> Sequence[Installation]:
        """Engines that are there besides those that come with this program."""
        ...

    async def usage(self, worker: str) -> Usage:
        """What is in use now, devices included."""
        ...

    def oom_kills(self) -> int:
        """How many processes this system has killed for memory since it started."""
        ...

    def address(self, server_url: str) -> str:
        """The address of this machine on the way to the server."""
        ...


class Ports(Protocol):
    """Knows who listens."""

    def taken(self, first: int, last: int) -> frozenset[int]:
        """The ports of the inclusive range on which an engine could not listen."""
        ...


class Files(Protocol):
    """Looks at model files."""

    async def look(self, worker: str, model: ModelRef, before: FileSeen | None) -> FileSeen:
        """What is there now; what did not change since `before` is not read again."""
        ...


class Memory(Protocol):
    """What the agent must not forget when it dies."""

    def lock(self) -> None:
        """Take this worker's directory; raises ConflictError while another agent has it."""
        ...

    def unlock(self) -> None:
        """Give it back."""
        ...

    def load(self) -> AgentState:
        """The state as it was saved last; a fresh one when there is none."""
        ...

    async def save(self, state: AgentState) -> None:
        """Keep it, whole or not at all, before returning."""
        ...


class Logs(Protocol):
    """Where runs write to."""

    def place(self, instance: str, run: int) -> tuple[str, str]:
        """(run directory, log path) of one run."""
        ...

    def size(self, log_path: str) -> int:
        """Bytes written to the present log file."""
        ...

    async def last_lines(self, log_path: str, count: int) -> Sequence[str]:
        """The end of a log, without control characters."""
        ...

    async def first_lines(self, log_path: str, count: int) -> Sequence[str]:
        """The beginning of a log, without control characters."""
        ...

    async def sweep(self, living: Sequence[tuple[str, int]], known: Sequence[str]) -> None:
        """After a crash: remove private directories of runs that do not live, (instance, run), and
        everything of instances that are not known."""
        ...

    async def tidy(self, living: Sequence[tuple[str, int]]) -> None:
        """Rotate logs that have grown, drop those of old runs. `living`: (instance, run)."""
        ...

    def home(self, instance: str) -> str:
        """The directory in which an instance's engine may keep things from one run to the next."""
        ...

    def drop_run(self, instance: str, run: int) -> None:
        """Remove the private directory of a run that is over."""
        ...

    async def forget(self, instance: str) -> None:
        """Remove every private directory of an instance that is not wanted here any more."""
        ...

    def runs(self, instance: str) -> Sequence[int]:
        """Runs of which there is a log, oldest first."""
        ...


@dataclass(frozen=True, slots=True)
class Edges:
    """All of them."""

    prober: Prober
    meter: Meter
    machine: Machine
    ports: Ports
    files: Files
    memory: Memory
    logs: Logs
    jitter: Callable[[], float]
    """A random number from 0 to 1, for pauses."""
