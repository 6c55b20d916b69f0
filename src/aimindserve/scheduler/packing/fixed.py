"""Devices that the shape names by their number and needs, all on one worker and of one type.

Every device of a rank is a device of its own. One that fits a larger need fits a smaller one, so
needs and free devices are compared in pairs from the largest down, and nothing is ever missed.
"""

from collections.abc import Sequence
from functools import cached_property

from aimindserve.core.device import Device
from aimindserve.core.placement import Claim, Rank
from aimindserve.core.shape import Shape
from aimindserve.scheduler.base import Ask, WorkerView
from aimindserve.scheduler.packing.base import (
    Bounds,
    Packed,
    Short,
    claim_of,
    mark_of,
    overcommitted,
)
from aimindserve.scheduler.room import Pool, pools, rule


class Fixed:
    """One ask and shape. Binpack takes the fullest devices that fit, spread the emptiest; of those
    chosen by hand, the ones that fewest instances of the deployment have."""

    def __init__(self, ask: Ask, shape: Shape, kind: str = "") -> None:
        """`kind`: only devices of this name."""
        sizes = [
            (parts.total, index, place)
            for index, need in enumerate(shape.ranks)
            for place, parts in enumerate(need.devices)
        ]
        self._ask = ask
        self._shape = shape
        self._rule = rule(ask, shape, kind)
        self._any = self._rule._replace(fraction=0.0)
        """Of devices chosen by hand, also those of which too little is free."""
        self._sizes = sorted(sizes, key=lambda size: (-size[0], *size[1:]))
        self._totals = tuple(size for size, *_ in self._sizes)
        self._ram = sum(need.ram.total for need in shape.ranks)
        self._even = len(set(self._totals)) < 2
        self.count = len(sizes)
        self.size = self._totals[-1] if sizes else 0

    @cached_property
    def mark(self) -> object:
        return mark_of(self._ask, self._shape)

    @property
    def bounds(self) -> Bounds | None:
        if not self._even:
            return None
        count, allowed, every = self.count, self._rule, self._any
        if not count:
            return Bounds(self._ram, None, 0, lambda _: 0)

        def of(worker: WorkerView) -> int:
            """One more than the free bytes of the device that must do last; 0 where there are too
            few devices; -1 where RAM is shared with devices, or there is no device."""
            found = pools(worker, allowed)
            if not found:
                return 0 if pools(worker, every) else -1
            if any(pool.unified for pool in found):
                return -1
            last = [pool.most[count - 1] + 1 for pool in found if len(pool.most) >= count]
            return max(last, default=0)

        return Bounds(self._ram, (allowed, count), self._totals[-1] + 1, of)

    def fits(self, worker: WorkerView) -> bool:
        if self._ram > worker.ram_free_bytes:
            return False
        count = self.count
        if not count:
            return True
        for pool in pools(worker, self._rule):
            most = pool.most
            if (
                len(most) >= count
                and most[count - 1] >= self._totals[-1]
                and (self._even or self._pairs(most))
                and (not pool.unified or self._fits_shared(worker, pool))
            ):
                return True
        return False

    def barren(self, worker: WorkerView) -> bool:
        return (
            self.count > 0 and self._ram <= worker.ram_free_bytes and not pools(worker, self._any)
        )

    def forced(self, worker: WorkerView) -> bool:
        each = self._ask.devices_each
        return (
            self._ram <= worker.ram_free_bytes
            and self.count > 0
            and each in (None, self.count)
            and any(len(pool.devices) >= self.count for pool in pools(worker, self._any))
        )

    def short(self, worker: WorkerView) -> Short | None:
        if self._ram > worker.ram_free_bytes:
            return Short("ram", self._ram, worker.ram_free_bytes)
        if self.fits(worker):
            return None
        found = [self._missing(worker, pool) for pool in pools(worker, self._any)]
        if not found:
            return Short("count", found=0, wanted=self.count)
        return max(found, key=lambda short: (short.found, short.free - short.need))

    def pack(self, worker: WorkerView) -> Packed:
        for pool in pools(worker, self._rule) if self.fits(worker) else ():
            claims = self._claims(worker, pool)
            if claims is not None and (not pool.unified or self._shared(worker, claims)):
                return Packed(self._ranks(worker, claims))
        if not self.count and self.fits(worker):
            return Packed(self._ranks(worker, {}))
        if not self._ask.device_ids or not self.forced(worker):
            raise ValueError(f"{self._shape.label} does not fit on {worker.name}")
        ranks = self._ranks(worker, self._forced_claims(worker))
        return Packed(ranks, overcommitted(ranks, worker))

    def _pairs(self, most: Sequence[int]) -> bool:
        return all(free >= size for size, free in zip(self._totals, most, strict=False))

    def _fits_shared(self, worker: WorkerView, pool: Pool) -> bool:
        claims = self._claims(worker, pool)
        return claims is not None and self._shared(worker, claims)

    def _shared(self, worker: WorkerView, claims: dict[tuple[int, int], Claim]) -> bool:
        """Devices whose memory is the host's take from its RAM as well."""
        need = self._ram + sum(claim.memory_bytes for claim in claims.values())
        return need <= worker.ram_free_bytes

    def _missing(self, worker: WorkerView, pool: Pool) -> Short:
        """What keeps it off these devices, told of the one that comes closest."""
        if len(pool.devices) < self.count:
            return Short("count", found=len(pool.devices), wanted=self.count)
        what = "vram" if self.count == 1 else "devices"
        missing = self._closest(pool)
        if missing is not None:
            need, free, found = missing
            return Short(what, need, free, found, self.count)
        claims = self._claims(worker, pool) or {}
        need = self._ram + sum(claim.memory_bytes for claim in claims.values())
        return Short("ram", need, worker.ram_free_bytes)

    def _closest(self, pool: Pool) -> tuple[int, int, int] | None:
        """What the device that comes closest needs and has free, and how many have enough, for the
        first size that finds too few; None when all find a device."""
        fraction = self._shape.device_fraction
        if self._even and pool.alike:  # each needs the same, so the emptiest come closest
            need = max(self._totals[0], int(pool.devices[0].memory_bytes * fraction))
            found = sum(free >= need for free in pool.most)
            return None if found >= self.count else (need, pool.most[found], found)
        shares = [int(device.memory_bytes * fraction) for device in pool.devices]
        for place, size in enumerate(self._totals):
            needs = [max(size, share) for share in shares]
            gaps = sorted(
                (need - free, need, free) for need, free in zip(needs, pool.free, strict=True)
            )
            found = sum(gap <= 0 for gap, *_ in gaps)
            if found <= place:
                _, need, free = gaps[found]
                return need, free, found
        return None

    def _claims(self, worker: WorkerView, pool: Pool) -> dict[tuple[int, int], Claim] | None:
        """(Rank, place) -> claim; None when they do not fit."""
        left = self._preferred(worker, pool)
        chosen: list[Device] = []
        for size in self._totals:
            found = next((entry for entry in left if entry[1] >= size), None)
            if found is None:
                return None
            chosen.append(found[0])
            left.remove(found)
        return self._write(chosen)

    def _forced_claims(self, worker: WorkerView) -> dict[tuple[int, int], Claim]:
        enough = [p for p in pools(worker, self._any) if len(p.devices) >= self.count]
        pool = max(enough, key=lambda pool: (sum(pool.most[: self.count]), -enough.index(pool)))
        return self._write([device for device, _ in self._preferred(worker, pool)[: self.count]])

    def _write(self, chosen: list[Device]) -> dict[tuple[int, int], Claim]:
        """Claims on `chosen`, which are in the order of the sizes; equal ones go by index."""
        if self._even:
            chosen.sort(key=lambda device: (device.index, device.id))
        fraction = self._shape.device_fraction
        return {
            (index, place): claim_of(device, self._shape.ranks[index].devices[place], fraction)
            for device, (_, index, place) in zip(chosen, self._sizes, strict=True)
        }

    def _preferred(self, worker: WorkerView, pool: Pool) -> list[tuple[Device, int]]:
        entries = [(pool.devices[place], pool.free[place]) for place in pool.order]
        if self._ask.device_ids:
            mine = worker.devices_of.get(self._ask.deployment, ())
            entries.sort(key=lambda entry: mine.count(entry[0].id))
        elif self._ask.strategy == "binpack":
            entries.reverse()
        return entries

    def _ranks(self, worker: WorkerView, claims: dict[tuple[int, int], Claim]) -> tuple[Rank, ...]:
        return tuple(
            Rank(
                worker.name,
                tuple(claims[index, place] for place in range(len(need.devices))),
                need.ram,
            )
            for index, need in enumerate(self._shape.ranks)
        )
