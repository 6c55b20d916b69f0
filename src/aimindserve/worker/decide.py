"""What to do next: a pure function from what is wanted and what is seen to a list of actions.

Safety that the tests hold it to: never a start while any process of that instance may live, never
two starts on one port, never a second action for something that is under way, and everything that
carries our mark and is not wanted is stopped. It knows nothing of clocks, files or processes.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from aimindserve.core.facts import ModelRef
from aimindserve.core.launch import Assignment, DesiredSet
from aimindserve.core.reason import Reason
from aimindserve.core.report import FileState
from aimindserve.kit.units import format_duration
from aimindserve.worker.observed import (
    Course,
    FileSeen,
    Health,
    Observed,
    Process,
    follows,
    kept,
)

LOOK_AGAIN_S = 30.0
LOOK_AGAIN_MISSING_S = 5.0
SICK_LIMIT_S = 60.0
MISSED_INTERVAL_S = 0.5
"""After a missed health check the next one comes sooner, so that trouble is known within 15 s."""


@dataclass(frozen=True, slots=True)
class Start:
    """Start a process for `assignment`; it will listen on `port`."""

    assignment: Assignment
    run: int
    port: int


@dataclass(frozen=True, slots=True)
class Stop:
    """End a process and everything that descends from it.

    `failure` says why the run counts as failed; None when it is simply not wanted any more.
    """

    process: Process
    grace_s: float
    failure: Reason | None = None
    restart_on_error: bool = True


@dataclass(frozen=True, slots=True)
class Check:
    """See whether a process lives and what its health check says."""

    process: Process


@dataclass(frozen=True, slots=True)
class Look:
    """See whether a model's files are there, and read their header if they changed."""

    model: ModelRef


@dataclass(frozen=True, slots=True)
class Forget:
    """Drop what is known of an instance that is neither wanted nor running."""

    instance: str


Work = Start | Stop | Check | Look
"""What takes a while and ends in an event."""

Action = Work | Forget


def decide(desired: DesiredSet, observed: Observed, now: float) -> tuple[Action, ...]:
    """Everything that is due at `now` (monotonic seconds)."""
    return (
        *_stops(desired, observed, now),
        *_checks(desired, observed, now),
        *_starts(desired, observed, now),
        *_looks(desired, observed, now),
        *_forgets(desired, observed),
    )


def attend(observed: Observed, now: float) -> tuple[Check, ...]:
    """What is due before the desired set is known: look after what runs, start and stop nothing."""
    return tuple(
        Check(process)
        for process in observed.processes.values()
        if not process.stopping and process.gone is None and _check_due(process) <= now
    )


def next_time(desired: DesiredSet | None, observed: Observed, now: float) -> float | None:
    """When after `now` there may be something new to do though nothing else happened."""
    times = [
        when
        for process in observed.processes.values()
        for when in _process_times(process, known=desired is not None)
    ]
    if desired is not None:
        for assignment in desired.instances:
            course = observed.courses.get(assignment.instance)
            if course is not None and course.next_start is not None and not course.given_up:
                times.append(course.next_start)
        for model in _models(desired):
            seen = observed.files.get(model)
            if seen is not None and seen.looked is not None and not seen.looking:
                times.append(_look_due(seen))
    return min((when for when in times if when > now), default=None)


def choose_port(observed: Observed, promised: frozenset[int]) -> int | None:
    """The lowest port of the range that nobody uses, listens on, or was promised."""
    used = {process.handle.port for process in observed.processes.values()}
    used.update(course.starting_port for course in observed.courses.values())
    first, last = observed.ports
    for port in range(first, last + 1):
        if port not in used and port not in observed.taken and port not in promised:
            return port
    return None


def may_start(assignment: Assignment, observed: Observed, now: float) -> bool:
    """Whether nothing but a port is missing for a start of `assignment`."""
    if any(p.handle.instance == assignment.instance for p in observed.processes.values()):
        return False
    if assignment.instance in observed.held or not _has_files(assignment, observed):
        return False
    course = observed.courses.get(assignment.instance)
    if course is None:
        return True
    if course.starting_port:
        return False
    if not follows(course, assignment):
        return True
    return not course.given_up and (course.next_start is None or course.next_start <= now)


