"""The scheduler's whole world: an immutable snapshot in, a plan out.

    snapshot = workers with what is claimed and free      asks = instances with their shapes
                         plan(snapshot, asks) -> placements and refusals

Pure: no clock, no randomness, no I/O; the same bytes from the same snapshot in any process.
"""

from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeVar

from aimindserve.core.device import NOTHING_RESERVED, Device, Reserved
from aimindserve.core.ids import DeviceId, WorkerName
from aimindserve.core.placement import Placement
from aimindserve.core.reason import Reason
from aimindserve.core.shape import Shape

T = TypeVar("T")


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
    reserved: Reserved = NOTHING_RESERVED
    """Of the totals, what it keeps for its system; it is not in what is free."""
    disk_free_bytes: int | None = None
    """Where it keeps model files; None when that is not known."""
    python: str = ""
    """Version of its Python, which must be one among the workers of a Ray cluster."""
    processor: str = ""
    """The kind of its processors, by name; empty when that is not known."""
    backends: Mapping[str, tuple[str, ...]] | None = None
    """Backend name -> versions that are there; None when the worker does not say."""
    across: Mapping[str, int] = field(default_factory=dict[str, int])
    """Backend name -> instances of it here that span several workers."""
    devices_of: Mapping[str, tuple[DeviceId, ...]] = field(
        default_factory=dict[str, tuple[DeviceId, ...]]
    )
    """Deployment name -> the devices that its instances hold here, one entry per claim."""
    away: Reason | None = None
    """Why it is not ready, where more is known than that."""
    local: bool = False
    """Known by an address that only its own machine can use."""
    free_share: float = field(init=False, repr=False, compare=False)
    """0 (full) to 1 (empty): free of all device memory; derived."""
    memo: dict[Hashable, Any] = field(
        init=False, repr=False, compare=False, default_factory=dict[Hashable, Any]
    )
    """What was worked out of the other fields, since it is asked for every ask and shape."""

    def __post_init__(self) -> None:
        total = sum(device.memory_bytes for device in self.devices)
        free = self.device_free_bytes
        share = sum(free.get(device.id, 0) for device in self.devices) / total if total else 0.0
        object.__setattr__(self, "free_share", min(max(share, 0.0), 1.0))


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
    """Devices chosen by hand: only these, and even when they have too little left (with a
    warning in the placement)."""
    devices_each: int | None = None
    """How many of `device_ids` one instance takes; None: as many as its shape has."""
    strategy: str = "spread"
    file_workers: Mapping[WorkerName, Reason | None] | None = None
    """Workers on which the model is known: None as a value means it is there, a Reason why not.
    None instead of a mapping: any worker can fetch it."""
    file_at: frozenset[WorkerName] = frozenset()
    """Workers known to have the model's files, where others may fetch them."""
    file_bytes: int = 0
    """What a worker that does not have the model's files must fetch."""
    instances_per_worker_max: int | None = None
    """Anti-affinity: most instances of the deployment on one worker."""
    failures: Mapping[str, Reason] = field(default_factory=dict[str, Reason])
    """Device id, or `<worker>:ram`, -> why an instance with the same needs must not run there
    again: it ran out of memory there. Its parameters `shape` (a label) and `failed_bytes` say what
    was too much: a shape that needs less may."""
    crashes: Mapping[WorkerName, int] = field(default_factory=dict[WorkerName, int])
    """How often instances of the deployment failed on a worker of late."""
    created_at: float = 0.0
    backend: str = ""
    backend_version: str = ""
    """Empty: any."""


Objections = tuple[tuple[WorkerName, Reason], ...]
"""Every worker with everything that speaks against it, sorted by worker."""


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why no shape of an ask fits: one sentence, and every worker's reasons."""

    summary: Reason
    workers: Objections = ()


class Judgements(Protocol):
    """What was said of every worker when one ask was decided; worked out when somebody asks, and
    not touched by what is placed later."""

    @property
    def workers(self) -> Sequence[WorkerView]:
        """The workers as they were, in the order of their names."""
        ...

    @property
    def results(self) -> tuple[float | Reason, ...]:
        """Per worker its score, or why not."""
        ...

    @property
    def refusal(self) -> Refusal:
        """Why no worker will do."""
        ...

    def score(self, position: int) -> float | None:
        """Of the worker at `position`; None where it is refused."""
        ...

    def passing_but(self, name: str) -> Sequence[tuple[Shape, Sequence[WorkerView]]]:
        """Per shape the workers that no filter refuses, or only the one called `name`."""
        ...

    def once(self, key: str, work: Callable[[], T]) -> T:
        """`work`, which follows from the ask and the workers: done once for all asks alike."""
        ...

    def parts(self, position: int) -> Mapping[str, float]:
        """What each scorer says of the worker at `position`, before weighing."""
        ...


@dataclass(frozen=True, slots=True)
class Decision:
    """How one ask was decided: what `explain.record` turns into the record that people read."""

    ask: Ask
    revision: int
    shape: int | None
    """Which of the ask's shapes was taken; None when none fits."""
    placement: Placement | None
    judged: Judgements = field(repr=False, compare=False)
    """For the shape that was taken; without one, for the last one tried."""

    @property
    def workers(self) -> tuple[WorkerName, ...]:
        """The workers that were judged."""
        return tuple(worker.name for worker in self.judged.workers)

    @property
    def results(self) -> tuple[float | Reason, ...]:
        """Per worker its score for the shape, or why not."""
        return self.judged.results

    @property
    def refusal(self) -> Refusal | None:
        """Why it was placed nowhere; None when it was."""
        return self.judged.refusal if self.placement is None else None


@dataclass(frozen=True, slots=True)
class Plan:
    """The scheduler's output, one entry per ask, by instance name."""

    placements: Mapping[str, Placement]
    refusals: Mapping[str, Refusal]
    """Worked out when looked at: who only wants to know whether it fits need not wait for why."""
    decisions: Mapping[str, Decision] = field(default_factory=dict[str, Decision])


class Filter(Protocol):
    """Refuses a worker for an ask and a shape, with the reason. One file each in `filters/`.

    Asks that differ only in `instance`, `placement_id` and `created_at` must be judged alike: one
    judgement is used for all of them.

    For speed a filter may also have

    * `screen(ask, shape)`: a test that says of a worker whether `reject` has nothing against it, or
      None when that is so for every worker;
    * `lasting(ask, shape)`, where no placement can change the answer about a worker: a value, equal
      for asks and shapes of which the filter says the same, in this plan and any later one.
    """

    name: str

    def reject(self, ask: Ask, shape: Shape, worker: WorkerView) -> Reason | None:
        """Why not here, with numbers; None when this filter has nothing against it."""
        ...


class Scorer(Protocol):
    """Prefers one worker over another. One file each in `scorers/`; judges asks alike as filters
    do. Asked only about workers that no filter refuses.

    A scorer may also have `prepare(ask, shape)`, for speed: it returns what gives a worker's score,
    or None when all workers have the score zero.
    """

    name: str
    weight: float

    def score(self, ask: Ask, shape: Shape, worker: WorkerView) -> float:
        """0 (worst) to 1 (best)."""
        ...


Screen = Callable[[WorkerView], bool]
Gauge = Callable[[WorkerView], float]
