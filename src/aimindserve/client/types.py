"""What the API's documents hold, typed: one spec and one status for each kind.

Written apart from `resources`, which validates on the server: a client must open quickly and must
read what a newer server says. So words that may grow (phases, states, sources) are plain strings,
unknown fields are passed over, and only standard dataclasses are used. A test compares the fields
with those of `resources`.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from aimindserve.core.device import Inventory, Reserved, Usage
from aimindserve.core.measurement import Footprint, Sample, Shortage, Speed, Start
from aimindserve.core.placement import Placement


@dataclass(frozen=True, slots=True)
class Reason:
    """Why something is so: `code` and `params` for programs, `message` and `fix` for people."""

    code: str
    params: Mapping[str, Any] = field(default_factory=dict[str, Any])
    message: str = ""
    fix: str = ""
    evidence: str = ""


@dataclass(frozen=True, slots=True)
class ModelRef:
    """Which model: `path` for source `local`, `repo` for hubs, `name` for Ollama's library."""

    source: str
    path: str | None = None
    repo: str | None = None
    name: str | None = None
    file: str | None = None
    revision: str | None = None


@dataclass(frozen=True, slots=True)
class GpuSelector:
    """Devices chosen by hand, as `worker:type:index`."""

    gpu_ids: tuple[str, ...] = ()
    gpus_per_replica: int | None = None


@dataclass(frozen=True, slots=True)
class DeploymentSpec:
    """What is wanted: this model, so many times."""

    model: ModelRef
    replicas: int = 1
    backend: str | None = None
    backend_version: str | None = None
    backend_parameters: tuple[str, ...] = ()
    env: Mapping[str, str] = field(default_factory=dict[str, str])
    categories: tuple[str, ...] = ()
    description: str = ""
    placement_strategy: str = "spread"
    worker_selector: Mapping[str, str] = field(default_factory=dict[str, str])
    gpu_selector: GpuSelector | None = None
    instances_per_worker_max: int | None = None
    cpu_offloading: bool = True
    distributed_inference_across_workers: bool = False
    restart_on_error: bool = True


@dataclass(frozen=True, slots=True)
class PlaceFailure:
    """A device, or a worker's RAM, where a deployment ran out of memory. Not tried `until` then."""

    place: str
    template: str
    shape: str
    need_bytes: int
    reason: Reason
    times: int
    placement_id: str
    until: float


@dataclass(frozen=True, slots=True)
class Crashes:
    """Engines that ended by themselves in one place for one reason. Seconds since the epoch."""

    worker: str
    devices: tuple[str, ...]
    reason: Reason
    times: int
    first_at: float
    last_at: float
    counted: tuple[tuple[str, int], ...] = ()


@dataclass(frozen=True, slots=True)
class DeploymentStatus:
    """How far a deployment is. `phase` is derived by the server."""

    observed_generation: int = 0
    replicas: int = 0
    ready_replicas: int = 0
    reason: Reason | None = None
    failures: tuple[PlaceFailure, ...] = ()
    crashes: tuple[Crashes, ...] = ()
    phase: str = ""


@dataclass(frozen=True, slots=True)
class InstanceSpec:
    """One running copy of a deployment; `template` is the deployment's spec it was made from."""

    deployment: str
    deployment_generation: int
    template: DeploymentSpec
    stopping: bool = False


@dataclass(frozen=True, slots=True)
class InstanceObservation:
    """What the worker last saw. Times in seconds since the epoch."""

    placement_id: str
    state: str
    since: float
    port: int = 0
    pid: int = 0
    run: int = 0
    restarts: int = 0
    reason: Reason | None = None
    next_start: float | None = None
    adopted: bool = False
    rss_bytes: int = 0
    ended: Reason | None = None
    ooms: int = 0
    generated_tokens: int | None = 0
    generated_s: float = 0.0