def _has_files(assignment: Assignment, observed: Observed) -> bool:
    if assignment.placement.lends(observed.worker):
        return True
    seen = observed.files.get(assignment.model)
    return seen is not None and seen.observation.state is FileState.READY


def _stops(desired: DesiredSet, observed: Observed, now: float) -> Iterator[Stop]:
    wanted = {assignment.instance: assignment for assignment in desired.instances}
    for process in observed.processes.values():
        if process.stopping or process.stop_after > now:
            continue
        assignment = wanted.get(process.handle.instance)
        if assignment is None or kept(assignment, observed.processes) is not process:
            yield Stop(process, 0.0 if process.gone else process.grace_s)
            continue
        failure = process.gone or _overdue(process, now)
        if failure is not None:
            grace_s = 0.0 if process.gone or process.health is Health.SICK else process.grace_s
            yield Stop(process, grace_s, failure, assignment.restart_on_error)


def _overdue(process: Process, now: float) -> Reason | None:
    """Why a living process has had its chance."""
    name = process.handle.instance
    if process.health is Health.SICK:
        if process.missing_since is not None and now - process.missing_since >= SICK_LIMIT_S:
            waited = format_duration(now - process.missing_since)
            return Reason("unhealthy", {"time": waited, "name": name})
        return None
    limit_s = process.probe.startup_timeout_s
    if process.health is not Health.READY and now - process.progress >= limit_s:
        return Reason(
            "start_timeout",
            {"timeout": format_duration(limit_s), "stage": process.health.value, "name": name},
        )
    return None


def _checks(desired: DesiredSet, observed: Observed, now: float) -> Iterator[Check]:
    stopped = {action.process.token for action in _stops(desired, observed, now)}
    for action in attend(observed, now):
        if action.process.token not in stopped:
            yield action


def _starts(desired: DesiredSet, observed: Observed, now: float) -> Iterator[Start]:
    promised: frozenset[int] = frozenset()
    for assignment in desired.instances:
        if not may_start(assignment, observed, now):
            continue
        port = choose_port(observed, promised)
        if port is None:
            return
        promised |= {port}
        yield Start(assignment, _next_run(observed.courses.get(assignment.instance)), port)


def _next_run(course: Course | None) -> int:
    return 1 if course is None else course.runs + 1


def _looks(desired: DesiredSet, observed: Observed, now: float) -> Iterator[Look]:
    for model in _models(desired):
        seen = observed.files.get(model)
        if seen is None or (not seen.looking and _look_due(seen) <= now):
            yield Look(model)


def _forgets(desired: DesiredSet, observed: Observed) -> Iterator[Forget]:
    busy = {process.handle.instance for process in observed.processes.values()}
    busy.update(assignment.instance for assignment in desired.instances)
    for instance, course in observed.courses.items():
        if instance not in busy and not course.starting_port:
            yield Forget(instance)


def _models(desired: DesiredSet) -> tuple[ModelRef, ...]:
    """Every model that somebody asks about, each once, in order."""
    models = [file.model for file in desired.files]
    models.extend(
        assignment.model
        for assignment in desired.instances
        if not assignment.placement.lends(desired.worker)
    )
    return tuple(dict.fromkeys(models))


def _look_due(seen: FileSeen) -> float:
    if seen.looked is None:
        return 0.0
    found = seen.observation.state is FileState.READY
    return seen.looked + (LOOK_AGAIN_S if found else LOOK_AGAIN_MISSING_S)


def _check_due(process: Process) -> float:
    if process.checking:
        return float("inf")
    if process.checked is None:
        return 0.0
    if process.health is Health.READY:
        pause_s = MISSED_INTERVAL_S if process.misses else process.probe.interval_s
    elif process.health is Health.SICK:
        pause_s = process.probe.interval_s
    else:
        pause_s = process.probe.startup_interval_s
    return process.checked + pause_s


def _process_times(process: Process, *, known: bool) -> Iterator[float]:
    if process.stopping:
        return
    if known and process.stop_after:
        yield process.stop_after
    if process.gone is None and not process.checking:
        yield _check_due(process)
    if known and process.health is Health.SICK and process.missing_since is not None:
        yield process.missing_since + SICK_LIMIT_S
    elif known and process.health in {Health.SILENT, Health.LOADING}:
        yield process.progress + process.probe.startup_timeout_s
