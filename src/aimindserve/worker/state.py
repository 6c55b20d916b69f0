"""What the agent must not forget when it dies: who it is, and how far each instance had got.

The processes themselves are kept by the runtime, which writes a record of each before and after its
start. Here is only what a process cannot tell: run numbers, restarts, and how to check its health.
One agent per directory: a lock that the system releases when the agent dies in whatever way.
"""

import asyncio
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import msgspec

from aimindserve.core.errors import ConflictError
from aimindserve.core.launch import Probe
from aimindserve.kit.lockfile import LockFile
from aimindserve.kit.log import get_logger
from aimindserve.kit.secrets import read_or_create, write_private
from aimindserve.worker.link import Identity

log = get_logger("worker")


@dataclass(frozen=True, slots=True)
class KeptCourse:
    """One instance, as far as it matters after a restart of the agent."""

    instance_id: str
    placement_id: str
    runs: int
    restarts: int
    alive: bool
    """Its last run had been started and had not ended."""
    probe: Probe = field(default_factory=Probe)
    grace_s: float = 10.0
    ooms: int = 0


@dataclass(frozen=True, slots=True)
class AgentState:
    """The whole file."""

    machine_id: str
    identity: Identity | None = None
    courses: Mapping[str, KeptCourse] = field(default_factory=dict[str, KeptCourse])


class StateFile:
    """`<root>/state.json` and `<root>/machine-id`, readable by this user only."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._path = root / "state.json"
        self._saving = asyncio.Lock()
        self._lock = LockFile(root / "lock")

    def load(self) -> AgentState:
        """The state as saved last. A file that cannot be read is set aside, never lost."""
        machine_id = read_or_create(self._root / "machine-id", secrets.token_hex(16))
        try:
            state = msgspec.json.decode(self._path.read_bytes(), type=AgentState)
        except FileNotFoundError:
            return AgentState(machine_id)
        except msgspec.DecodeError as error:
            aside = self._path.with_suffix(".broken")
            self._path.replace(aside)
            log.error("state.broken", path=str(aside), error=str(error))
            return AgentState(machine_id)
        return replace(state, machine_id=machine_id)

    async def save(self, state: AgentState) -> None:
        """Keep `state`; on disk before this returns."""
        async with self._saving:
            text = msgspec.json.encode(state).decode()
            await asyncio.to_thread(write_private, self._path, text)

    def lock(self) -> None:
        """Raises ConflictError when another agent works in this directory."""
        self._root.mkdir(parents=True, exist_ok=True, mode=0o700)
        holder = self._lock.take()
        if holder is not None:
            raise ConflictError(
                f"Another worker agent already uses {self._root} (process {holder}).",
                hint="Stop it first, or give this one a --data-dir of its own.",
            )

    def unlock(self) -> None:
        """Let another agent work here."""
        self._lock.release()
