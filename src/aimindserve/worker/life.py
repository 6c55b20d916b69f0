"""How what is known changes when something happens: pure transitions of courses and processes.

WAITING -start-> STARTING -answers-> READY -misses-> SICK -60 s-> stopped
                    |  ends              |  ends                     |
                    +--------> BACKOFF <-+---------------------------+
                                | 1, 2, 4 ... 60 s, then start again
                                +--> given up (not retryable, or restarts are off)
"""

from dataclasses import dataclass, replace
from enum import Enum

from aimindserve.core.reason import OUT_OF_MEMORY, Reason, text
from aimindserve.kit.units import format_duration
from aimindserve.worker.decide import Start
from aimindserve.worker.observed import Course, Health, Moment, Process

PAUSE_FIRST_S = 1.0
PAUSE_LIMIT_S = 60.0
STABLE_S = 600.0
"""Ready for this long: what failed before does not count any more."""
LOOP_WINDOW_S = 600.0
LOOP_FAILURES = 5
FAILURES_KEPT = 32
STOP_AGAIN_S = 5.0


class Answer(str, Enum):
    """What a health check found."""

    READY = "ready"
    LOADING = "loading"
    SILENT = "silent"
    """Nobody listens, no answer in time, or one that means nothing."""
    FOREIGN = "foreign"
    """Somebody else's process listens on the engine's port."""


@dataclass(frozen=True, slots=True)
class Failure:
    """A run that ended badly."""

    reason: Reason
    restart_on_error: bool = True


def begin(course: Course | None, action: Start) -> Course:
    """A start is under way. Run numbers go on across placements, so that logs never collide."""
    wanted = action.assignment
    fresh = Course(wanted.instance_id, wanted.placement.id)
    if course is not None and (course.instance_id, course.placement_id) == (
        wanted.instance_id,
        wanted.placement.id,
    ):
        fresh = replace(course, next_start=None, next_start_epoch=None)
    return replace(fresh, runs=action.run, starting_port=action.port)


def fail(course: Course, failure: Failure, at: Moment, jitter: float) -> Course:
    """The present run failed. `jitter` is a random number from 0 to 1.

    A retryable failure is tried again after 1, 2, 4 … 60 s, each varied by a fifth either way, so
    that a hundred engines felled by one cause do not come back in one instant.
    """
    reason = failure.reason
    past = (t for t in course.failures if at.monotonic - t <= LOOP_WINDOW_S)
    recent = (*past, at.monotonic)[-FAILURES_KEPT:]
    ooms = course.ooms + (reason.code in OUT_OF_MEMORY)
    ended = replace(course, starting_port=0, failures=recent, reason=reason, ooms=ooms)
    if not text(reason.code).retryable:
        return _give_up(ended, reason)
    if not failure.restart_on_error:
        return _give_up(ended, _restart_off(reason))
    pause_s = min(PAUSE_LIMIT_S, max(PAUSE_FIRST_S, course.pause_s * 2))
    wait_s = pause_s * (0.8 + 0.4 * jitter)
    if len(recent) >= LOOP_FAILURES:
        reason = _crash_loop(reason, len(recent), wait_s)
    return replace(
        ended,
        restarts=course.restarts + 1,
        pause_s=pause_s,
        next_start=at.monotonic + wait_s,
        next_start_epoch=at.epoch + wait_s,
        reason=reason,
    )


def settle(process: Process, at: Moment, answer: Answer) -> Process:
    """A health check of a living process came back."""
    seen = replace(process, checking=False, checked=at.monotonic)
    if answer is Answer.READY:
        return _ready(seen, at)
    if answer is Answer.FOREIGN:
        return replace(seen, gone=_foreign(process))
    if seen.health in {Health.READY, Health.SICK}:
        return _missed(seen, at)
    if answer is Answer.LOADING and seen.health is Health.SILENT:
        return replace(seen, health=Health.LOADING, progress=at.monotonic)
    return seen


def grown(process: Process, at: Moment, *, log_bytes: int, rss_bytes: int) -> Process:
    """Its log or memory was measured: growth is a sign that a slow start gets on."""
    moved = log_bytes != process.log_bytes or abs(rss_bytes - process.rss_bytes) >= 1024**2
    return replace(
        process,
        log_bytes=log_bytes,
        rss_bytes=rss_bytes,
        progress=at.monotonic if moved else process.progress,
    )


def stuck(process: Process, at: Moment) -> Process:
    """A stop did not succeed: it is tried again, and until then the process counts as alive."""
    return replace(process, stopping=False, stop_after=at.monotonic + STOP_AGAIN_S)


def calm(course: Course, process: Process, at: Moment) -> Course:
    """Ready for long without a break: what failed before does not count any more."""
    since = process.ready_since
    if since is None or at.monotonic - since < STABLE_S or not course.pause_s:
        return course
    return replace(course, failures=(), pause_s=0.0, reason=None, ooms=0)


def _ready(process: Process, at: Moment) -> Process:
    since = process.ready_since if process.health is Health.READY else at.monotonic
    return replace(process, health=Health.READY, ready_since=since, misses=0, missing_since=None)


def _missed(process: Process, at: Moment) -> Process:
    since = at.monotonic if process.missing_since is None else process.missing_since
    misses = process.misses + 1
    sick = misses >= process.probe.failure_threshold
    return replace(
        process,
        misses=misses,
        missing_since=since,
        health=Health.SICK if sick else process.health,
        ready_since=None if sick else process.ready_since,
    )


def _give_up(course: Course, reason: Reason) -> Course:
    return replace(course, given_up=True, reason=reason, next_start=None, next_start_epoch=None)


def _restart_off(reason: Reason) -> Reason:
    status = str(reason.params.get("status") or reason.params.get("signal") or reason.message)
    params = {**reason.params, "status": status, "cause": reason.code}
    return Reason("restart_off", params, reason.evidence)


def _crash_loop(reason: Reason, count: int, wait_s: float) -> Reason:
    params = {
        **reason.params,
        "count": count,
        "pause": format_duration(wait_s),
        "cause": reason.code,
        "cause_message": reason.message,
    }
    return Reason("crash_loop", params, reason.evidence)


def _foreign(process: Process) -> Reason:
    detail = f"another program listens on port {process.handle.port}"
    return Reason("launch_failed", {"detail": detail, "name": process.handle.instance})
