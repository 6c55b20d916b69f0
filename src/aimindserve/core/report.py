"""What a worker tells the server: observations of the world, never wishes."""

from dataclasses import dataclass, replace
from enum import Enum

from aimindserve.core.device import Inventory, Reserved, Usage
from aimindserve.core.facts import ModelFacts
from aimindserve.core.reason import Reason


class RunState(str, Enum):
    """Where an instance stands on its worker, as last seen."""

    WAITING = "waiting"
    """Not started yet: its model file or a port is missing."""
    STARTING = "starting"
    """The process runs and does not answer yet."""
    LOADING = "loading"
    """It answers that it is loading."""
    READY = "ready"
    STOPPING = "stopping"
    BACKOFF = "backoff"
    """It ended and is started again at `next_start`."""
    FAILED = "failed"
    """It ended and is not started again."""


MOVING = ("rss_bytes", "generated_tokens", "generated_s")
"""Fields of an `InstanceObservation` that are news to nobody: no report is sent and nothing is
written for them alone."""


@dataclass(frozen=True, slots=True)
class InstanceObservation:
    """What a worker last saw of one instance. Times in seconds since the epoch."""

    placement_id: str
    state: RunState
    since: float
    port: int = 0
    pid: int = 0
    run: int = 0
    """Counts starts on this worker, from 1."""
    restarts: int = 0
    reason: Reason | None = None
    next_start: float | None = None
    adopted: bool = False
    rss_bytes: int = 0
    ended: Reason | None = None
    """Why the run before this one ended, for as long as that is news: until it has long been ready
    again. A restart that nobody can explain afterwards is the one people complain about."""
    ooms: int = 0
    """How often it ran out of memory in this place; forgotten when it has long been ready."""
    generated_tokens: int | None = 0
    """What its engine counts in this run: tokens that it generated, but for the first of each
    answer, which belongs to the prompt. None while the engine was not asked for it yet; 0 as well
    when it does not count."""
    generated_s: float = 0.0
    """Seconds that this took, those of requests answered side by side added up: divided by it, the
    tokens are what one request gets in a second."""

    def lasting(self) -> "InstanceObservation":
        """Without the numbers that always move: what is news, and worth a write."""
        return replace(self, **dict.fromkeys(MOVING, 0))


class FileState(str, Enum):
    """Where a model file stands on a worker."""

    CHECKING = "checking"
    FETCHING = "fetching"
    READY = "ready"
    MISSING = "missing"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class FileObservation:
    """What a worker knows of one model file. Sizes in bytes."""

    state: FileState
    path: str = ""
    size_bytes: int = 0
    fetched_bytes: int = 0
    facts: ModelFacts | None = None
    reason: Reason | None = None


class Presence(str, Enum):
    """Whether a worker's agent means to stay."""

    HERE = "here"
    LEAVING = "leaving"
    """It ends in order: answers under way are finished, nothing new may be given to it."""
    LEFT = "left"
    """It has ended in order: no engine of ours runs there any more."""


@dataclass(frozen=True, slots=True)
class WorkerObservation:
    """What a worker says of itself."""

    version: str
    host: str
    """The address under which the server reaches it."""
    port: int
    metrics_port: int
    inventory: Inventory
    usage: Usage
    reserved: Reserved
    service_ports: tuple[int, int] = (40000, 40063)
    python: str = ""
    backends: tuple[tuple[str, tuple[str, ...]], ...] | None = None
    """Inference backends that can be started here, each with the versions that are installed; no
    version for those that come with the worker. None: it does not say."""
    presence: Presence = Presence.HERE


@dataclass(frozen=True, slots=True)
class Report:
    """One heartbeat: all that a worker sees, complete. `desired_revision` is what it acted on."""

    desired_revision: int
    worker: WorkerObservation
    instances: tuple[tuple[str, InstanceObservation], ...] = ()
    files: tuple[tuple[str, FileObservation], ...] = ()


@dataclass(frozen=True, slots=True)
class Ack:
    """The server's answer to a report: when to send the next one at the latest."""

    interval_s: float
    revision: int
