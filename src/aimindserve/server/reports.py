"""Takes in what a worker reports: renews its lease, writes what differs, remembers the numbers.

A stopping instance that its worker no longer has is deleted here, the only place that knows.

A worker speaks only of itself: observations of objects placed elsewhere, of placements that are no
longer the present one, or of names nobody knows are passed over. Plain functions, without any web
framework: the simulation calls them too.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, cast

from aimindserve.core.device import EMPTY_USAGE
from aimindserve.core.errors import ConflictError, NotFoundError
from aimindserve.core.report import (
    Ack,
    FileObservation,
    InstanceObservation,
    Report,
    WorkerObservation,
)
from aimindserve.kit.log import get_logger
from aimindserve.resources._kind import AnyResource
from aimindserve.resources.instance import InstanceStatus
from aimindserve.resources.model_file import ModelFileStatus
from aimindserve.resources.worker import WorkerStatus
from aimindserve.server.addresses import check_host
from aimindserve.server.objects import Instance, find_model_file, instances, workers
from aimindserve.server.telemetry import Telemetry
from aimindserve.store.base import Store
from aimindserve.store.leases import Leases

log = get_logger("reports")

INTERVAL_S = 10.0
REPORTS_PER_S_MAX = 50.0


async def apply_report(
    store: Store,
    leases: Leases,
    worker: str,
    report: Report,
    *,
    telemetry: Telemetry | None = None,
    interval_s: float = INTERVAL_S,
) -> Ack:
    """Believe `report` as far as it concerns `worker`; raises NotFoundError when the worker is
    gone, InvalidError for an impossible address, and the store's errors."""
    store.get("worker", worker)
    check_host(report.worker.host)
    # An older one was held up on its way, or its agent has just begun and knows nothing yet: what
    # it does not tell of instances and files means nothing.
    in_order = report.desired_revision >= leases.acted_on(worker)
    leases.renew(worker, report)
    if telemetry is not None:
        telemetry.put(worker, report)
    await _write_worker(store, worker, report.worker)
    if in_order:
        await _write_instances(store, leases, worker, report)
        await _write_files(store, worker, dict(report.files))
    return Ack(next_report_s(len(workers(store)), interval_s), store.revision)


def next_report_s(workers: int, interval_s: float = INTERVAL_S) -> float:
    """How long a worker may be silent: longer in a large cluster, so that reports stay few."""
    return max(interval_s, workers / REPORTS_PER_S_MAX)


async def _write_worker(store: Store, worker: str, seen: WorkerObservation) -> None:
    def observe(current: AnyResource) -> AnyResource | None:
        status = cast("WorkerStatus", current.status)
        known = status.observed
        if known is not None and _lasting(known) == _lasting(seen):
            return None
        return current.with_status(status.model_copy(update={"observed": seen}))

    current = store.get("worker", worker)
    if observe(current) is not None:
        await store.update("worker", worker, observe)


async def _write_instances(store: Store, leases: Leases, worker: str, report: Report) -> None:
    seen = dict(report.instances)
    for instance in list(instances(store)):
        if instance.spec.stopping and len(_workers(instance)) > 1:
            if all(_is_gone_from(store, leases, name, instance) for name in _workers(instance)):
                await _delete(store, instance)
            continue
        if _first_worker(instance) != worker:
            continue
        observation = seen.get(instance.name)
        if observation is None and _has_let_go(instance, report):
            await _delete(store, instance)
            continue

        def observe(
            current: AnyResource, observation: InstanceObservation | None = observation
        ) -> AnyResource | None:
            return _with_observation(cast("Instance", current), worker, observation)

        if observe(instance) is not None:
            await _update(store, instance, observe)


def _has_let_go(instance: Instance, report: Report) -> bool:
    """Whether a stopping instance that is not in the report is gone for good: the worker had it and
    has it no more, or has acted on a desired set that is newer than the wish to stop."""
    if not instance.spec.stopping:
        return False
    return (
        instance.status.observed is not None
        or report.desired_revision >= instance.metadata.revision
    )


def _is_gone_from(store: Store, leases: Leases, worker: str, instance: Instance) -> bool:
    """Whether one of several workers has let go of a stopping instance: it has acted on a desired
    set that is newer than the wish to stop, which is the last that is written of such an instance.
    """
    report = leases.report(worker)
    if store.find("worker", worker) is None:
        return True
    return (
        report is not None
        and instance.name not in dict(report.instances)
        and report.desired_revision >= instance.metadata.revision
    )


def _with_observation(
    current: Instance, worker: str, seen: InstanceObservation | None
) -> AnyResource | None:
    """`current` as now observed, or None when there is nothing to write.

    An observation of an earlier placement is none of this one.
    """
    placement = current.status.placement
    if placement is None or placement.worker != worker:
        return None
    if seen is not None and seen.placement_id != placement.id:
        seen = None
    known = current.status.observed
    if known == seen or (known and seen and known.lasting() == seen.lasting()):
        return None
    status: InstanceStatus = current.status.model_copy(update={"observed": seen})
    return current.with_status(status)


async def _write_files(store: Store, worker: str, seen: Mapping[str, FileObservation]) -> None:
    for name, observation in seen.items():
        file = find_model_file(store, name)
        if file is None or file.spec.worker != worker or file.status.observed == observation:
            continue

        def observe(
            current: AnyResource, observation: FileObservation = observation
        ) -> AnyResource | None:
            if current.spec.worker != worker or current.status.observed == observation:
                return None
            return current.with_status(ModelFileStatus(observed=observation))

        await _update(store, file, observe)


async def _update(store: Store, resource: AnyResource, change: Any) -> None:
    try:
        await store.update(resource.kind, resource.name, change)
    except (NotFoundError, ConflictError) as error:
        # Gone, or fought over: the next report says the same again.
        log.debug("report.skipped", kind=resource.kind, name=resource.name, code=error.code)


async def _delete(store: Store, instance: Instance) -> None:
    try:
        await store.delete("instance", instance.name, revision=instance.metadata.revision)
    except (NotFoundError, ConflictError) as error:
        log.debug("report.skipped", kind="instance", name=instance.name, code=error.code)


def _workers(instance: Instance) -> set[str]:
    placement = instance.status.placement
    return set() if placement is None else {str(rank.worker) for rank in placement.ranks}


def _first_worker(instance: Instance) -> str | None:
    placement = instance.status.placement
    return None if placement is None else placement.worker


def _lasting(seen: WorkerObservation) -> WorkerObservation:
    """What of an observation is worth a write: everything but the numbers that always move."""
    systems = tuple(replace(each, available_bytes=0) for each in seen.inventory.file_systems)
    inventory = replace(seen.inventory, file_systems=systems)
    return replace(seen, usage=EMPTY_USAGE, inventory=inventory)
