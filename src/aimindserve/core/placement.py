"""The committed choice of where an instance runs. Written by the scheduler alone, never changed."""

from dataclasses import dataclass, field

from aimindserve.core.device import NO_MEMORY, MemoryParts
from aimindserve.core.ids import DeviceId, WorkerName
from aimindserve.core.reason import Reason


@dataclass(frozen=True, slots=True)
class Claim:
    """Bytes held on one device for one rank."""

    device: DeviceId
    parts: MemoryParts
    layers: int = 0
    """Layers of the model that go there, for shapes that are cut between layers."""

    @property
    def memory_bytes(self) -> int:
        """The whole claim."""
        return self.parts.total


@dataclass(frozen=True, slots=True)
class Rank:
    """One process of an instance: its worker, its claims on devices, its host memory."""

    worker: WorkerName
    claims: tuple[Claim, ...] = ()
    ram: MemoryParts = field(default=NO_MEMORY)


@dataclass(frozen=True, slots=True)
class Placement:
    """Where an instance runs. `id` tells this placement from earlier ones of the same instance, so
    that an observation of an old one is never taken for one of the new."""

    id: str
    shape: str
    ranks: tuple[Rank, ...]
    parameters: tuple[str, ...] = ()
    placed_at: float = 0.0
    warnings: tuple[Reason, ...] = ()
    """What the user must know of it: devices chosen by hand that hold less than is needed."""
    backend: str = ""
    """The inference backend it was priced for, by its own name: launched with no other."""
    confidence: str = ""
    """Where the bytes of its claims come from, as its shape says it; empty: not said."""

    @property
    def worker(self) -> WorkerName:
        """The worker of rank 0, which answers requests."""
        return self.ranks[0].worker

    @property
    def workers(self) -> tuple[WorkerName, ...]:
        """Its workers in the order of their ranks, each once."""
        return tuple(dict.fromkeys(rank.worker for rank in self.ranks))

    def lends(self, worker: str) -> bool:
        """Whether `worker` only lends its devices to rank 0, which sends them the layers: it needs
        none of the model's files."""
        mine = [rank for rank in self.ranks if rank.worker == worker]
        cut = all(claim.layers for rank in mine for claim in rank.claims)
        return worker != self.worker and bool(mine) and cut and any(each.claims for each in mine)
