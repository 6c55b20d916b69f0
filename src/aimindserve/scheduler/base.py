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
    service_ports: tuple[int, int] = (40000, 40063)
    instances: Mapping[str, int] = field(default_factory=dict[str, int])
    """Deployment name -> how many of its instances are placed here."""
    free_by_type: Mapping[str, tuple[int, ...]] = field(init=False, repr=False, compare=False)
    """Device type -> free bytes of its devices, the largest first; derived, as is the next."""
    free_share: float = field(init=False, repr=False, compare=False)
    """0 (full) to 1 (empty): free of all device memory."""

    def __post_init__(self) -> None:
        # Asked about for every ask and shape, so it is worked out once for each worker.
        by_type: dict[str, list[int]] = {}
        total = 0
        for device in self.devices:
            by_type.setdefault(device.type, []).append(self.device_free_bytes.get(device.id, 0))
            total += device.memory_bytes
        free = {kind: tuple(sorted(by_type[kind], reverse=True)) for kind in sorted(by_type)}
        share = sum(map(sum, free.values())) / total if total else 0.0
        object.__setattr__(self, "free_by_type", free)
        object.__setattr__(self, "free_share", share)


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
class Decision:
    """How one ask was decided: what `explain.record` turns into the record that people read."""

    ask: Ask
    revision: int
    shape: int | None
    """Which of the ask's shapes was taken; None when none fits."""
    workers: tuple[WorkerName, ...] = ()
    results: tuple[float | Reason, ...] = ()
    """Per worker its score for that shape, or why not; without a shape, for the last one tried."""
    placement: Placement | None = None
    refusal: Refusal | None = None


@dataclass(frozen=True, slots=True)
class Plan:
    """The scheduler's output, one entry per ask, by instance name."""

    placements: Mapping[str, Placement]
    refusals: Mapping[str, Refusal]
    decisions: Mapping[str, Decision] = field(default_factory=dict[str, Decision])


class Filter(Protocol):
    """Refuses a worker for an ask and a shape, with the reason. One file each in `filters/`.

    Asks that differ only in `instance`, `placement_id` and `created_at` must be judged alike: one
    judgement is used for all of them.
    """

    name: str

    def reject(self, ask: Ask, shape: Shape, worker: WorkerView) -> Reason | None:
        """Why not here, with numbers; None when this filter has nothing against it."""
        ...


class Scorer(Protocol):
    """Prefers one worker over another. One file each in `scorers/`; judges asks alike as filters
    do."""

    name: str
    weight: float

    def score(self, ask: Ask, shape: Shape, worker: WorkerView) -> float:
        """0 (worst) to 1 (best)."""
        ...
