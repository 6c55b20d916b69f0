"""What is told to the server, derived from what is known. Pure; the report is always complete.

Things that were reported before are reported again as they were (`since`, `next_start`) as long as
the state is the same, so that an unchanged world makes an unchanged report.
"""

from collections.abc import Mapping
from dataclasses import replace

from aimindserve.core.launch import Assignment, DesiredSet
from aimindserve.core.reason import Reason
from aimindserve.core.report import (
    FileObservation,
    FileState,
    InstanceObservation,
    RunState,
)
from aimindserve.kit.units import format_duration
from aimindserve.worker.decide import choose_port, may_start
from aimindserve.worker.observed import (
    Course,
    FileSeen,
    Health,
    Moment,
    Observed,
    Process,
    follows,
    kept,
)
from aimindserve.worker.pace import generated

Instances = tuple[tuple[str, InstanceObservation], ...]
Files = tuple[tuple[str, FileObservation], ...]

_BY_HEALTH = {
    Health.SILENT: RunState.STARTING,
    Health.LOADING: RunState.LOADING,
    Health.READY: RunState.READY,
    Health.SICK: RunState.STARTING,
}


def instances(
    worker: str,
    desired: DesiredSet | None,
    observed: Observed,
    before: Mapping[str, InstanceObservation],
    at: Moment,
) -> Instances:
    """One observation per instance that is wanted here or of which something still lives."""
    seen = dict(_leftovers(desired, observed))
    for assignment in () if desired is None else desired.instances:
        seen[assignment.instance] = _wanted(worker, assignment, observed, at)
    return tuple(
        (name, _settled(observation, before.get(name), at))
        for name, observation in sorted(seen.items())
    )


def files(desired: DesiredSet | None, observed: Observed) -> Files:
    """One observation per model file that the server asks about."""
    if desired is None:
        return ()
    return tuple(
        (file.name, observed.files.get(file.model, FileSeen()).observation)
        for file in desired.files
    )


def ending(own: Instances) -> Instances:
    """`own` as it is told once the agent takes its engines along: nobody is to ask them more."""
    return tuple((name, replace(seen, state=RunState.STOPPING)) for name, seen in own)


def essence(told: tuple[Instances, Files]) -> tuple[Instances, Files]:
    """`told` without what changes all the time: when this differs, the server must hear at once."""
    own, held = told
    return (
        tuple((name, seen.lasting()) for name, seen in own),
        tuple((name, replace(seen, fetched_bytes=0)) for name, seen in held),
    )


def _leftovers(
    desired: DesiredSet | None, observed: Observed
) -> list[tuple[str, InstanceObservation]]:
    """Processes nobody wants: still ending. Before the desired set is known, they simply run."""
    told: list[tuple[str, InstanceObservation]] = []
    for process in observed.processes.values():
        course = observed.courses.get(process.handle.instance)
        seen = _running(process, course)
        if desired is not None:
            seen = replace(seen, state=RunState.STOPPING, reason=None)
        told.append((process.handle.instance, seen))
    return told


def _wanted(
    worker: str, assignment: Assignment, observed: Observed, at: Moment
) -> InstanceObservation:
    course = observed.courses.get(assignment.instance)
    if course is not None and not follows(course, assignment):
        course = None
    process = kept(assignment, observed.processes)
    if process is not None:
        return _running(process, course)
    idle = InstanceObservation(
        placement_id=assignment.placement.id,
        state=RunState.WAITING,
        since=at.epoch,
        run=course.runs if course else 0,
        restarts=course.restarts if course else 0,
        reason=course.reason if course else None,
        ooms=course.ooms if course else 0,
    )
    if course is not None and course.starting_port:
        return replace(idle, state=RunState.STARTING, port=course.starting_port)
    if course is not None and course.given_up:
        return replace(idle, state=RunState.FAILED)
    if course is not None and course.next_start is not None and course.next_start > at.monotonic:
        return replace(idle, state=RunState.BACKOFF, next_start=course.next_start_epoch)
    return replace(idle, reason=_waits_for(worker, assignment, observed, at) or idle.reason)


def _running(process: Process, course: Course | None) -> InstanceObservation:
    handle = process.handle
    ending = process.stopping or process.gone is not None
    reason = course.reason if course is not None else None
    if process.health is Health.SICK:
        missed_s = process.probe.failure_threshold * process.probe.interval_s
        reason = Reason("unhealthy", {"time": format_duration(missed_s), "name": handle.instance})
    elif process.health is Health.READY:
        reason = None
    tokens, seconds = generated(process)
    return InstanceObservation(
        placement_id=handle.placement_id,
        state=RunState.STOPPING if ending else _BY_HEALTH[process.health],
        since=handle.started_at,
        port=handle.port,
        pid=handle.pid,
        run=handle.run,
        restarts=course.restarts if course is not None else 0,
        reason=process.gone or reason,
        adopted=process.adopted,
        rss_bytes=process.rss_bytes,
        ended=course.reason if course is not None else None,
        ooms=course.ooms if course is not None else 0,
        generated_tokens=tokens,
        generated_s=seconds,
    )


def _waits_for(
    worker: str, assignment: Assignment, observed: Observed, at: Moment
) -> Reason | None:
    seen = observed.files.get(assignment.model)
    if not assignment.placement.lends(worker):
        if seen is None or seen.observation.state in {FileState.CHECKING, FileState.FETCHING}:
            return Reason("file_checking", {"worker": worker})
        if seen.observation.state is not FileState.READY:
            return seen.observation.reason
    if assignment.instance in observed.held:
        return observed.held[assignment.instance]
    ready = may_start(assignment, observed, at.monotonic)
    if ready and choose_port(observed, frozenset()) is None:
        first, last = observed.ports
        return Reason("port_exhausted", {"worker": worker, "range": f"{first}-{last}"})
    return None


def _settled(
    seen: InstanceObservation, before: InstanceObservation | None, at: Moment
) -> InstanceObservation:
    """`seen` with the time since when it is so."""
    same = (
        before is not None
        and before.state is seen.state
        and before.placement_id == seen.placement_id
        and before.run == seen.run
    )
    return replace(seen, since=before.since if same and before is not None else at.epoch)
