"""Worker: a machine that runs our agent.

`spec` belongs to people (cordon, labels) and to registration (its credentials); `status.observed`
is written by the worker; `status.ready`, `status.evicted` and `status.reason` by the workers
controller, from the lease.
"""

from typing import Any

from aimindserve.core.reason import Class, Reason
from aimindserve.core.report import Presence, WorkerObservation
from aimindserve.resources._kind import Access, AnyResource, Kind, Part, Resource, secret


class WorkerSpec(Part):
    """What is wanted of a worker."""

    cordoned: bool = False
    """Takes no new work; what runs goes on."""
    machine_id: str = ""
    """Random, made once by the agent: tells a machine that comes back from another of its name."""
    credential_hash: str = secret()
    """Keyed hash of what the worker presents to the server."""
    proxy_key: str = secret()
    """What a gateway presents to the worker's proxy."""


class WorkerStatus(Part):
    """What is so."""

    ready: bool = False
    reason: Reason | None = None
    evicted: bool = False
    """Gone in order, or silent for so long, that its instances are replaced elsewhere; it ends when
    it reports again."""
    observed: WorkerObservation | None = None


def presence(status: WorkerStatus) -> Presence:
    """What the worker itself said last of whether it stays."""
    return Presence.HERE if status.observed is None else status.observed.presence


def away(worker: Resource[WorkerSpec, WorkerStatus] | None, name: str) -> Reason | None:
    """Why the worker called `name` does no work now; None while it does."""
    if worker is not None and worker.status.ready:
        return None
    told = None if worker is None else worker.status.reason
    return told or Reason("worker_not_ready", {"worker": name})


_IN_ORDER = {
    "worker_leaving": ("leaving", Class.WORKING),
    "worker_left": ("left", Class.OFF),
}


def _derive(resource: AnyResource, _lookup: Any, _now: float) -> dict[str, Any]:
    status: WorkerStatus = resource.status
    if not status.ready:
        unplanned = ("lost" if status.observed else "joining", Class.FAILED)
        code = "" if status.reason is None else status.reason.code
        word, visual = _IN_ORDER.get(code, unplanned)
        return {"phase": word, "class": visual.value}
    if resource.spec.cordoned:
        return {"phase": "cordoned", "class": Class.OFF.value}
    return {"phase": "ready", "class": Class.OK.value}


PLUGIN = Kind(
    name="worker",
    plural="workers",
    spec=WorkerSpec,
    status=WorkerStatus,
    title="A machine that runs our agent.",
    access=Access(read="user", write="admin"),
    columns=(
        ("NAME", "metadata.name"),
        ("PHASE", "status.phase"),
        ("ADDRESS", "status.observed.host"),
        ("OS", "status.observed.inventory.os"),
        ("CPUS", "status.observed.inventory.cpu_count"),
        ("RAM", "status.observed.inventory.ram_bytes"),
        ("DEVICES", "status.observed.inventory.devices"),
        ("VERSION", "status.observed.version"),
        ("AGE", "metadata.created_at"),
    ),
    creatable=False,
    owned=("machine_id",),
    derive=_derive,
    gateway=(
        "spec.proxy_key",
        "status.ready",
        "status.observed.host",
        "status.observed.port",
    ),
)
