"""Putting a shape on devices: which way is the shape's, and what is left afterwards.

    devices by number and need     packing/fixed.py
    the same by kind of device     packing/kinds.py
    a cut between layers           packing/layers.py, with other workers' devices packing/remote.py
    a rank on each of several      packing/across.py

Must not know why a worker is preferred.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace

from aimindserve.core.ids import DeviceId
from aimindserve.core.placement import Placement, Rank
from aimindserve.core.shape import Shape
from aimindserve.scheduler.base import Ask, WorkerView
from aimindserve.scheduler.packing.across import Part
from aimindserve.scheduler.packing.base import Short, Way
from aimindserve.scheduler.packing.kinds import on_one_worker

__all__ = ["Short", "Way", "pack", "release", "short", "take", "way"]


def way(ask: Ask, shape: Shape) -> Way:
    """The way of `shape`, ready to be tried on many workers. The last answer is kept: the same ask
    and shape come for all workers in turn."""
    kept_ask, kept_shape, found = _last[0]
    if found is None or kept_ask is not ask or kept_shape is not shape:
        across = shape.across and shape.layers is None
        found = Part(ask, shape) if across else on_one_worker(ask, shape)
        _last[0] = (ask, shape, found)
    return found


_last: list[tuple[Ask | None, Shape | None, Way | None]] = [(None, None, None)]


def short(ask: Ask, shape: Shape, worker: WorkerView) -> Short | None:
    """What is missing for the shape on this worker, or None when it fits."""
    return way(ask, shape).short(worker)


def pack(ask: Ask, shape: Shape, worker: WorkerView) -> tuple[Rank, ...]:
    """One Rank per process, in the shape's order. Raises ValueError when it does not fit."""
    return way(ask, shape).pack(worker).ranks


def take(
    worker: WorkerView,
    ranks: Sequence[Rank],
    deployment: str,
    *,
    across: str = "",
    fetch_bytes: int = 0,
) -> WorkerView:
    """The worker as it is seen once `ranks` of an instance of `deployment` are placed on it.

    `across`: the backend, when the instance spans several workers; `fetch_bytes`: what the worker
    must fetch for it.
    """
    free = dict(worker.device_free_bytes)
    ram = worker.ram_free_bytes - sum(rank.ram.total for rank in ranks)
    held: list[DeviceId] = []
    unified = {device.id for device in worker.devices if device.unified_memory}
    for rank in ranks:
        for claim in rank.claims:
            free[claim.device] = free.get(claim.device, 0) - claim.memory_bytes
            held.append(claim.device)
            if claim.device in unified:
                ram -= claim.memory_bytes
    disk = worker.disk_free_bytes
    return replace(
        worker,
        ram_free_bytes=ram,
        device_free_bytes=free,
        ports_free=worker.ports_free - len(ranks),
        instances=_one_more(worker.instances, deployment),
        disk_free_bytes=None if disk is None else disk - fetch_bytes,
        across=_one_more(worker.across, across) if across else worker.across,
        devices_of={
            **worker.devices_of,
            deployment: (*worker.devices_of.get(deployment, ()), *held),
        },
    )


def release(worker: WorkerView, placement: Placement, deployment: str) -> WorkerView:
    """The worker as it is seen once an instance of `deployment`, placed so, is gone: what `take`
    did, undone."""
    free = dict(worker.device_free_bytes)
    sizes = {device.id: device for device in worker.devices}
    ranks = [rank for rank in placement.ranks if rank.worker == worker.name]
    ram = worker.ram_free_bytes + sum(rank.ram.total for rank in ranks)
    held = list(worker.devices_of.get(deployment, ()))
    for claim in (claim for rank in ranks for claim in rank.claims):
        device = sizes.get(claim.device)
        if device is None:
            continue
        there = free.get(device.id, 0) + claim.memory_bytes
        free[device.id] = min(there, device.memory_bytes)
        ram += claim.memory_bytes if device.unified_memory else 0
        if device.id in held:
            held.remove(device.id)
    spans = len({rank.worker for rank in placement.ranks}) > 1
    return replace(
        worker,
        ram_free_bytes=min(ram, worker.ram_bytes),
        device_free_bytes=free,
        ports_free=worker.ports_free + len(ranks),
        instances=_one_less(worker.instances, deployment),
        across=_one_less(worker.across, placement.backend) if spans else worker.across,
        devices_of={**worker.devices_of, deployment: tuple(held)},
    )


def _one_less(counts: Mapping[str, int], name: str) -> Mapping[str, int]:
    left = counts.get(name, 0) - 1
    others = {key: count for key, count in counts.items() if key != name}
    return {**others, name: left} if left > 0 else others


def _one_more(counts: Mapping[str, int], name: str) -> Mapping[str, int]:
    return {**counts, name: counts.get(name, 0) + 1}
