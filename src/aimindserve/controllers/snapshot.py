"""The cluster as the scheduler sees it, read from the store and the newest reports.

Numbers that always move (memory in use, resident sizes) come from the reports in memory, both from
the same report of a worker: an old one beside a new one would count an engine's memory twice.
"""

from collections.abc import Sequence
from dataclasses import replace

from aimindserve.controllers.views import (
    Instance,
    Worker,
    find_worker,
    instances,
    placed_on,
    workers,
)
from aimindserve.core.device import EMPTY_USAGE, Usage
from aimindserve.core.ids import WorkerName
from aimindserve.core.placement import Placement
from aimindserve.kit.units import MIB
from aimindserve.resources.instance import is_ready
from aimindserve.scheduler import ledger
from aimindserve.scheduler.base import Snapshot
from aimindserve.store.base import Store
from aimindserve.store.leases import Leases

GRAIN_BYTES = 256 * MIB
"""Memory in use is rounded up to this, so that its flicker is no news to anybody."""


def take(store: Store, leases: Leases) -> Snapshot:
    """Every worker that has reported, with what is free on it."""
    machines = [found for each in workers(store) if (found := _machine(each, leases)) is not None]
    placed = [each for each in instances(store) if each.status.placement is not None]
    return ledger.snapshot(
        store.revision, machines, [held for each in placed for held in _holding(each, leases)]
    )


def still_fits(store: Store, leases: Leases, placement: Placement) -> bool:
    """Whether the newest objects leave room for `placement` on workers that still take work."""
    return all(
        _fits_on(store, leases, placement, name)
        for name in {rank.worker: None for rank in placement.ranks}
    )


def _fits_on(store: Store, leases: Leases, placement: Placement, name: WorkerName) -> bool:
    worker = find_worker(store, name)
    machine = None if worker is None else _machine(worker, leases)
    if machine is None or not machine.ready or machine.cordoned:
        return False
    here = [each for each in instances(store) if name in placed_on(each)]
    view = ledger.view(machine, [held for each in here for held in _holding(each, leases)])
    ranks = [rank for rank in placement.ranks if rank.worker == name]
    needed: dict[str, int] = {}
    for claim in (claim for rank in ranks for claim in rank.claims):
        needed[claim.device] = needed.get(claim.device, 0) + claim.memory_bytes
    free = {str(device): size for device, size in view.device_free_bytes.items()}
    return (
        sum(rank.ram.total for rank in ranks) <= view.ram_free_bytes
        and len(ranks) <= view.ports_free
        and all(size <= free.get(device, -1) for device, size in needed.items())
    )


def _machine(worker: Worker, leases: Leases) -> ledger.Machine | None:
    seen = worker.status.observed
    if seen is None:
        return None
    report = leases.report(worker.name)
    return ledger.Machine(
        name=WorkerName(worker.name),
        ready=worker.status.ready,
        cordoned=worker.spec.cordoned,
        inventory=seen.inventory,
        labels=worker.metadata.labels,
        usage=EMPTY_USAGE if report is None else _coarse(report.worker.usage),
        reserved=seen.reserved,
        service_ports=seen.service_ports,
    )


def _holding(instance: Instance, leases: Leases) -> Sequence[ledger.Holding]:
    placement = instance.status.placement
    if placement is None:
        return ()
    report = leases.report(placement.worker)
    seen = None if report is None else dict(report.instances).get(instance.name)
    known = seen is not None and seen.placement_id == placement.id
    return (
        ledger.Holding(
            deployment=instance.spec.deployment,
            placement=placement,
            loaded=is_ready(instance.status),
            rss_bytes=seen.rss_bytes if known and seen is not None else 0,
        ),
    )


def _coarse(usage: Usage) -> Usage:
    return replace(
        usage,
        ram_used_bytes=_up(usage.ram_used_bytes),
        ram_available_bytes=usage.ram_available_bytes // GRAIN_BYTES * GRAIN_BYTES,
        devices=tuple(
            replace(each, memory_used_bytes=_up(each.memory_used_bytes)) for each in usage.devices
        ),
    )


def _up(size: int) -> int:
    return -(-size // GRAIN_BYTES) * GRAIN_BYTES
