"""A model that is cut between its layers, with devices of other workers behind a process each.

The main process runs on one worker and holds the end of the model on its own devices, so that what
it computes last is where the answer leaves; the runs before that lie on remote devices. This is the
order in which llama.cpp counts them by itself: RPC devices first (`src/llama.cpp`, loading a model
puts them at the front of the list). In the placement rank 0 is the main process; each further rank
is one remote device, in the order of their runs. All of them have the same version of the engine.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from heapq import nsmallest

from aimindserve.core.device import Device
from aimindserve.core.placement import Rank
from aimindserve.core.shape import Shape
from aimindserve.scheduler.base import Ask, WorkerView
from aimindserve.scheduler.packing.base import Packed, overcommitted
from aimindserve.scheduler.packing.layers import Model, Runs
from aimindserve.scheduler.room import pools, rule
from aimindserve.scheduler.together import can_lend, version

CANDIDATES_MAX = 16
"""Remote devices that are considered: those with most free memory."""
MAINS_TRIED = 3


@dataclass(frozen=True, slots=True)
class _Spot:
    """A device with its worker and free bytes."""

    worker: WorkerView
    device: Device
    free: int


_Usable = tuple[int, str, WorkerView, list[_Spot]]
"""(Less its usable memory, name, worker, its devices)."""


class Remote:
    """One ask and layered shape, over several workers."""

    def __init__(self, ask: Ask, shape: Shape) -> None:
        if shape.layers is None:
            raise ValueError(f"{shape.label} is not cut between layers")
        self._ask = ask
        self._shape = shape
        self._layers = shape.layers
        self._model = Model(shape.layers, every=bool(ask.device_ids and ask.devices_each))
        self._rule = rule(ask, shape)
        self._least = min(max(shape.layers.least, 1), self._model.count)

    def pack(
        self, mains: Sequence[WorkerView], others: Sequence[WorkerView], *, forced: bool = False
    ) -> Packed | None:
        """The fewest remote devices that will do, beside all devices of the main worker: the one of
        `mains` with most usable memory. `forced`: devices chosen by hand, with or without room."""
        base = self._shape.ranks[0].ram.total
        usable = [
            (-sum(spot.free for spot in spots), worker.name, worker, spots)
            for worker in mains
            if worker.ram_free_bytes >= base
            for spots in (self._own(worker, base),)
        ]
        for _, _, main, own in self._tried(usable):
            far = self._far(main, others)
            found = self._force(main, own, far) if forced else self._try(main, own, far)
            if found is not None:
                return found
        return None

    def _tried(self, usable: Sequence[_Usable]) -> Iterator[_Usable]:
        """Of the workers of each version those with most usable memory, for all ranks have the
        same; and of those that can only lead."""
        groups: dict[tuple[str | None, bool], list[_Usable]] = {}
        for each in sorted(usable, key=lambda entry: entry[:2]):
            worker = each[2]
            key = version(self._ask, self._shape, worker), worker.local
            groups.setdefault(key, []).append(each)
        for group in groups.values():
            yield from group[:MAINS_TRIED]

    def _own(self, worker: WorkerView, base: int) -> list[_Spot]:
        """The main worker's devices: of the type that has most memory, by index; none where all of
        them are full."""
        best: list[_Spot] = []
        for pool in pools(worker, self._rule):
            places = sorted(pool.order[: self._layers.devices_max])
            spots = [_spot(worker, pool.devices[place], pool.free[place], base) for place in places]
            if sum(spot.free for spot in spots) > sum(spot.free for spot in best):
                best = spots
        return best

    def _far(self, main: WorkerView, others: Sequence[WorkerView]) -> list[_Spot]:
        """The remote devices that are considered, those with most free memory first."""
        lenders = (
            worker
            for worker in others
            if worker is not main and can_lend(self._ask, self._shape, main, worker)
        )
        spots = (spot for worker in lenders for spot in self._remote(worker))
        return nsmallest(
            CANDIDATES_MAX,
            spots,
            key=lambda spot: (-spot.free, spot.worker.name, spot.device.index, spot.device.id),
        )

    def _remote(self, worker: WorkerView) -> Iterator[_Spot]:
        """As many devices of a worker as it has RAM and ports for processes."""
        ram = self._layers.remote_ram.total
        processes = worker.ports_free
        if ram:
            processes = min(processes, worker.ram_free_bytes // ram)
        spots = [
            _spot(worker, device, free, ram)
            for pool in pools(worker, self._rule)
            for device, free in zip(pool.devices, pool.free, strict=True)
        ]
        spots.sort(key=lambda spot: (-spot.free, spot.device.index))
        yield from spots[: max(processes, 0)]

    def _try(self, main: WorkerView, own: list[_Spot], far: list[_Spot]) -> Packed | None:
        model = self._model
        for count, owned in self._counts(len(own), len(far)):
            # Of its own devices the largest: each one less makes room for a larger one elsewhere.
            kept = sorted(own, key=lambda spot: -spot.free)[:owned]
            spots = [*_in_order(far[:count]), *(spot for spot in own if spot in kept)]
            rooms = [spot.free for spot in spots]
            runs = model.cut(rooms)
            if runs.held < self._least:
                continue
            if runs.held == model.most:
                runs = model.even(rooms, runs)
            ranks = self._ranks(main, spots, runs)
            homes = {spot.worker.name: spot.worker for spot in (*spots, *own)}
            if all(_has_ram(worker, ranks) for worker in homes.values()):
                return Packed(ranks)
        return None

    def _counts(self, own: int, far: int) -> Iterator[tuple[int, int]]:
        """(Remote devices, devices of the main worker), the fewest remote ones first, and beside
        them as many of its own as there may be."""
        each = self._ask.devices_each if self._ask.device_ids else None
        for count in range(1, min(self._layers.remote_max, far) + 1):
            owned = min(own, self._layers.devices_max - count)
            if owned >= 0 and each in (None, count + owned):
                yield count, owned

    def _force(self, main: WorkerView, own: list[_Spot], far: list[_Spot]) -> Packed | None:
        """All that are chosen, or as many of them as one instance takes."""
        limit = min(self._layers.remote_max, self._layers.devices_max - len(own))
        wanted = len(far) if self._ask.devices_each is None else self._ask.devices_each - len(own)
        if not 0 < wanted <= min(limit, len(far)):
            return None
        spots = [*_in_order(far[:wanted]), *own]
        runs = self._model.stretched([spot.device.memory_bytes for spot in spots])
        ranks = self._ranks(main, spots, runs)
        workers = {spot.worker.name: spot.worker for spot in spots}
        warnings = [
            warning for worker in workers.values() for warning in overcommitted(ranks, worker)
        ]
        return Packed(ranks, tuple(warnings))

    def _ranks(self, main: WorkerView, spots: Sequence[_Spot], runs: Runs) -> tuple[Rank, ...]:
        claims = self._model.claims([spot.device for spot in spots], runs)
        homes = {spot.device.id: spot.worker for spot in spots}
        own = tuple(claim for claim in claims if homes[claim.device] is main)
        ram = self._model.host(self._shape.ranks[0].ram, runs)
        return (
            Rank(main.name, own, ram),
            *(
                Rank(homes[claim.device].name, (claim,), self._layers.remote_ram)
                for claim in claims
                if homes[claim.device] is not main
            ),
        )


def _spot(worker: WorkerView, device: Device, free: int, process: int) -> _Spot:
    """`process`: what the process that uses the device takes of the RAM, bytes; what is left of it
    bounds a device that shares it."""
    left = worker.ram_free_bytes - process if device.unified_memory else free
    return _Spot(worker, device, min(free, left))


def _has_ram(worker: WorkerView, ranks: Sequence[Rank]) -> bool:
    """Whether there is RAM for what `ranks` take of it there, devices that share it included."""
    shared = {device.id for device in worker.devices if device.unified_memory}
    here = [rank for rank in ranks if rank.worker == worker.name]
    claimed = sum(
        claim.memory_bytes for rank in here for claim in rank.claims if claim.device in shared
    )
    return claimed + sum(rank.ram.total for rank in here) <= worker.ram_free_bytes


def _in_order(spots: Sequence[_Spot]) -> list[_Spot]:
    return sorted(spots, key=lambda spot: (spot.worker.name, spot.device.index, spot.device.id))
