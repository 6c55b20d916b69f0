"""The scheduler's whole world: an immutable snapshot in, a plan out.

    snapshot = workers with what is claimed and free      asks = instances with their shapes
                         plan(snapshot, asks) -> placements and refusals

Pure: no clock, no randomness, no I/O; the same bytes from the same snapshot in any process.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

from aimindserve.core.device import Device
from aimindserve.core.ids import DeviceId, WorkerName
from aimindserve.core.placement import Placement
from aimindserve.core.reason import Reason
from aimindserve.core.shape import Shape


@dataclass(frozen=True, slots=True)
class WorkerView:
    """One worker as the scheduler sees it. Bytes.

    `*_free_bytes` are already what may be handed out: total, less reserved, less every claim of a
    committed placement, less what foreign processes are measured to use.
    """

    name: WorkerName
    ready: bool
    cordoned: bool
    os: str
    arch: str
    labels: Mapping[str, str]
    ram_bytes: int
    ram_free_bytes: int
    devices: tuple[Device, ...] = ()
    device_free_bytes: Mapping[DeviceId, int] = field(default_factory=dict[DeviceId, int])
    ports_free: int = 64
    instances: Mapping[str, int] = field(default_factory=dict[str, int])
    """Deployment name -> how many of its instances are placed here."""


@dataclass(frozen=True, slots=True)
class Snapshot:
    """Every worker, sorted by name, at a revision of the store."""

    revision: int
    workers: tuple[WorkerView, ...]


@dataclass(frozen=True, slots=True)
class Ask:
    """An instance waiting for a placement."""

    instance: str
    deployment: str
    placement_id: str
    """The id its placement will carry, chosen by the caller so that the plan stays pure."""
    shapes: tuple[Shape, ...]
    selector: Mapping[str, str] = field(default_factory=dict[str, str])
    device_ids: tuple[DeviceId, ...] = ()
    strategy: str = "spread"
    file_workers: Mapping[WorkerName, Reason | None] | None = None
    """Workers on which the model is known: None as a value means it is there, a Reason why not.
    None instead of a mapping: any worker can fetch it."""
    created_at: float = 0.0
    backend: str = ""


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why no shape of an ask fits: one sentence, and every worker's reasons."""

    summary: Reason
    workers: tuple[tuple[WorkerName, Reason], ...] = ()


@dataclass(frozen=True, slots=True)
class Plan:
    """The scheduler's output, one entry per ask, by instance name."""

    placements: Mapping[str, Placement]
    refusals: Mapping[str, Refusal]


class Filter(Protocol):
    """Refuses a worker for an ask and a shape, with the reason. One file each in `filters/`."""

    name: str

    def reject(self, ask: Ask, shape: Shape, worker: WorkerView) -> Reason | None:
        """Why not here, with numbers; None when this filter has nothing against it."""
        ...


class Scorer(Protocol):
    """Prefers one worker over another. One file each in `scorers/`."""

    name: str
    weight: float

    def score(self, ask: Ask, shape: Shape, worker: WorkerView) -> float:
        """0 (worst) to 1 (best)."""
        ...
