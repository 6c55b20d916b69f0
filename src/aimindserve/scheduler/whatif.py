"""The cluster as it would be: workers lost or added, deployments gone. Pure.

A hypothetical snapshot is a snapshot: whatever is asked of it is answered by the same scheduler as
everything else. Instances that lose their worker must be placed anew; `displaced` names them.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from aimindserve.core.device import Device, Reserved
from aimindserve.core.errors import InvalidError
from aimindserve.core.ids import DeviceId, WorkerName
from aimindserve.core.labels import labels_of
from aimindserve.scheduler.base import Snapshot, WorkerView
from aimindserve.scheduler.occupants import Occupant
from aimindserve.scheduler.pack import release

ADDED_MAX = 1_000
"""Workers that can be thought of at once."""


@dataclass(frozen=True, slots=True)
class NewWorker:
    """Hardware that is not there: like a worker that is, or described. Bytes."""

    like: str = ""
    """Name of a worker to copy, but for what runs on it; empty when the rest describes it."""
    count: int = 1
    os: str = "linux"
    arch: str = "amd64"
    ram_bytes: int = 0
    device_type: str = "cuda"
    device_name: str = ""
    device_memory_bytes: int = 0
    devices: int = 0
    compute_capability: str | None = None
    labels: Mapping[str, str] = field(default_factory=dict[str, str])
    reserved: Reserved = field(default_factory=Reserved)
    """What it would keep for its system: as much as workers do where nobody says otherwise."""


@dataclass(frozen=True, slots=True)
class WhatIf:
    """What would be different. Nothing, unless said."""

    workers_lost: tuple[str, ...] = ()
    workers_added: tuple[NewWorker, ...] = ()
    deployments_removed: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.workers_lost or self.workers_added or self.deployments_removed)


def apply(snapshot: Snapshot, what_if: WhatIf, occupants: Sequence[Occupant]) -> Snapshot:
    """The snapshot with all of it done. Raises InvalidError for workers that do not exist, or too
    many new ones."""
    known: dict[str, WorkerView] = {worker.name: worker for worker in snapshot.workers}
    for name in (*what_if.workers_lost, *(each.like for each in what_if.workers_added)):
        if name and name not in known:
            raise InvalidError(f"There is no worker called {name[:80]}.", params={"worker": name})
    if sum(each.count for each in what_if.workers_added) > ADDED_MAX:
        raise InvalidError(f"At most {ADDED_MAX} workers can be added.")
    gone = [each for each in occupants if each.deployment in what_if.deployments_removed]
    gone += [each for each in displaced(what_if, occupants) if each not in gone]
    workers: dict[str, WorkerView] = dict(known)
    for each in gone:
        for name in {rank.worker for rank in each.placement.ranks} & workers.keys():
            workers[name] = release(workers[name], each.placement, each.deployment)
    for name in what_if.workers_lost:
        workers.pop(name, None)
    added = [
        worker for each in what_if.workers_added for worker in _added(each, known.get(each.like))
    ]
    for number, worker in enumerate(added, 1):
        named = _named(worker, _free_name(worker.name, number, known))
        workers[named.name] = named
    return replace(snapshot, workers=tuple(workers[name] for name in sorted(workers)))


def displaced(what_if: WhatIf, occupants: Sequence[Occupant]) -> Sequence[Occupant]:
    """Instances with a rank on a lost worker, in the order given; removed ones are not."""
    lost = set(what_if.workers_lost)
    return [
        each
        for each in occupants
        if each.deployment not in what_if.deployments_removed
        and any(rank.worker in lost for rank in each.placement.ranks)
    ]


def _added(new: NewWorker, like: WorkerView | None) -> Sequence[WorkerView]:
    if like is not None:
        empty = replace(
            like,
            ready=True,
            cordoned=False,
            **_free(like.ram_bytes, like.devices, like.reserved),
            ports_free=like.service_ports[1] - like.service_ports[0] + 1,
            instances={},
            across={},
            devices_of={},
        )
        return [empty] * new.count
    devices = tuple(
        Device(
            id=DeviceId(f"new:{new.device_type}:{index}"),
            index=index,
            type=new.device_type,
            vendor="",
            name=new.device_name,
            memory_bytes=new.device_memory_bytes,
            compute_capability=new.compute_capability,
        )
        for index in range(new.devices)
    )
    described = WorkerView(
        name=WorkerName("new"),
        ready=True,
        cordoned=False,
        os=new.os,
        arch=new.arch,
        labels=new.labels,
        ram_bytes=new.ram_bytes,
        devices=devices,
        reserved=new.reserved,
        **_free(new.ram_bytes, devices, new.reserved),
    )
    return [described] * new.count


def _free(ram_bytes: int, devices: Sequence[Device], reserved: Reserved) -> dict[str, Any]:
    """What a worker that nobody uses may hand out."""
    ram = max(ram_bytes - reserved.ram_bytes, 0)
    free = {device.id: max(device.memory_bytes - reserved.vram_bytes, 0) for device in devices}
    shared = {device.id for device in devices if device.unified_memory}
    return {
        "ram_free_bytes": ram,
        "device_free_bytes": {
            name: min(size, ram) if name in shared else size for name, size in free.items()
        },
    }


def _free_name(stem: str, number: int, known: Mapping[str, WorkerView]) -> str:
    name = f"{stem}-new-{number}" if stem != "new" else f"new-{number}"
    return name if name not in known else f"{name}-hypothetical"


def _named(worker: WorkerView, name: str) -> WorkerView:
    """The worker under another name, its devices too."""
    devices = tuple(
        replace(device, id=DeviceId(f"{name}:{device.type}:{device.index}"))
        for device in worker.devices
    )
    free = {
        new.id: worker.device_free_bytes.get(old.id, 0)
        for new, old in zip(devices, worker.devices, strict=True)
    }
    labels = labels_of(worker.labels, name, worker.os, worker.arch)
    return replace(
        worker, name=WorkerName(name), labels=labels, devices=devices, device_free_bytes=free
    )
