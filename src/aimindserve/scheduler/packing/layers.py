"""A model that is cut between its layers, on devices of one type of one worker.

    layers of the model   [ 0 1 2 | 3 4 5 6 | 7 8 9 out ]
    where they go          host     device 0  device 1        runs, in the order of the devices

Layers leave the host from the last one backwards, the output before all of them. So what is on
devices is the end of the model, and it is filled in from the back: each device, beginning with the
last, takes as many of the layers that are left as fit beside its overhead. Nothing holds more.
"""

from bisect import bisect_left
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate

from aimindserve.core.device import NO_MEMORY, Device, MemoryParts
from aimindserve.core.ids import DeviceId
from aimindserve.core.placement import Claim, Rank
from aimindserve.core.shape import Layers, Shape
from aimindserve.scheduler.base import Ask, WorkerView
from aimindserve.scheduler.packing.base import Bounds, Packed, Short, mark_of, overcommitted
from aimindserve.scheduler.room import Pool, pools, rule

STEPS = 64
"""How finely the load is evened out: in shares of a device's free memory."""


@dataclass(frozen=True, slots=True)
class Runs:
    """A cut: per device the layers `starts[i]` up to `stops[i]`, in the order of the devices."""

    starts: tuple[int, ...]
    stops: tuple[int, ...]

    @property
    def held(self) -> int:
        """Layers on devices, the output counted as one."""
        return sum(self.stops) - sum(self.starts)

    @property
    def used(self) -> int:
        """Devices that hold any."""
        return sum(start < stop for start, stop in zip(self.starts, self.stops, strict=True))


