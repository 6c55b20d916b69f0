"""Pure: what happened to an object, from how it was and how it is.

Derived from two states instead of being told by whoever acts: so nothing can happen unrecorded, in
the simulation as little as on real machines, and no controller has to think of it.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from aimindserve.core.reason import Reason
from aimindserve.core.report import FileState, InstanceObservation, RunState
from aimindserve.resources._kind import AnyResource
from aimindserve.resources.deployment import DeploymentSpec, DeploymentStatus
from aimindserve.resources.instance import InstanceStatus
from aimindserve.resources.model_file import ModelFileStatus
from aimindserve.resources.worker import WorkerStatus

NO_PARAMS: Mapping[str, Any] = {}


@dataclass(frozen=True, slots=True)
class Happening:
    """One thing that happened. `code` is a row of `core.happening`."""

    code: str
    params: Mapping[str, Any] = field(default_factory=dict[str, Any])
    reason: Reason | None = None


def happened(before: AnyResource | None, after: AnyResource | None) -> Iterable[Happening]:
    """What turned `before` into `after`, the oldest first. None: it was not there, or is gone."""
    either = after or before
    if either is None or either.kind not in _RULES:
        return ()
    return _RULES[either.kind](before, after)


def _instance(before: AnyResource | None, after: AnyResource | None) -> Iterable[Happening]:
    if after is None:
        placement = None if before is None else before.status.placement
        yield (
            Happening("dropped")
            if placement is None
            else Happening("stopped", {"worker": placement.worker})
        )
        return
    was = InstanceStatus() if before is None else before.status
    now: InstanceStatus = after.status
    if now.placement is None:
        if now.refusal is not None and _code(now.refusal) != _code(was.refusal):
            yield Happening("refused", reason=now.refusal)
        return
    worker = now.placement.worker
    if was.placement is None or was.placement.id != now.placement.id:
        yield Happening("placed", {"worker": worker, "shape": now.placement.shape})
    if after.spec.stopping and not (before is not None and before.spec.stopping):
        yield Happening("stopping", {"worker": worker})
    if now.observed is not None and now.observed.placement_id == now.placement.id:
        yield from _run(worker, was.observed, now.observed)


def _run(
    worker: str, was: InstanceObservation | None, now: InstanceObservation
) -> Iterable[Happening]:
    """What a worker saw of the engine. Between two reports it may have ended and begun again."""
    if was is not None and was.placement_id != now.placement_id:
        was = None
    where = {"worker": worker}
    run_before, state_before = (0, None) if was is None else (was.run, was.state)
    running = now.state in {RunState.STARTING, RunState.LOADING, RunState.READY}
    if now.run > run_before > 0 and state_before not in {RunState.BACKOFF, RunState.FAILED}:
        yield Happening("exited", where, now.ended or now.reason or Reason("unknown"))
    if running and now.run > run_before:
        yield Happening("restarted" if now.run > 1 else "started", where)
    if was is not None and now.adopted and not was.adopted:
        yield Happening("adopted", where)
    if now.state is state_before and now.run == run_before:
        return
    if now.state is RunState.READY:
        yield Happening("ready", where)
    elif now.state is RunState.BACKOFF and now.run == run_before:
        yield Happening("exited", where, now.reason or Reason("unknown"))
    elif now.state is RunState.FAILED:
        yield Happening("failed", where, now.reason or Reason("unknown"))
    elif now.state is RunState.WAITING and now.reason is not None:
        yield Happening("waiting", where, now.reason)


def _worker(before: AnyResource | None, after: AnyResource | None) -> Iterable[Happening]:
    if after is None:
        yield Happening("left")
        return
    was = WorkerStatus() if before is None else before.status
    now: WorkerStatus = after.status
    if now.ready and not was.ready:
        # One that has never been ready has no reason for it either: only the lost are given one.
        yield Happening("joined" if was.reason is None else "returned")
    code, before_code = _code(now.reason), _code(was.reason)
    if code in _GOING and code != before_code:
        yield Happening(_GOING[code], reason=now.reason)
    elif was.ready and not now.ready:
        yield Happening("lost", reason=now.reason or Reason("worker_not_ready", _named(after)))
    if now.evicted and not was.evicted and code not in _GOING:
        yield Happening("given_up")
    if before is not None and before.spec.cordoned is not after.spec.cordoned:
        yield Happening("cordoned" if after.spec.cordoned else "uncordoned")


_GOING = {"worker_leaving": "leaving", "worker_left": "ended"}


def _deployment(before: AnyResource | None, after: AnyResource | None) -> Iterable[Happening]:
    if after is None:
        yield Happening("removed")
        return
    wanted: DeploymentSpec = after.spec
    if before is None:
        yield Happening("deployed", {"after": wanted.replicas})
        return
    if wanted.replicas != before.spec.replicas:
        yield Happening("scaled", {"before": before.spec.replicas, "after": wanted.replicas})
    same = {"replicas": 0}
    if before.spec.model_copy(update=same) != wanted.model_copy(update=same):
        yield Happening("changed", {"generation": after.metadata.generation})
    yield from _readiness(before.status, after.status, wanted.replicas)


def _readiness(was: DeploymentStatus, now: DeploymentStatus, replicas: int) -> Iterable[Happening]:
    if was.ready_replicas == now.ready_replicas:
        return
    if 0 < replicas <= now.ready_replicas and was.ready_replicas < replicas:
        yield Happening("complete", {"after": replicas})
    elif now.ready_replicas < was.ready_replicas and now.ready_replicas < replicas:
        yield Happening("degraded", {"ready": now.ready_replicas, "after": replicas})


_FILES = {
    FileState.READY: "file_ready",
    FileState.MISSING: "file_missing",
    FileState.FAILED: "file_failed",
}


def _model_file(before: AnyResource | None, after: AnyResource | None) -> Iterable[Happening]:
    if after is None:
        return
    was: ModelFileStatus | None = None if before is None else before.status
    seen = after.status.observed
    state_before = None if was is None or was.observed is None else was.observed.state
    if seen is None or seen.state is state_before or seen.state not in _FILES:
        return
    worker = after.spec.worker
    trouble = seen.state is not FileState.READY
    fallback = Reason("file_failed", {"worker": worker, "detail": seen.state.value})
    yield Happening(
        _FILES[seen.state], {"worker": worker}, (seen.reason or fallback) if trouble else None
    )


_RULES: Mapping[str, Callable[[AnyResource | None, AnyResource | None], Iterable[Happening]]] = {
    "instance": _instance,
    "worker": _worker,
    "deployment": _deployment,
    "model-file": _model_file,
}

KINDS = frozenset(_RULES)
"""The kinds of which anything is told."""


def _code(reason: Reason | None) -> str:
    return "" if reason is None else reason.code


def _named(worker: AnyResource) -> Mapping[str, Any]:
    return {"worker": worker.name}
