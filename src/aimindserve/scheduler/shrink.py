"""Which deployments to scale down so that somebody else fits: as few instances as it takes.

A deployment that is scaled down stops those of its instances that are missed least, not those that
would make most room; so whole numbers of instances are tried, in the order in which they would
really go. One deployment is tried, then two, then all together; what is not needed is given back.
Every answer was seen to work on the scheduler. Pure.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations

from aimindserve.scheduler.base import Ask, Snapshot
from aimindserve.scheduler.occupants import Occupant, without
from aimindserve.scheduler.plan import plan

STOPPED_MAX = 8
"""Stopping more than this is no advice."""
CREWS_TRIED = 64
"""Deployments that are tried, those first that hold most."""
PAIRS_OF = 12
"""Of so many deployments at most every pair is tried."""


@dataclass(frozen=True, slots=True)
class Crew:
    """The placed instances of a deployment, in the order in which they would be stopped."""

    deployment: str
    members: tuple[Occupant, ...]


@dataclass(frozen=True, slots=True)
class Shrunk:
    """Deployments and how many instances are left of each, and who is stopped for it."""

    replicas: Mapping[str, int]
    stopped: tuple[Occupant, ...]


Counts = Mapping[str, int]
"""Deployment -> how many of its instances are stopped."""


def shrink(snapshot: Snapshot, asks: Sequence[Ask], crews: Sequence[Crew]) -> Shrunk | None:
    """What must go so that all of `asks` fit, which do not as things are; None where nothing within
    the limits is enough."""
    search = _Search(snapshot, asks, crews)
    names = search.names
    groups: Iterable[tuple[str, ...]] = ((name,) for name in names)
    if len(names) <= PAIRS_OF:
        groups = (*groups, *combinations(names, 2))
    found = [counts for group in groups if (counts := search.least(group)) is not None]
    if not found and (together := search.least(names)) is not None:
        found = [together]
    few = [counts for counts in found if sum(counts.values()) <= STOPPED_MAX]
    best = min(few, key=search.rank, default=None)
    if best is None or not search.fits_everywhere(best):
        return None
    return search.shrunk(best)


class _Search:
    def __init__(self, snapshot: Snapshot, asks: Sequence[Ask], crews: Sequence[Crew]) -> None:
        own = {ask.deployment for ask in asks}
        ordered = sorted(
            (crew for crew in crews if crew.members and crew.deployment not in own),
            key=lambda crew: (-_held(crew.members), crew.deployment),
        )
        self._crews = {crew.deployment: crew for crew in ordered[:CREWS_TRIED]}
        self._snapshot = snapshot
        self._asks = list(asks)
        self._spread = any(
            shape.across or (shape.layers is not None and shape.layers.remote_max)
            for ask in asks
            for shape in ask.shapes
        )
        self.names = tuple(self._crews)

    def least(self, group: Sequence[str]) -> Counts | None:
        """The least of every deployment of `group`, none of which could stay, that is enough."""
        counts = {name: len(self._crews[name].members) for name in group}
        if not counts or not self._fits(counts):
            return None
        # The small ones come back first: what is left is few and large.
        for name in sorted(group, key=lambda name: (_held(self._crews[name].members), name)):
            counts = {**counts, name: self._fewest(counts, name)}
        return {name: count for name, count in counts.items() if count}

    def rank(self, counts: Counts) -> tuple[int, int, tuple[str, ...]]:
        """The fewest instances, of those the smallest."""
        return sum(counts.values()), _held(self._stopped(counts)), tuple(sorted(counts))

    def fits_everywhere(self, counts: Counts) -> bool:
        """Whether it is enough on the whole cluster, not only where something becomes free."""
        return self._placed(without(self._snapshot, self._stopped(counts)))

    def shrunk(self, counts: Counts) -> Shrunk:
        left = {name: len(self._crews[name].members) - count for name, count in counts.items()}
        stopped = sorted(self._stopped(counts), key=lambda each: each.instance)
        return Shrunk(dict(sorted(left.items())), tuple(stopped))

    def _fewest(self, counts: Counts, name: str) -> int:
        low, high = 0, counts[name]
        while low < high:
            middle = (low + high) // 2
            enough = self._fits({**counts, name: middle})
            low, high = (low, middle) if enough else (middle + 1, high)
        return high

    def _fits(self, counts: Counts) -> bool:
        """Only where something becomes free can there be room that was not there before; ranks on
        several workers may use any of them."""
        gone = self._stopped(counts)
        seen = self._snapshot
        if not self._spread:
            freed = frozenset[str]().union(*(each.workers for each in gone))
            here = tuple(worker for worker in seen.workers if worker.name in freed)
            seen = replace(seen, workers=here)
        return self._placed(without(seen, gone))

    def _placed(self, seen: Snapshot) -> bool:
        return len(plan(seen, self._asks).placements) == len(self._asks)

    def _stopped(self, counts: Counts) -> list[Occupant]:
        return [
            each for name, count in counts.items() for each in self._crews[name].members[:count]
        ]


def _held(occupants: Iterable[Occupant]) -> int:
    return sum(each.held_bytes for each in occupants)