@dataclass(frozen=True, slots=True)
class InstanceStatus:
    """Where it runs, why not, and how it does."""

    placement: Placement | None = None
    refusal: Reason | None = None
    observed: InstanceObservation | None = None
    phase: str = ""
    reason: Reason | None = None


@dataclass(frozen=True, slots=True)
class WorkerSpec:
    """What is wanted of a worker."""

    cordoned: bool = False
    machine_id: str = ""


@dataclass(frozen=True, slots=True)
class WorkerObservation:
    """What a worker says of itself."""

    version: str
    host: str
    port: int
    metrics_port: int
    inventory: Inventory
    usage: Usage
    reserved: Reserved
    service_ports: tuple[int, int] = (40000, 40063)
    python: str = ""
    backends: tuple[tuple[str, tuple[str, ...]], ...] | None = None
    """Inference backends that can be started there, each with the installed versions."""
    presence: str = "here"
    """`leaving` and `left` once its agent ends in order."""


@dataclass(frozen=True, slots=True)
class WorkerStatus:
    """Whether it reports, and what it has."""

    ready: bool = False
    evicted: bool = False
    reason: Reason | None = None
    observed: WorkerObservation | None = None
    phase: str = ""


@dataclass(frozen=True, slots=True)
class ModelFileSpec:
    """Which worker has, or looks at, which model."""

    worker: str
    model: ModelRef


@dataclass(frozen=True, slots=True)
class ModelFacts:
    """What a model's file says of itself, as far as clients want to know it. Bytes."""

    format: str
    architecture: str
    size_bytes: int
    parameter_count: int = 0
    quantization: str = ""
    context_length: int = 0
    layer_count: int = 0
    name: str = ""
    chat_template: bool = False
    categories: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class FileObservation:
    """What a worker knows of a model file. Sizes in bytes."""

    state: str
    path: str = ""
    size_bytes: int = 0
    fetched_bytes: int = 0
    facts: ModelFacts | None = None
    reason: Reason | None = None


@dataclass(frozen=True, slots=True)
class ModelFileStatus:
    """Written by the worker."""

    observed: FileObservation | None = None
    phase: str = ""


@dataclass(frozen=True, slots=True)
class Target:
    """A deployment behind a route, with its share of the traffic."""

    deployment: str
    weight: int = 1


@dataclass(frozen=True, slots=True)
class EstimateSpec:
    """What the numbers are about: whatever memory depends on."""

    model: str
    digest: str
    backend: str
    version: str
    shape: str
    device: str
    parameters: tuple[str, ...] = ()
    settings: str = ""


@dataclass(frozen=True, slots=True)
class EstimateStatus:
    """What was predicted and what was measured. Bytes; `error` is predicted / measured - 1."""

    predicted: Footprint | None = None
    samples: tuple[Sample, ...] = ()
    rejected: int = 0
    rejection: str = ""
    shortage: Shortage | None = None
    starts: tuple[Start, ...] = ()
    speeds: tuple[Speed, ...] = ()
    phase: str = ""
    predicted_bytes: int | None = None
    measured_bytes: int | None = None
    error: float | None = None
    sample_count: int = 0
    tokens_s: float | None = None


@dataclass(frozen=True, slots=True)
class RouteSpec:
    """What stands behind a public model name."""

    targets: tuple[Target, ...] = ()


@dataclass(frozen=True, slots=True)
class RouteStatus:
    """What the models behind a route can do."""

    categories: tuple[str, ...] = ()
    context_length: int = 0


@dataclass(frozen=True, slots=True)
class UserSpec:
    """Who somebody is; `role` is admin or user."""

    role: str = "user"
    full_name: str = ""
    disabled: bool = False
    must_change_password: bool = False


@dataclass(frozen=True, slots=True)
class ApiKeySpec:
    """Whose key, and until when (seconds since the epoch; None: never)."""

    user: str
    description: str = ""
    prefix: str = ""
    expires_at: float | None = None
    allowed_models: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Nothing:
    """A status that says nothing."""
