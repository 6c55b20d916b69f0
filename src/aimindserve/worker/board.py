"""The agent's one mutable thing: what is known, changed only by marking an action as under way and
by applying the event it ends with. No I/O; every transition itself is pure and lives in `life`.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType

from aimindserve.core.facts import ModelRef
from aimindserve.core.launch import Probe
from aimindserve.core.reason import Reason
from aimindserve.runtimes.base import Handle, Running
from aimindserve.worker import life
from aimindserve.worker.decide import Action, Check, Look, Start, Stop
from aimindserve.worker.observed import Course, FileSeen, Moment, Observed, Pace, Process

FILES_KEPT = 1000


@dataclass(frozen=True, slots=True)
class Started:
    """A process was started."""

    action: Start
    handle: Handle
    probe: Probe
    grace_s: float


@dataclass(frozen=True, slots=True)
class NotStarted:
    """A start failed and nothing of it lives."""

    action: Start
    reason: Reason


@dataclass(frozen=True, slots=True)
class Stopped:
    """Nothing of a process is left. `failure` as in the action, now with its evidence."""

    action: Stop
    failure: Reason | None = None


@dataclass(frozen=True, slots=True)
class NotStopped:
    """Something of a process is still there."""

    action: Stop


@dataclass(frozen=True, slots=True)
class Checked:
    """A process was looked at: either it is `gone`, or its health check gave `answer`."""

    action: Check
    answer: life.Answer = life.Answer.SILENT
    gone: Reason | None = None
    log_bytes: int = 0
    alive: Running = field(default_factory=Running)
    reported: tuple[tuple[str, int], ...] | None = None
    """As in `Process`; None: not read this time."""


@dataclass(frozen=True, slots=True)
class Looked:
    """A model was looked at."""

    action: Look
    seen: FileSeen


Event = Started | NotStarted | Stopped | NotStopped | Checked | Looked


class Board:
    """What is known; read through `snapshot`."""

    def __init__(self, ports: tuple[int, int]) -> None:
        self._ports = ports
        self._processes: dict[str, Process] = {}
        self._courses: dict[str, Course] = {}
        self._files: dict[ModelRef, FileSeen] = {}

    def snapshot(self, taken: frozenset[int] = frozenset()) -> Observed:
        """Everything, frozen. `taken` are the ports somebody listens on."""
        return Observed(
            processes=dict(self._processes),
            courses=dict(self._courses),
            files=dict(self._files),
            ports=self._ports,
            taken=taken,
        )

    @property
    def processes(self) -> Mapping[str, Process]:
        """A live view by token."""
        return MappingProxyType(self._processes)

    @property
    def courses(self) -> Mapping[str, Course]:
        """A live view by instance."""
        return MappingProxyType(self._courses)

    @property
    def files(self) -> Mapping[ModelRef, FileSeen]:
        """A live view by model."""
        return MappingProxyType(self._files)

    def going(self, instance: str, run: int) -> bool:
        """Whether this run of this instance starts or lives."""
        course = self._courses.get(instance)
        if course is not None and course.starting_port and course.runs == run:
            return True
        handles = (process.handle for process in self._processes.values())
        return any(handle.instance == instance and handle.run == run for handle in handles)

    def adopt(self, process: Process) -> None:
        """A process that an agent before this one started."""
        self._processes[process.token] = process

    def remember(self, instance: str, course: Course) -> None:
        """What an agent before this one knew."""
        self._courses[instance] = course

    def suspect(self, token: str) -> None:
        """Somebody found a process wanting: it is checked at the next step."""
        process = self._processes.get(token)
        if process is not None:
            self._processes[token] = replace(process, checked=None)

    def paced(self, token: str, change: Callable[[Process], Pace]) -> None:
        """A process has told what it counts; `change` makes its pace of it."""
        process = self._processes.get(token)
        if process is not None:
            self._processes[token] = replace(process, pace=change(process))

    def lose(self, instance: str, placement_id: str, reason: Reason) -> None:
        """What an instance's process cannot do without is gone: it counts as ended, and what is
        left of it is cleared away."""
        for token, process in list(self._processes.items()):
            handle = process.handle
            mine = (handle.instance, handle.placement_id) == (instance, placement_id)
            if mine and process.gone is None and not process.stopping:
                self._processes[token] = replace(process, gone=reason)

    def mark(self, action: Action) -> None:
        """`action` is under way; `decide` will not ask for it again until it ends. Forgetting is
        done with this: were it put off, it could hit the next life of the instance."""
        if isinstance(action, Start):
            name = action.assignment.instance
            self._courses[name] = life.begin(self._courses.get(name), action)
        elif isinstance(action, Stop):
            self._change(action.process.token, stopping=True)
        elif isinstance(action, Check):
            self._change(action.process.token, checking=True)
        elif isinstance(action, Look):
            seen = self._files.get(action.model, FileSeen())
            self._files[action.model] = replace(seen, looking=True)
        else:
            self._courses.pop(action.instance, None)

    def apply(self, event: Event, at: Moment, jitter: float) -> None:
        """Something came to its end."""
        if isinstance(event, Started):
            self._started(event, at)
        elif isinstance(event, NotStarted):
            restart = event.action.assignment.restart_on_error
            failure = life.Failure(event.reason, restart_on_error=restart)
            self._failed(event.action.assignment.instance, failure, at, jitter)
        elif isinstance(event, Stopped):
            self._stopped(event, at, jitter)
        elif isinstance(event, NotStopped):
            token = event.action.process.token
            self._processes[token] = life.stuck(self._processes[token], at)
        elif isinstance(event, Checked):
            self._checked(event, at)
        else:
            self._looked(event, at)

    def _started(self, event: Started, at: Moment) -> None:
        name = event.action.assignment.instance
        process = Process(
            handle=event.handle,
            probe=event.probe,
            grace_s=event.grace_s,
            started=at.monotonic,
            progress=at.monotonic,
        )
        self._processes[process.token] = process
        if name in self._courses:
            self._courses[name] = replace(self._courses[name], starting_port=0)

    def _failed(self, instance: str, failure: life.Failure, at: Moment, jitter: float) -> None:
        course = self._courses.get(instance)
        if course is not None:
            self._courses[instance] = life.fail(course, failure, at, jitter)

    def _stopped(self, event: Stopped, at: Moment, jitter: float) -> None:
        handle = event.action.process.handle
        self._processes.pop(handle.token, None)
        course = self._courses.get(handle.instance)
        same = course is not None and course.placement_id == handle.placement_id
        if event.failure is not None and same:
            failure = life.Failure(event.failure, event.action.restart_on_error)
            self._failed(handle.instance, failure, at, jitter)

    def _checked(self, event: Checked, at: Moment) -> None:
        process = self._processes.get(event.action.process.token)
        if process is None:
            return
        if event.gone is not None:
            seen = replace(process, checking=False, checked=at.monotonic, gone=event.gone)
        else:
            alive = event.alive
            grown = life.grown(process, at, log_bytes=event.log_bytes, rss_bytes=alive.rss_bytes)
            measured = replace(
                grown,
                peak_bytes=max(alive.peak_bytes, process.peak_bytes),
                private_bytes=alive.private_bytes,
                pids=alive.pids,
                reported=process.reported if event.reported is None else event.reported,
            )
            seen = life.settle(measured, at, event.answer)
        self._processes[process.token] = seen
        course = self._courses.get(process.handle.instance)
        if course is not None:
            self._courses[process.handle.instance] = life.calm(course, seen, at)

    def _looked(self, event: Looked, at: Moment) -> None:
        seen = replace(event.seen, looking=False, looked=at.monotonic)
        self._files.pop(event.action.model, None)
        self._files[event.action.model] = seen
        while len(self._files) > FILES_KEPT:
            self._files.pop(next(iter(self._files)))

    def _change(self, token: str, **marks: bool) -> None:
        self._processes[token] = replace(self._processes[token], **marks)
