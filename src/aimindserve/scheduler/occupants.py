"""Who holds memory, and the cluster as it would be without some of them. Pure."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from aimindserve.core.placement import Placement
from aimindserve.scheduler.base import Snapshot, WorkerView
from aimindserve.scheduler.pack import release


@dataclass(frozen=True, slots=True)
class Occupant:
    """An instance that holds memory and could be stopped."""

    instance: str
    deployment: str
    placement: Placement

    @property
    def held_bytes(self) -> int:
        """What stopping it frees: of devices if it holds any, else of RAM."""
        ranks = self.placement.ranks
        devices = sum(claim.memory_bytes for rank in ranks for claim in rank.claims)
        return devices or sum(rank.ram.total for rank in ranks)

    @property
    def workers(self) -> frozenset[str]:
        """Where it has ranks."""
        return frozenset(rank.worker for rank in self.placement.ranks)


def without(snapshot: Snapshot, gone: Iterable[Occupant]) -> Snapshot:
    """The snapshot once `gone` have ended, on all workers that are in it."""
    workers: Mapping[str, WorkerView] = {worker.name: worker for worker in snapshot.workers}
    changed: dict[str, WorkerView] = {}
    for each in gone:
        for name in each.workers & workers.keys():
            worker = changed.get(name) or workers[name]
            changed[name] = release(worker, each.placement, each.deployment)
    left = tuple(changed.get(worker.name, worker) for worker in snapshot.workers)
    return replace(snapshot, workers=left)
