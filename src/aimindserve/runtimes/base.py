"""How a LaunchSpec becomes a living process, and how one is found again after the agent died."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from aimindserve.core.launch import LaunchSpec


@dataclass(frozen=True, slots=True)
class Handle:
    """A process that we started, so exactly named that no other can be taken for it: pid and start
    time identify the process, `token` is the mark it carries in its environment."""

    instance: str
    instance_id: str
    placement_id: str
    rank: int
    run: int
    token: str
    pid: int
    started_at: float
    """The process's start time as the system tells, seconds since the epoch."""
    port: int
    secret: str
    log_path: str


@dataclass(frozen=True, slots=True)
class Running:
    """It lives. All of its tree: resident memory now and at its highest, the part of it that nobody
    else shares, and its processes. Bytes."""

    rss_bytes: int = 0
    peak_bytes: int = 0
    private_bytes: int = 0
    pids: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Exited:
    """It is gone. `code` is the exit code, `signal` the name of the signal that ended it; both None
    when it ended while nobody was its parent."""

    code: int | None = None
    signal: str | None = None


@dataclass(frozen=True, slots=True)
class RunPlace:
    """Where one run of one instance keeps its things, and what names it."""

    instance: str
    instance_id: str
    placement_id: str
    rank: int
    run: int
    run_dir: str
    log_path: str
    secret: str
    home_dir: str = ""
    """Where it may keep things from one run to the next; empty: nowhere but in `run_dir`."""


class Runtime(Protocol):
    """One way to run a LaunchSpec: process, container, fake."""

    name: str

    async def start(self, spec: LaunchSpec, place: RunPlace) -> Handle:
        """Start it; raises UnavailableError with a sentence when it cannot be started."""
        ...

    async def recover(self) -> Sequence[Handle]:
        """Every living process on this machine that carries our mark, after an agent's restart."""
        ...

    async def observe(self, handle: Handle) -> Running | Exited:
        """Whether it lives. Never mistakes another process with the same pid for it."""
        ...

    async def stop(self, handle: Handle, grace_s: float) -> None:
        """Terminate, wait up to `grace_s`, kill the whole tree; returns when nothing of it is left.
        May be called again, and for one that is gone already."""
        ...