class Model:
    """The layers of a shape in numbers: what can be put on devices of which size.

    `every`: each device gets a layer at least, where there are as many; for devices that somebody
    has chosen, and would miss otherwise.
    """

    def __init__(self, layers: Layers, *, every: bool = False) -> None:
        self.layers = layers
        self._every = every
        self.count = len(layers.device)
        """Of the layers, with the output."""
        self.most = layers.most or self.count
        """Of them that may be on devices."""
        self._ends = (0, *accumulate(parts.total for parts in layers.device))
        self._host = (0, *accumulate(parts.total for parts in layers.host))
        self.overhead = layers.overhead.total
        self.overhead_last = layers.overhead_last.total
        self.full = layers.least >= self.count
        self.one_device = layers.one_device_bytes

    @property
    def smallest(self) -> int:
        """What a device needs to be of any use."""
        return self.overhead + min((parts.total for parts in self.layers.device), default=0)

    def total(self, devices: int) -> int:
        """What all layers take on so many devices."""
        return self._ends[-1] + devices * self.overhead + self.overhead_last

    def host_bytes(self, runs: Runs | None) -> int:
        """Host memory of the layers that are not on devices."""
        if runs is None:
            return self._host[-1]
        return self._host[-1] - sum(
            self._host[stop] - self._host[start]
            for start, stop in zip(runs.starts, runs.stops, strict=True)
        )

    def cut(self, rooms: Sequence[int]) -> Runs:
        """The cut with the most layers on devices that have so many bytes each."""
        return self._fill(rooms, self.count)

    def even(self, rooms: Sequence[int], runs: Runs) -> Runs:
        """The same layers, each device filled to about the same share of its room."""
        low, high = 1, STEPS
        while low < high:
            middle = (low + high) // 2
            tried = self.cut([room * middle // STEPS for room in rooms])
            low, high = (low, middle) if tried.held >= runs.held else (middle + 1, high)
        return self.cut([room * low // STEPS for room in rooms])

    def stretched(self, sizes: Sequence[int]) -> Runs:
        """All layers on these devices, as evenly as their sizes, whether they have room or not."""
        rooms = [size or 1 for size in sizes]
        times = max(self.total(len(sizes)) // max(sum(rooms), 1), 1)
        while True:
            runs = self.cut([room * times for room in rooms])
            if runs.held == self.most:
                return self.even([room * times for room in rooms], runs)
            times *= 2

    def made(self, counts: Sequence[int]) -> Runs:
        """The cut that left so many layers on each device."""
        stops = [self.count - after for after in (*accumulate(reversed(counts), initial=0),)][:-1]
        stops.reverse()
        starts = [stop - count for stop, count in zip(stops, counts, strict=True)]
        return Runs(tuple(starts), tuple(stops))

    def parts(self, runs: Runs) -> Mapping[int, MemoryParts]:
        """What each device takes that holds layers, by its place."""
        used = [place for place, stop in enumerate(runs.stops) if runs.starts[place] < stop]
        found: dict[int, MemoryParts] = {}
        for place in used:
            held = self.layers.device[runs.starts[place] : runs.stops[place]]
            found[place] = added(held) + self.layers.overhead
            if place == used[-1]:
                found[place] += self.layers.overhead_last
        return found

    def claims(self, devices: Sequence[Device], runs: Runs) -> list[Claim]:
        """One claim for each device that holds layers, in their order."""
        return [
            Claim(DeviceId(devices[place].id), parts, runs.stops[place] - runs.starts[place])
            for place, parts in self.parts(runs).items()
        ]

    def host(self, base: MemoryParts, runs: Runs) -> MemoryParts:
        """The main process's host memory: `base` and the layers that stayed."""
        held: set[int] = set()
        for start, stop in zip(runs.starts, runs.stops, strict=True):
            held.update(range(start, stop))
        stayed = (parts for index, parts in enumerate(self.layers.host) if index not in held)
        return base + added(stayed)

    def _fill(self, rooms: Sequence[int], end: int) -> Runs:
        ends = self._ends
        starts: list[int] = []
        stops: list[int] = []
        stop, extra, floor = end, self.overhead_last, self.count - self.most
        for before in reversed(range(len(rooms))):
            left = rooms[before] - self.overhead - extra
            start = bisect_left(ends, ends[stop] - left, floor, stop) if left >= 0 else stop
            if self._every:
                start = min(max(start, floor + before), stop)
            starts.append(start)
            stops.append(stop)
            if start < stop:
                extra = 0
            stop = start
        runs = Runs(tuple(reversed(starts)), tuple(reversed(stops)))
        if self._every and runs.used < min(len(rooms), self.most):
            return Runs(runs.stops, runs.stops)  # one of them would have nothing
        return runs


class Cut:
    """One ask and layered shape, on one worker: as few devices as hold what must be on devices, or
    as many layers as possible where some may stay on the host."""

    def __init__(self, ask: Ask, shape: Shape) -> None:
        """Raises ValueError for a shape that is not cut."""
        if shape.layers is None or len(shape.ranks) != 1:
            raise ValueError(f"{shape.label}: a cut between layers has one main process")
        self.model = Model(shape.layers, every=bool(ask.device_ids and ask.devices_each))
        alone = not shape.layers.remote_max
        self.count = (ask.devices_each or 1) if ask.device_ids and alone else 1
        self.size = self.model.smallest
        self._ask = ask
        self._shape = shape
        self._rule = rule(ask, shape)
        self._base = shape.ranks[0].ram.total
        self._most = max(shape.layers.devices_max, 1)
        self._least = min(max(shape.layers.least, 1), self.model.count)
        self._found: dict[tuple[tuple[int, ...], tuple[int, ...]], tuple[int, int]] = {}

    @cached_property
    def mark(self) -> object:
        return mark_of(self._ask, self._shape)

    @property
    def bounds(self) -> Bounds | None:
        return None

    def fits(self, worker: WorkerView) -> bool:
        return self._base <= worker.ram_free_bytes and self._pool(worker) is not None

    def barren(self, worker: WorkerView) -> bool:
        return self._base <= worker.ram_free_bytes and not pools(worker, self._rule)

    def forced(self, worker: WorkerView) -> bool:
        each = self._ask.devices_each or 1
        return (
            self._base <= worker.ram_free_bytes
            and each <= self._most
            and any(len(pool.devices) >= each for pool in pools(worker, self._rule))
        )

    def share(self, worker: WorkerView) -> float:
        """How much of the model is on devices there: 0 to 1."""
        pool = self._pool(worker)
        return 0.0 if pool is None else self._reach(pool)[1] / self.model.count

    def short(self, worker: WorkerView) -> Short | None:
        if self._base > worker.ram_free_bytes:
            return Short("ram", self._base, worker.ram_free_bytes)
        there = pools(worker, self._rule)
        if not there:
            return Short("count", found=0, wanted=1)
        if self._pool(worker) is not None:
            return None
        return max((self._missing(worker, pool) for pool in there), key=lambda each: each.found)

    def pack(self, worker: WorkerView) -> Packed:
        pool = self._pool(worker) if self._base <= worker.ram_free_bytes else None
        if pool is None:
            return self._force(worker)
        places = self._places(worker, pool, self._reach(pool)[0])
        rooms = [pool.free[place] for place in places]
        runs = self.model.cut(rooms)
        if runs.held == self.model.most:
            runs = self.model.even(rooms, runs)
        return Packed((self._rank(worker, [pool.devices[place] for place in places], runs),))

    def _force(self, worker: WorkerView) -> Packed:
        if not self._ask.device_ids or not self.forced(worker):
            raise ValueError(f"{self._shape.label} does not fit on {worker.name}")
        each = self._ask.devices_each
        there = [pool for pool in pools(worker, self._rule) if len(pool.devices) >= (each or 1)]
        pool = max(there, key=lambda pool: sum(pool.most[: each or self._most]))
        places = self._preferred(worker, pool)[: each or min(len(pool.devices), self._most)]
        devices = [pool.devices[place] for place in sorted(places)]
        runs = self.model.stretched([device.memory_bytes for device in devices])
        ranks = (self._rank(worker, devices, runs),)
        return Packed(ranks, overcommitted(ranks, worker))

    def _rank(self, worker: WorkerView, devices: Sequence[Device], runs: Runs) -> Rank:
        claims = tuple(self.model.claims(devices, runs))
        return Rank(worker.name, claims, self.model.host(self._shape.ranks[0].ram, runs))

    def _pool(self, worker: WorkerView) -> Pool | None:
        """The type of devices that takes most of it, if one takes enough."""
        best: Pool | None = None
        most = self._least - 1
        for pool in pools(worker, self._rule):
            devices, held = self._reach(pool)
            if held > most and self._has_ram(worker, pool, devices):
                best, most = pool, held
        return best

    def _has_ram(self, worker: WorkerView, pool: Pool, devices: int) -> bool:
        if self.model.full and not pool.unified:
            return True
        runs = self._runs(pool, devices)
        need = self._base + self.model.host_bytes(runs)
        if pool.unified:
            places = sorted(pool.order[:devices])
            claims = self.model.claims([pool.devices[place] for place in places], runs)
            need += sum(claim.memory_bytes for claim in claims)
        return need <= worker.ram_free_bytes

    def _reach(self, pool: Pool) -> tuple[int, int]:
        """(Devices, layers on them): the fewest devices that hold everything, else the fewest that
        hold the most. Remembered for devices with the same free memory."""
        key = (pool.free, pool.order)
        found = self._found.get(key)
        if found is None:
            found = self._found[key] = self._search(pool)
        return found

    def _search(self, pool: Pool) -> tuple[int, int]:
        model, each = self.model, self._ask.devices_each if self._ask.device_ids else None
        if each is None and pool.most[0] >= model.one_device and not self._ask.device_ids:
            return 1, model.most
        limit = min(len(pool.devices), self._most)
        first = 1
        if self._ask.device_ids:  # chosen by hand: exactly these
            first = each or limit
            limit = min(first, limit)
        if model.full and sum(pool.most[:limit]) < model.total(1):
            return limit, model.cut([pool.free[place] for place in sorted(pool.order[:limit])]).held
        best = (limit, 0)
        for devices in range(first, limit + 1):
            held = self._runs(pool, devices).held
            if held > best[1]:
                best = (devices, held)
            if held == model.most:
                break
        return best

    def _runs(self, pool: Pool, devices: int) -> Runs:
        return self.model.cut([pool.free[place] for place in sorted(pool.order[:devices])])

    def _places(self, worker: WorkerView, pool: Pool, devices: int) -> Sequence[int]:
        """Which devices, in their order: binpack takes the fullest that hold as much."""
        if self._ask.device_ids:
            preferred = self._preferred(worker, pool)[:devices]
            if self.model.cut([pool.free[p] for p in sorted(preferred)]).held >= self._least:
                return sorted(preferred)
        if self._ask.strategy == "binpack":
            wanted = self._runs(pool, devices).held
            for first in range(len(pool.order) - devices, 0, -1):
                places = sorted(pool.order[first : first + devices])
                if self.model.cut([pool.free[place] for place in places]).held == wanted:
                    return places
        return sorted(pool.order[:devices])

    def _preferred(self, worker: WorkerView, pool: Pool) -> Sequence[int]:
        """Of devices chosen by hand, first those that fewest instances of the deployment have."""
        mine = worker.devices_of.get(self._ask.deployment, ())
        return sorted(pool.order, key=lambda place: mine.count(pool.devices[place].id))

    def _missing(self, worker: WorkerView, pool: Pool) -> Short:
        devices, held = self._reach(pool)
        free = sum(pool.most[:devices])
        if held >= self._least:  # it is the RAM
            need = self._base + self.model.host_bytes(self._runs(pool, devices))
            if pool.unified:
                need += self.model.total(devices)
            return Short("ram", need, worker.ram_free_bytes, held, self._least)
        return Short("layers", self.model.total(devices), free, held, self._least)


def added(parts: Iterable[MemoryParts]) -> MemoryParts:
    """The sum of each part."""
    total = NO_MEMORY
    for each in parts:
        total = total + each
    return total
