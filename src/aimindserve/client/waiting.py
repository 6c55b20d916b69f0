"""Whether a deployment is ready, on its way, or will not get there: judged from watch events. Pure.

    events ─▶ Waiting.apply ─▶ Waiting.progress(now) ─▶ pending | ready | failed | unschedulable

An instance that is tried again and again is judged failed after a few starts: nobody wants to wait
for the hundredth. Being refused is judged final only after a moment, for the first decision is
often made before a worker has looked at the model file.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

from aimindserve.client.errors import (
    CannotScheduleError,
    TargetFailedError,
    WaitError,
    WaitTimeoutError,
)
from aimindserve.client.objects import AnyObject, Event
from aimindserve.core.errors import NotFoundError
from aimindserve.kit.units import format_duration

SETTLE_S = 3.0
JOINING_S = 15.0
RESTARTS_MAX = 3
_ON_THEIR_WAY = frozenset({"file_checking"})
_JOINING = frozenset({"no_worker", "worker_not_ready", "worker_lost", "worker_left"})
"""A server that has just started has no worker for a moment."""


class Outcome(Enum):
    """Where waiting stands."""

    PENDING = "pending"
    READY = "ready"
    FAILED = "failed"
    UNSCHEDULABLE = "unschedulable"
    GONE = "gone"


@dataclass(frozen=True, slots=True)
class Stage:
    """How far one instance is. `reason` is the API's: code, params, message, fix."""

    instance: str
    phase: str
    worker: str = ""
    reason: Mapping[str, Any] | None = None
    restarts: int = 0


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a deployment is."""

    outcome: Outcome
    ready: int = 0
    wanted: int = 0
    stages: Sequence[Stage] = ()
    culprit: Stage | None = None
    """The instance that decided about FAILED or UNSCHEDULABLE."""


@dataclass(slots=True)
class Waiting:
    """What is known of one deployment and its instances, event by event."""

    deployment: str
    generation: int = 0
    """Wait for this generation of the spec or a later one."""
    settle_s: float = SETTLE_S
    _object: AnyObject | None = None
    _instances: dict[str, AnyObject] = field(default_factory=dict[str, AnyObject])
    _complete: bool = False
    _refused_since: float | None = None

    def apply(self, event: Event) -> None:
        """Take note of one event."""
        if event.type == "RESYNC":
            self._object, self._complete = None, False
            self._instances.clear()
        elif event.type == "BOOKMARK":
            self._complete = True
        elif event.object is not None:
            self._note(event.object, gone=event.type == "DELETED")

    @property
    def object(self) -> AnyObject | None:
        """The deployment as last seen."""
        return self._object

    @property
    def instances(self) -> Sequence[AnyObject]:
        """Its instances as last seen, by name."""
        return tuple(one for _, one in sorted(self._instances.items()))

    def progress(self, now: float) -> Progress:
        """The verdict at `now` (seconds of a clock that never goes back)."""
        if self._object is None:
            return Progress(Outcome.GONE if self._complete else Outcome.PENDING)
        spec, status = self._object.document["spec"], self._object.document["status"]
        stages = tuple(_stage(one) for one in self.instances)
        wanted, ready = int(spec["replicas"]), int(status.get("ready_replicas") or 0)
        outcome, culprit = Outcome.PENDING, None
        if self._current() and ready >= wanted and int(status.get("replicas") or 0) == wanted:
            outcome = Outcome.READY
        else:
            outcome, culprit = self._trouble(stages, now)
        return Progress(outcome, ready, wanted, stages, culprit)

    def _note(self, found: AnyObject, *, gone: bool) -> None:
        if found.of.name == "deployment" and found.name == self.deployment:
            self._object = None if gone else found
            self._complete = self._complete or gone
        elif found.of.name == "instance":
            if gone:
                self._instances.pop(found.name, None)
            elif found.document["spec"].get("deployment") == self.deployment:
                self._instances[found.name] = found

    def _current(self) -> bool:
        """Whether the controllers have seen the spec we wait for."""
        if self._object is None:
            return False
        generation = int(self._object.metadata.get("generation") or 0)
        seen = int(self._object.document["status"].get("observed_generation") or 0)
        return generation >= self.generation and seen >= generation

    def _trouble(self, stages: Sequence[Stage], now: float) -> tuple[Outcome, Stage | None]:
        failed = next((stage for stage in stages if _is_failed(stage)), None)
        if failed is not None:
            return Outcome.FAILED, failed
        refused = next((stage for stage in stages if _is_refused(stage)), None)
        if refused is None:
            self._refused_since = None
            return Outcome.PENDING, None
        if self._refused_since is None:
            self._refused_since = now
        joining = bool(_codes(refused) & _JOINING)
        settled = now - self._refused_since >= (JOINING_S if joining else self.settle_s)
        return (Outcome.UNSCHEDULABLE, refused) if settled else (Outcome.PENDING, None)


def _stage(instance: AnyObject) -> Stage:
    status = instance.document["status"]
    placement: Mapping[str, Any] = status.get("placement") or {}
    observed: Mapping[str, Any] = status.get("observed") or {}
    ranks: Sequence[Mapping[str, Any]] = placement.get("ranks") or [{}]
    return Stage(
        instance=instance.name,
        phase=instance.phase,
        worker=str(ranks[0].get("worker") or ""),
        reason=status.get("reason"),
        restarts=int(observed.get("restarts") or 0),
    )


def _is_failed(stage: Stage) -> bool:
    if stage.phase == "failed":
        return True
    return stage.phase == "backoff" and stage.restarts >= RESTARTS_MAX


def _is_refused(stage: Stage) -> bool:
    return stage.phase == "waiting" and not _codes(stage) & _ON_THEIR_WAY


def _codes(stage: Stage) -> set[str]:
    """The codes of a stage's reason: a summary names those of all workers in `counts`."""
    reason: Mapping[str, Any] = stage.reason or {}
    params: Mapping[str, Any] = reason.get("params") or {}
    counts: Mapping[str, int] = params.get("counts") or {}
    return {str(reason.get("code") or ""), *counts}


def check(deployment: str, progress: Progress) -> None:
    """Raise what a verdict that is neither PENDING nor READY means."""
    if progress.outcome is Outcome.GONE:
        raise NotFoundError(
            f"There is no deployment called {deployment!r}.", params={"name": deployment}
        )
    kinds = {Outcome.FAILED: TargetFailedError, Outcome.UNSCHEDULABLE: CannotScheduleError}
    kind = kinds.get(progress.outcome)
    if kind is not None:
        raise _because(kind, deployment, progress)


def timed_out(deployment: str, progress: Progress, timeout_s: float) -> WaitTimeoutError:
    """The exception for time that ran out."""
    time = format_duration(timeout_s)
    return WaitTimeoutError(
        f"{deployment} is not ready after {time}: "
        f"{progress.ready} of {progress.wanted} instances answer.",
        hint="The work goes on; look again with: aimindserve describe " + deployment,
        params={
            "name": deployment,
            "time": time,
            "ready": progress.ready,
            "wanted": progress.wanted,
        },
    )


def _because(kind: type[WaitError], deployment: str, progress: Progress) -> WaitError:
    culprit = progress.culprit
    reason: Mapping[str, Any] = (culprit.reason if culprit else None) or {}
    fallback = "cannot be scheduled" if kind is CannotScheduleError else "failed"
    message = str(reason.get("message") or f"{deployment} {fallback}.")
    params = {
        "name": deployment,
        "instance": culprit.instance if culprit else "",
        "reason": dict(reason),
    }
    return kind(message, hint=str(reason.get("fix") or ""), params=params)
