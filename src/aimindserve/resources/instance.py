"""Instance: one running copy of a deployment.

Who writes what: the deployments controller `spec`, the scheduling controller `status.placement` and
`status.refusal`, the worker `status.observed`. The phase is derived by `phase` and stored nowhere.

    queued ─▶ waiting (refused, with reasons)
       │         │
       ▼         ▼
    placing ─▶ preparing ─▶ starting ─▶ loading ─▶ ready ─▶ stopping ─▶ (gone)
                               ▲           │         │
                               └─ backoff ◀┴─────────┘──▶ failed
    any placed phase ─▶ lost, while its worker does not report or was shut down
"""

from typing import Any

from aimindserve.core.placement import Placement
from aimindserve.core.reason import Class, Reason
from aimindserve.core.report import InstanceObservation, RunState
from aimindserve.resources._kind import Access, AnyResource, Kind, Part
from aimindserve.resources.deployment import DeploymentSpec
from aimindserve.resources.worker import away


class InstanceSpec(Part):
    """Written once, when the deployments controller makes the instance."""

    deployment: str
    deployment_generation: int
    template: DeploymentSpec
    """The deployment's spec as it was then; a later one makes other instances."""
    stopping: bool = False
    """Set before the instance is deleted, so that its worker can let streams finish."""


class InstanceStatus(Part):
    """Three writers, three fields."""

    placement: Placement | None = None
    refusal: Reason | None = None
    """Why the scheduler could not place it, summed up; the whole story is in the decision."""
    observed: InstanceObservation | None = None


_BY_STATE = {
    RunState.WAITING: ("preparing", Class.WORKING),
    RunState.STARTING: ("starting", Class.WORKING),
    RunState.LOADING: ("loading", Class.WORKING),
    RunState.READY: ("ready", Class.OK),
    RunState.STOPPING: ("stopping", Class.WORKING),
    RunState.BACKOFF: ("backoff", Class.ATTENTION),
    RunState.FAILED: ("failed", Class.FAILED),
}


def phase(
    spec: InstanceSpec, status: InstanceStatus, *, away: Reason | None
) -> tuple[str, Class, Reason | None]:
    """(phase, class, reason) of an instance; `away`: why one of its workers does no work, None
    while all of them do."""
    if status.placement is None:
        if status.refusal is not None:
            return "waiting", Class.ATTENTION, status.refusal
        return "queued", Class.WORKING, None
    if away is not None and away.code == "worker_leaving":
        return "stopping", Class.WORKING, away
    if away is not None:
        return "lost", Class.FAILED, away
    if spec.stopping:
        return "stopping", Class.WORKING, None
    seen = status.observed
    if seen is None or seen.placement_id != status.placement.id:
        return "placing", Class.WORKING, None
    word, visual = _BY_STATE[seen.state]
    return word, visual, seen.reason


def is_ready(status: InstanceStatus) -> bool:
    """Whether the worker says that the present placement answers requests."""
    seen = status.observed
    return (
        status.placement is not None
        and seen is not None
        and seen.placement_id == status.placement.id
        and seen.state is RunState.READY
    )


def _derive(resource: AnyResource, lookup: Any, _now: float) -> dict[str, Any]:
    placement = resource.status.placement
    homes = () if placement is None else placement.workers
    told = (away(lookup("worker", name), name) for name in homes)
    gone = next((reason for reason in told if reason is not None), None)
    word, visual, reason = phase(resource.spec, resource.status, away=gone)
    shown = None
    if reason is not None:
        shown = {
            "code": reason.code,
            "params": dict(reason.params),
            "message": reason.message,
            "fix": reason.fix,
            "evidence": reason.evidence,
        }
    return {"phase": word, "class": visual.value, "reason": shown}


PLUGIN = Kind(
    name="instance",
    plural="instances",
    spec=InstanceSpec,
    status=InstanceStatus,
    title="One running copy of a deployment.",
    access=Access(read="user", write="none"),
    columns=(
        ("NAME", "metadata.name"),
        ("DEPLOYMENT", "spec.deployment"),
        ("WORKER", "status.placement.ranks.0.worker"),
        ("PHASE", "status.phase"),
        ("RESTARTS", "status.observed.restarts"),
        ("AGE", "metadata.created_at"),
    ),
    creatable=False,
    derive=_derive,
    gateway=(
        "spec.deployment",
        "spec.stopping",
        "status.placement.id",
        "status.placement.ranks.worker",
        "status.observed.state",
        "status.observed.placement_id",
        "status.phase",
        "status.reason.message",
    ),
)
