"""What every way of packing offers: a shape, made ready to be tried on many workers.

One object is made for each ask and shape, so that what only depends on them is worked out once.
"""

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from typing import Protocol

from aimindserve.core.device import Device, MemoryParts
from aimindserve.core.ids import DeviceId
from aimindserve.core.placement import Claim, Rank
from aimindserve.core.reason import Reason
from aimindserve.core.shape import Shape
from aimindserve.kit.units import format_bytes
from aimindserve.scheduler.base import Ask, WorkerView
from aimindserve.scheduler.memo import token


@dataclass(frozen=True, slots=True)
class Short:
    """What is missing on a worker. Bytes; `free` belongs to the device that comes closest."""

    what: str
    """ram; vram (one device); devices (several, `found` of `wanted` have room); layers (`found` of
    `wanted` have room); whole (there are `found` devices and not exactly `wanted`); count (there
    are only `found` of `wanted` devices)."""
    need: int = 0
    free: int = 0
    found: int = 0
    wanted: int = 0


@dataclass(frozen=True, slots=True)
class Packed:
    """A candidate: the shape on concrete devices."""

    ranks: tuple[Rank, ...]
    warnings: tuple[Reason, ...] = ()
    confidence: str = ""
    """Where its bytes come from, when that is not what the shape says in general."""


@dataclass(frozen=True, slots=True)
class Bounds:
    """What fits told by two numbers of a worker, so that a thousand workers are compared at once:
    its free RAM, and `of` it. A negative number says nothing: it must be tried."""

    ram: int
    key: Hashable
    """Equal keys mean equal `of`; None: RAM alone tells."""
    least: int
    of: Callable[[WorkerView], int]


class Way(Protocol):
    """How a shape is put on one worker."""

    count: int
    """How many devices it takes at least."""
    size: int
    """What must be free on the least of them, in bytes."""

    @property
    def mark(self) -> object:
        """A token for what it says of a worker: the same for the same shape and wishes."""
        ...

    @property
    def bounds(self) -> Bounds | None:
        """`fits` in numbers, where that can be told so."""
        ...

    def fits(self, worker: WorkerView) -> bool:
        """Whether there is room. The innermost question of the scheduler."""
        ...

    def barren(self, worker: WorkerView) -> bool:
        """Whether the RAM would do, but there is no device at all that it may use."""
        ...

    def forced(self, worker: WorkerView) -> bool:
        """Whether it can be put on the devices chosen by hand, with or without room on them."""
        ...

    def short(self, worker: WorkerView) -> Short | None:
        """What is missing; None when it fits."""
        ...

    def pack(self, worker: WorkerView) -> Packed:
        """Where it goes. Only for a worker on which it fits or is forced; else ValueError."""
        ...


def mark_of(ask: Ask, shape: Shape) -> object:
    """A token for what any way of packing looks at."""
    failed = sorted(
        (place, str(reason.params.get("shape", "")), int(reason.params.get("failed_bytes", 0)))
        for place, reason in ask.failures.items()
    )
    wishes = ask.device_ids, ask.devices_each, tuple(failed)
    return token(("way", shape, ask.strategy, *wishes))


def overcommitted(ranks: Sequence[Rank], worker: WorkerView) -> tuple[Reason, ...]:
    """One warning for each device of `worker` that holds less than `ranks` claim of it. Where the
    device's memory is the host's, what they take of that is not there for it either."""
    here = [rank for rank in ranks if rank.worker == worker.name]
    left = worker.ram_free_bytes - sum(rank.ram.total for rank in here)
    free = dict(worker.device_free_bytes)
    for device in worker.devices:
        if device.unified_memory:
            free[device.id] = min(free.get(device.id, 0), left)
    return tuple(
        _overcommitted(claim, max(free.get(claim.device, 0), 0))
        for rank in here
        for claim in rank.claims
        if claim.memory_bytes > free.get(claim.device, 0)
    )


def _overcommitted(claim: Claim, free: int) -> Reason:
    params = {
        "device": claim.device,
        "need": format_bytes(claim.memory_bytes),
        "free": format_bytes(free),
        "need_bytes": claim.memory_bytes,
        "free_bytes": free,
    }
    return Reason("overcommitted", params)


def claim_of(device: Device, parts: MemoryParts, fraction: float, layers: int = 0) -> Claim:
    """An engine that takes a share of the device whatever it needs keeps the rest as cache."""
    rest = int(device.memory_bytes * fraction) - parts.total
    if rest > 0:
        parts = parts + MemoryParts(kv_cache=rest)
    return Claim(DeviceId(device.id), parts, layers)
