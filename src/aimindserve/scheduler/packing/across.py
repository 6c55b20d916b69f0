"""A rank on each of several workers.

`Part` says of one worker whether it could take a rank; `join` finds the workers for all ranks. They
must have devices of one type and the same Python (a Ray cluster has one). The ranks choose in turn,
the largest first, each the best worker that is left; one that finds none has the others move over
(augmenting paths: H. W. Kuhn's method for matchings), so none is ever missed.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import cache, cached_property

from aimindserve.core.device import Need
from aimindserve.core.placement import Rank
from aimindserve.core.reason import Reason
from aimindserve.core.shape import Shape, least_trusted
from aimindserve.scheduler.base import Ask, WorkerView
from aimindserve.scheduler.packing.base import Bounds, Packed, Short, Way, mark_of
from aimindserve.scheduler.packing.kinds import on_one_worker
from aimindserve.scheduler.room import pools, rule


class Part:
    """One ask and shape across workers, on one of them: it will do if it can take any rank."""

    def __init__(self, ask: Ask, shape: Shape) -> None:
        self._ask = ask
        self._shape = shape
        self._whole = shape.whole_workers and not ask.device_ids
        self._types = rule(ask, shape)._replace(fraction=0.0)
        alone = [_alone(shape, index) for index in range(len(shape.ranks))]
        self._ranks = {each: place for place, each in enumerate(dict.fromkeys(alone))}
        """Ranks that are not alike, each as a shape of its own."""
        self._which = [self._ranks[each] for each in alone]
        """Which of them each rank of the shape is."""
        self._ways = [(each.ranks[0], _way(ask, each)) for each in self._ranks]
        self._ways.sort(key=lambda each: (len(each[0].devices), _size(each[0])))
        self.size = min((way.size for _, way in self._ways), default=0)
        self.count = min((len(need.devices) for need in shape.ranks), default=0)

    @cached_property
    def mark(self) -> object:
        return mark_of(self._ask, self._shape)

    @property
    def bounds(self) -> Bounds | None:
        return None

    def fits(self, worker: WorkerView) -> bool:
        return any(self._is_exact(need, worker) and way.fits(worker) for need, way in self._ways)

    def barren(self, worker: WorkerView) -> bool:
        return self._ways[0][1].barren(worker)

    def forced(self, worker: WorkerView) -> bool:
        return any(way.forced(worker) for _, way in self._ways)

    def short(self, worker: WorkerView) -> Short | None:
        if self.fits(worker):
            return None
        exact = [way for need, way in self._ways if self._is_exact(need, worker)]
        if not exact and not self.barren(worker):
            there = max((len(pool.devices) for pool in pools(worker, self._types)), default=0)
            return Short("whole", found=there, wanted=self.count)
        return (exact[0] if exact else self._ways[0][1]).short(worker)

    def pack(self, worker: WorkerView) -> Packed:
        raise ValueError(f"{self._shape.label} does not fit on {worker.name} alone")

    def join(self, ranked: Sequence[WorkerView], *, forced: bool = False) -> Packed | None:
        """The shape's ranks on different workers; `ranked` are those that could take one, the best
        first. `forced`: devices chosen by hand, with or without room."""
        found: list[tuple[int, str, str, list[tuple[int, Way]]]] = []
        for python, kind in self._groups(ranked):
            group = [place for place, worker in enumerate(ranked) if worker.python == python]
            chosen = self._choose(group, ranked, kind, forced=forced)
            if chosen is not None:
                found.append((sum(place for place, _ in chosen), python, kind, chosen))
        if not found:
            return None
        chosen = min(found, key=lambda each: each[:3])[3]
        parts = [way.pack(ranked[place]) for place, way in chosen]
        told = [part.confidence or self._shape.confidence for part in parts]
        ranks: tuple[Rank, ...] = tuple(rank for part in parts for rank in part.ranks)
        warnings: tuple[Reason, ...] = tuple(each for part in parts for each in part.warnings)
        return Packed(ranks, warnings, least_trusted(told))

    def _groups(self, ranked: Sequence[WorkerView]) -> list[tuple[str, str]]:
        pythons = {worker.python for worker in ranked}
        kinds = {pool.type for worker in ranked for pool in pools(worker, self._types)}
        return [(python, kind) for python in sorted(pythons) for kind in sorted(kinds or {""})]

    def _choose(
        self, group: Sequence[int], ranked: Sequence[WorkerView], kind: str, *, forced: bool
    ) -> list[tuple[int, Way]] | None:
        """Per rank of the shape a place in `ranked`, and how the rank is packed there."""
        needs, which = self._shape.ranks, self._which
        ways = [_way(self._ask, each, kind) for each in self._ranks]
        order = sorted(range(len(needs)), key=lambda index: (-_size(needs[index]), index))

        @cache
        def could(alike: int, place: int) -> bool:
            worker, way = ranked[place], ways[alike]
            here = way.fits(worker) or (forced and way.forced(worker))
            return here and self._is_exact(needs[which.index(alike)], worker)

        taken: dict[int, int] = {}
        for index in order:
            if not _seat(index, lambda rank, place: could(which[rank], place), group, taken, set()):
                return None
        places = {index: place for place, index in taken.items()}
        return [(places[index], ways[which[index]]) for index in range(len(needs))]

    def _is_exact(self, need: Need, worker: WorkerView) -> bool:
        """Whether the rank takes every device of the worker, where it has to."""
        if not self._whole:
            return True
        kinds = self._types.types
        count = sum(not kinds or device.type in kinds for device in worker.devices)
        return count == len(need.devices)


def _seat(
    index: int,
    could: Callable[[int, int], bool],
    group: Sequence[int],
    taken: dict[int, int],
    asked: set[int],
) -> bool:
    """Give rank `index` a place of `group` in `taken` (place -> rank): the first that is left, else
    one whose rank can move. `asked`: places whose ranks were asked to move already."""
    for place in group:
        if place not in taken and could(index, place):
            taken[place] = index
            return True
    for place in group:
        if place in taken and place not in asked and could(index, place):
            asked.add(place)
            if _seat(taken[place], could, group, taken, asked):
                taken[place] = index
                return True
    return False


def _alone(shape: Shape, index: int) -> Shape:
    """One rank as a shape of its own."""
    kinds = tuple(replace(each, ranks=(each.ranks[index],)) for each in shape.kinds)
    return replace(shape, ranks=(shape.ranks[index],), across=False, kinds=kinds)


def _way(ask: Ask, alone: Shape, kind: str = "") -> Way:
    """One rank, on devices of one type."""
    if kind:
        requirement = replace(alone.requirement, device_types=(kind,))
        alone = replace(alone, requirement=requirement)
    each = len(alone.ranks[0].devices) if ask.devices_each is not None else None
    return on_one_worker(replace(ask, devices_each=each), alone)


def _size(need: Need) -> int:
    return sum(parts.total for parts in need.devices)
