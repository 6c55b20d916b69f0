"""Putting the ranks of one shape on the devices and into the RAM of one worker.

`short` asks whether they fit, cheaply, since it is asked of every worker; `pack` writes down where
they go, for the one that was chosen. Several workers for one instance come later and will choose
among the same pieces. Must not know why a worker is preferred, or that there are others.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from aimindserve.core.device import Device, Need
from aimindserve.core.ids import DeviceId
from aimindserve.core.placement import Claim, Rank
from aimindserve.core.shape import Shape
from aimindserve.scheduler.base import Ask, WorkerView


@dataclass(frozen=True, slots=True)
class Short:
    """What is missing. `what` is ram or vram; `free` of a device is the largest that could do."""

    what: str
    need: int
    free: int


@dataclass(frozen=True, slots=True)
class Demand:
    """A shape in plain numbers: device bytes from the largest down with the rank that needs them,
    and RAM in all."""

    devices: tuple[tuple[int, int], ...]
    ram: int


def demand(shape: Shape) -> Demand:
    """The numbers of `shape`. The last answer is kept: one shape is asked about for all workers in
    turn, and adding up its parts for each of them would be most of the scheduler's time."""
    kept, answer = _last[0]
    if kept is not shape:
        sizes = [(rank.device.total, index) for index, rank in enumerate(shape.ranks)]
        devices = sorted((size for size in sizes if size[0]), key=lambda size: (-size[0], size[1]))
        answer = Demand(tuple(devices), sum(rank.ram.total for rank in shape.ranks))
        _last[0] = (shape, answer)
    return answer


_last: list[tuple[Shape | None, Demand]] = [(None, Demand((), 0))]


def short(ask: Ask, shape: Shape, worker: WorkerView) -> Short | None:
    """What is missing for the shape on this worker, or None when it fits."""
    found = _fitting_type(ask, shape, worker)
    return found if isinstance(found, Short) else None


def pack(ask: Ask, shape: Shape, worker: WorkerView) -> tuple[Rank, ...]:
    """One Rank per rank of the shape, in its order; only for a worker that `short` has passed.

    Binpack takes the fullest devices that fit, spread the emptiest. Raises ValueError when it does
    not fit.
    """
    kind = _fitting_type(ask, shape, worker)
    if isinstance(kind, Short):
        raise ValueError(f"{shape.label} does not fit on {worker.name}: {kind}")
    claims = _claims(ask, shape, worker, kind) if kind else {}
    return tuple(
        Rank(worker.name, (claims[index],) if index in claims else (), rank.ram)
        for index, rank in enumerate(shape.ranks)
    )


def take(worker: WorkerView, ranks: Sequence[Rank], deployment: str) -> WorkerView:
    """The worker as it is seen once `ranks` of an instance of `deployment` are placed on it."""
    free = dict(worker.device_free_bytes)
    ram = worker.ram_free_bytes - sum(rank.ram.total for rank in ranks)
    unified = {device.id for device in worker.devices if device.unified_memory}
    for rank in ranks:
        for claim in rank.claims:
            free[claim.device] = free.get(claim.device, 0) - claim.memory_bytes
            if claim.device in unified:
                ram -= claim.memory_bytes
    instances = dict(worker.instances)
    instances[deployment] = instances.get(deployment, 0) + 1
    return replace(
        worker,
        ram_free_bytes=ram,
        device_free_bytes=free,
        ports_free=worker.ports_free - len(ranks),
        instances=instances,
    )


def _fitting_type(ask: Ask, shape: Shape, worker: WorkerView) -> str | Short:
    """The type of the devices that take the shape (empty for shapes without), or what is missing.

    Every device rank takes a device of its own, all of one type. A device that fits a larger need
    fits a smaller one, so needs and free devices are compared in pairs from the largest down.
    """
    wanted = demand(shape)
    if wanted.ram > worker.ram_free_bytes:
        return Short("ram", wanted.ram, worker.ram_free_bytes)
    if not wanted.devices:
        return ""
    missing = Short("vram", wanted.devices[0][0], 0)
    for kind, free in _free(ask, shape, worker):
        unmet = _unmet(wanted, free) or _short_of_shared(ask, shape, worker, kind)
        if unmet is None:
            return kind
        if unmet.free >= missing.free:
            missing = unmet
    return missing


def _claims(ask: Ask, shape: Shape, worker: WorkerView, kind: str) -> dict[int, Claim]:
    """Rank -> claim, on devices of the type `kind`, which fit."""
    devices = _usable(ask, shape, worker)[kind]
    left = devices[::-1] if ask.strategy == "binpack" else devices
    claims: dict[int, Claim] = {}
    for size, index in demand(shape).devices:
        chosen = next(entry for entry in left if entry[0] >= size)
        left = [entry for entry in left if entry is not chosen]
        claims[index] = _claim(chosen[1], shape.ranks[index], shape.device_fraction)
    return claims


def _free(ask: Ask, shape: Shape, worker: WorkerView) -> Iterable[tuple[str, Sequence[int]]]:
    if ask.device_ids or shape.device_fraction:
        usable = _usable(ask, shape, worker)
        return [(kind, [free for free, _ in devices]) for kind, devices in usable.items()]
    kinds = shape.requirement.device_types
    if not kinds:
        return worker.free_by_type.items()
    return [(kind, free) for kind, free in worker.free_by_type.items() if kind in kinds]


def _usable(ask: Ask, shape: Shape, worker: WorkerView) -> dict[str, list[tuple[int, Device]]]:
    """Type -> (free bytes, device) of the devices that may be used, the emptiest first. For shapes
    that take a share of a device, only devices of which that share is free."""
    kinds = shape.requirement.device_types
    fraction = shape.device_fraction
    by_type: dict[str, list[tuple[int, Device]]] = {}
    for device in worker.devices:
        if (kinds and device.type not in kinds) or (
            ask.device_ids and device.id not in ask.device_ids
        ):
            continue
        free = worker.device_free_bytes.get(device.id, 0)
        if not fraction or free >= int(device.memory_bytes * fraction):
            by_type.setdefault(device.type, []).append((free, device))
    for devices in by_type.values():
        devices.sort(key=_emptiest_first)
    return by_type if len(by_type) < 2 else dict(sorted(by_type.items()))


def _emptiest_first(entry: tuple[int, Device]) -> tuple[int, int]:
    return -entry[0], entry[1].index


def _unmet(wanted: Demand, free: Sequence[int]) -> Short | None:
    for position, (size, _) in enumerate(wanted.devices):
        there = free[position] if position < len(free) else 0
        if there < size:
            return Short("vram", size, there)
    return None


def _short_of_shared(ask: Ask, shape: Shape, worker: WorkerView, kind: str) -> Short | None:
    """Devices whose memory is the host's take from its RAM as well."""
    if not any(device.unified_memory for device in worker.devices if device.type == kind):
        return None
    claims = _claims(ask, shape, worker, kind).values()
    need = demand(shape).ram + sum(claim.memory_bytes for claim in claims)
    return Short("ram", need, worker.ram_free_bytes) if need > worker.ram_free_bytes else None


def _claim(device: Device, need: Need, fraction: float) -> Claim:
    """An engine that takes a share of the device whatever it needs keeps the rest as cache."""
    whole = int(device.memory_bytes * fraction)
    parts = need.device
    if whole > parts.total:
        parts = replace(parts, kv_cache=parts.kv_cache + whole - parts.total)
    return Claim(DeviceId(device.id), parts)
