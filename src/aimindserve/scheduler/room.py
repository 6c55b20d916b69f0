"""What room a worker has: which of its devices a shape may use and what is free on each, its disk.

Worked out once for each worker and rule, and kept with the worker, since every ask and shape comes
back to it. Must not know how a shape is put on devices.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

from aimindserve.core.device import Device
from aimindserve.core.ids import DeviceId, WorkerName
from aimindserve.core.reason import Reason
from aimindserve.core.shape import Shape
from aimindserve.scheduler.base import Ask, WorkerView
from aimindserve.scheduler.memo import kept

UNTOUCHED = 0.9
"""A device of which at least this share is free counts as whole."""
_NO_DEVICES: frozenset[DeviceId] = frozenset()


class Rule(NamedTuple):
    """What a device must be to be used. A tuple, because its hash is asked for all the time."""

    types: tuple[str, ...] = ()
    capability: str | None = None
    driver: str | None = None
    addresses: bool = False
    fraction: float = 0.0
    """Only devices of which this share is free."""
    only: frozenset[DeviceId] | None = None
    name: str = ""
    """Only devices of this name; empty: of any."""
    without: frozenset[DeviceId] = _NO_DEVICES


@dataclass(frozen=True, slots=True)
class Pool:
    """The devices of one type on one worker that a rule allows. Bytes."""

    type: str
    devices: tuple[Device, ...]
    """By index."""
    free: tuple[int, ...]
    """Of each of them."""
    order: tuple[int, ...]
    """Their places, the emptiest first, then by index."""
    most: tuple[int, ...]
    """Free bytes in that order."""
    whole: int
    """How many of them nobody uses."""
    unified: bool
    """Their memory is the worker's RAM."""
    alike: bool
    """A rule that looks at what a device is says the same of all of them."""


def rule(ask: Ask, shape: Shape, kind: str = "") -> Rule:
    """The rule that the devices of `shape` must meet for `ask`; `kind`: only devices called so."""
    need = shape.requirement
    return Rule(
        need.device_types,
        need.compute_capability_min,
        need.driver_min,
        need.device_addresses,
        shape.device_fraction,
        frozenset(ask.device_ids) if ask.device_ids else None,
        kind,
        _failed(ask.failures, shape) if ask.failures else _NO_DEVICES,
    )


def pools(worker: WorkerView, allowed: Rule) -> tuple[Pool, ...]:
    """The devices that may be used, in one pool for each type that has any, by type."""
    found: tuple[Pool, ...] | None = worker.memo.get(allowed)
    return kept(worker, allowed, lambda _: _pools(worker, allowed)) if found is None else found


def unfit(device: Device, allowed: Rule) -> str:
    """What the rule asks for that the device is not; empty when it is all of it."""
    if allowed.types and device.type not in allowed.types:
        return "a device of type " + " or ".join(allowed.types)
    if allowed.name and device.name != allowed.name:
        return f"a {allowed.name}"
    if allowed.capability and _number(device.compute_capability) < _number(allowed.capability):
        return f"compute capability {allowed.capability}"
    if allowed.driver and _number(device.driver_version) < _number(allowed.driver):
        return f"driver {allowed.driver}"
    if allowed.addresses and not device.address:
        return "an address on the accelerators' network"
    return ""


def free_share(worker: WorkerView, *, devices: bool) -> float:
    """0 (full) to 1 (empty): of the devices' memory, or of the RAM."""
    if devices:
        return worker.free_share
    share = worker.ram_free_bytes / worker.ram_bytes if worker.ram_bytes else 0.0
    return min(max(share, 0.0), 1.0)


def has_files(ask: Ask, worker: WorkerName) -> bool:
    """Whether the model's files are known to be there."""
    known = ask.file_workers
    return worker in ask.file_at or bool(known and worker in known and known[worker] is None)


def fetch_bytes(ask: Ask, worker: WorkerView) -> int:
    """What the worker must fetch first: nothing where another instance has it."""
    if not ask.file_bytes or worker.instances.get(ask.deployment):
        return 0
    return 0 if has_files(ask, worker.name) else ask.file_bytes


def _pools(worker: WorkerView, allowed: Rule) -> tuple[Pool, ...]:
    every = kept(worker, Rule(), _every)
    found = (_allowed(pool, allowed) for pool in every)
    return tuple(pool for pool in found if pool is not None)


def _every(worker: WorkerView) -> tuple[Pool, ...]:
    by_type: dict[str, list[tuple[Device, int]]] = {}
    for device in sorted(worker.devices, key=lambda device: (device.index, device.id)):
        free = worker.device_free_bytes.get(device.id, 0)
        by_type.setdefault(device.type, []).append((device, free))
    return tuple(_pool(kind, by_type[kind]) for kind in sorted(by_type))


def _allowed(pool: Pool, allowed: Rule) -> Pool | None:
    """What the rule leaves of a pool; most rules leave all or nothing, and no device is looked at
    twice for that."""
    if allowed.types and pool.type not in allowed.types:
        return None
    if pool.alike and allowed.only is None and not allowed.without:
        if unfit(pool.devices[0], allowed):
            return None
        share = int(pool.devices[0].memory_bytes * allowed.fraction)
        if not share or pool.most[-1] >= share:
            return pool
        if pool.most[0] < share:
            return None
    entries = [
        (device, free)
        for device, free in zip(pool.devices, pool.free, strict=True)
        if (allowed.only is None or device.id in allowed.only)
        and device.id not in allowed.without
        and not unfit(device, allowed)
        # What is free may be less than nothing: a device chosen by hand is claimed all the same.
        and (not allowed.fraction or free >= int(device.memory_bytes * allowed.fraction))
    ]
    return _pool(pool.type, entries) if entries else None


def _pool(kind: str, entries: list[tuple[Device, int]]) -> Pool:
    free = tuple(size for _, size in entries)
    order = sorted(range(len(free)), key=lambda place: -free[place])
    facts = {
        (
            each.name,
            each.memory_bytes,
            each.compute_capability,
            each.driver_version,
            not each.address,
        )
        for each, _ in entries
    }
    return Pool(
        kind,
        tuple(device for device, _ in entries),
        free,
        tuple(order),
        tuple(free[place] for place in order),
        sum(size >= device.memory_bytes * UNTOUCHED for device, size in entries),
        any(device.unified_memory for device, _ in entries),
        len(facts) == 1,
    )


def failed_with(reason: Reason, shape: Shape, need_bytes: int) -> bool:
    """Whether what ran out of memory there was this shape with no less than it claims now, or
    another that needed no more than it does: `need_bytes` is the most it takes in such a place. A
    shape that is cut between layers is as large as the cut makes it, so it counts as the same."""
    failed = reason.params
    before = int(failed.get("failed_bytes", 0))
    if shape.layers is not None and not shape.layers.whole:
        return True
    if failed.get("shape") == shape.label:
        return need_bytes <= before
    return need_bytes >= before


def _failed(failures: Mapping[str, Reason], shape: Shape) -> frozenset[DeviceId]:
    need = max((parts.total for rank in shape.ranks for parts in rank.devices), default=0)
    if shape.layers is not None:
        need = shape.layers.one_device_bytes
    return frozenset(
        DeviceId(where)
        for where, reason in failures.items()
        if not where.endswith(":ram") and failed_with(reason, shape, need)
    )


def _number(text: str | None) -> tuple[int, ...]:
    """`8.9` as (8, 9), `550.54.15` as (550, 54, 15); what is not known is below everything."""
    parts = (text or "").split(".")
    return tuple(int(part) for part in parts if part.isdecimal())
