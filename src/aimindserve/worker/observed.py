"""What the agent knows of its machine, as frozen values: the input of every decision.

Three maps: processes that live or may still live, the course each instance has taken so far, and
the model files. Times are monotonic seconds unless a name ends in `_epoch`. No I/O, no clock.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum

from aimindserve.core.facts import ModelRef
from aimindserve.core.launch import Assignment, Probe
from aimindserve.core.reason import Reason
from aimindserve.core.report import FileObservation, FileState
from aimindserve.runtimes.base import Handle


class Health(str, Enum):
    """What an engine's last health checks said."""

    SILENT = "silent"
    """No answer yet since its start."""
    LOADING = "loading"
    """It answers that it is loading."""
    READY = "ready"
    SICK = "sick"
    """It was ready and has missed too many checks."""


@dataclass(frozen=True, slots=True)
class Moment:
    """Now, on both clocks."""

    monotonic: float
    epoch: float


@dataclass(frozen=True, slots=True)
class Counted:
    """What an engine had counted when it was asked."""

    tokens: float = 0.0
    seconds: float = 0.0
    answers: float | None = None
    """None where it does not count them."""


@dataclass(frozen=True, slots=True)
class Pace:
    """What an engine has counted since this agent knows it."""

    answered: int
    """Requests that it had answered when it was asked last."""
    last: Counted | None
    """What it said then; None while it has never said anything to begin from."""
    tokens: float = 0.0
    seconds: float = 0.0
    answers: float = 0.0


@dataclass(frozen=True, slots=True)
class Process:
    """One engine process that was started, here or by an agent before this one."""

    handle: Handle
    probe: Probe
    started: float
    grace_s: float = 10.0
    adopted: bool = False
    health: Health = Health.SILENT
    progress: float = 0.0
    """When it last showed that it gets on with starting."""
    ready_since: float | None = None
    misses: int = 0
    """Health checks missed in a row."""
    missing_since: float | None = None
    checked: float | None = None
    checking: bool = False
    stopping: bool = False
    stop_after: float = 0.0
    """A stop that did not succeed is tried again from then on."""
    gone: Reason | None = None
    """It ended by itself; what is left of its tree must still be cleared away."""
    log_bytes: int = 0
    rss_bytes: int = 0
    peak_bytes: int = 0
    private_bytes: int = 0
    pids: tuple[int, ...] = ()
    """Its whole tree, when it was measured last."""
    reported: tuple[tuple[str, int], ...] | None = None
    """What the engine says it has allocated; None while its log was not read for it."""
    pace: Pace | None = None
    """What it has generated; None while it was not asked."""

    @property
    def token(self) -> str:
        """The name of this very process in all maps."""
        return self.handle.token


@dataclass(frozen=True, slots=True)
class Course:
    """What has happened to one instance on this worker so far."""

    instance_id: str
    placement_id: str
    runs: int = 0
    """Starts so far; the number of the present or last run."""
    restarts: int = 0
    starting_port: int = 0
    """Not zero while a start is under way: the port promised to it."""
    failures: tuple[float, ...] = ()
    """When it failed, newest last; only what still counts."""
    pause_s: float = 0.0
    """The last pause between a failure and the next start, before jitter."""
    next_start: float | None = None
    next_start_epoch: float | None = None
    given_up: bool = False
    reason: Reason | None = None
    """Of the last failure."""
    ooms: int = 0
    """How often it ran out of memory in this place, as far as that still counts."""


@dataclass(frozen=True, slots=True)
class FileSeen:
    """What is known of one model on this worker."""

    observation: FileObservation = field(
        default_factory=lambda: FileObservation(state=FileState.CHECKING)
    )
    signature: tuple[int, int] | None = None
    """(modification time in ns, size): equal means unchanged since it was read."""
    looked: float | None = None
    looking: bool = False


@dataclass(frozen=True, slots=True)
class Observed:
    """Everything `decide` may know."""

    worker: str = ""
    """What the server calls this machine."""

    processes: Mapping[str, Process] = field(default_factory=dict[str, Process])
    """By token."""
    courses: Mapping[str, Course] = field(default_factory=dict[str, Course])
    """By instance name."""
    files: Mapping[ModelRef, FileSeen] = field(default_factory=dict[ModelRef, FileSeen])
    ports: tuple[int, int] = (40000, 40063)
    """Inclusive range for engines."""
    taken: frozenset[int] = frozenset()
    """Ports of the range that somebody listens on."""
    held: Mapping[str, Reason] = field(default_factory=dict[str, Reason])
    """Instance -> why its first process must not be started now: others of it are not ready."""


def belongs(process: Process, assignment: Assignment) -> bool:
    """Whether `process` runs this very placement of this very instance."""
    handle = process.handle
    return (
        handle.instance == assignment.instance
        and handle.instance_id == assignment.instance_id
        and handle.placement_id == assignment.placement.id
    )


def follows(course: Course, assignment: Assignment) -> bool:
    """Whether `course` is about this very placement of this very instance."""
    return (
        course.instance_id == assignment.instance_id
        and course.placement_id == assignment.placement.id
    )


def kept(assignment: Assignment, processes: Mapping[str, Process]) -> Process | None:
    """The one process that may run for `assignment`; every other one of its name is surplus.

    Among several (an agent died at a bad moment) the most useful stays: alive, ready, newest.
    """
    mine = [process for process in processes.values() if belongs(process, assignment)]
    if not mine:
        return None
    return max(
        mine,
        key=lambda process: (
            process.gone is None and not process.stopping,
            process.health is Health.READY,
            process.handle.run,
            process.handle.started_at,
            process.token,
        ),
    )
