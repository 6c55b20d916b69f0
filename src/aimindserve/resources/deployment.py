"""Deployment: serve this model so many times. Its name is the model id on `/v1`."""

from typing import Any

from pydantic import Field, NonNegativeInt, field_validator, model_validator

from aimindserve.core.errors import InvalidError
from aimindserve.core.facts import Category, ModelRef, SourceName
from aimindserve.core.failure import Crashes, PlaceFailure
from aimindserve.core.ids import is_device_id
from aimindserve.core.reason import Class, Reason
from aimindserve.resources._kind import Access, AnyResource, Kind, Part, environment

REPLICAS_MAX = 1000
PARAMETERS_MAX = 200
GPU_IDS_MAX = 1024


class GpuSelector(Part):
    """Devices chosen by hand, as `worker:type:index`, each once."""

    gpu_ids: tuple[str, ...] = Field(default=(), max_length=GPU_IDS_MAX)
    gpus_per_replica: int | None = Field(default=None, ge=1)
    """How many of them each instance takes; its equal share when it is not said."""

    @field_validator("gpu_ids")
    @classmethod
    def _device_ids(cls, chosen: tuple[str, ...]) -> tuple[str, ...]:
        for device in chosen:
            if not is_device_id(device):
                raise ValueError(
                    f"{device[:80]!r} is no device: worker:type:index, such as gpu-01:cuda:0"
                )
            if chosen.count(device) > 1:
                raise ValueError(f"{device} is named more than once")
        return chosen

    @model_validator(mode="after")
    def _enough(self) -> "GpuSelector":
        each = self.gpus_per_replica
        if each is not None and self.gpu_ids and each > len(self.gpu_ids):
            raise ValueError(
                f"gpus_per_replica is {each}, and only {len(self.gpu_ids)} devices are chosen"
            )
        return self


class DeploymentSpec(Part):
    """What the user wants."""

    model: ModelRef
    replicas: NonNegativeInt = Field(default=1, le=REPLICAS_MAX)
    backend: str | None = None
    """llama.cpp, vllm, …; chosen from the model when empty."""
    backend_version: str | None = None
    backend_parameters: tuple[str, ...] = Field(default=(), max_length=PARAMETERS_MAX)
    env: dict[str, str] = environment()
    categories: tuple[Category, ...] = ()
    description: str = Field(default="", max_length=2000)
    placement_strategy: str = Field(default="spread", pattern="^(spread|binpack)$")
    worker_selector: dict[str, str] = Field(default_factory=dict)
    gpu_selector: GpuSelector | None = None
    instances_per_worker_max: int | None = Field(default=None, ge=1, le=REPLICAS_MAX)
    """Most instances of it on one worker; 1 keeps them all apart."""
    cpu_offloading: bool = True
    distributed_inference_across_workers: bool = False
    restart_on_error: bool = True

    @field_validator("backend_parameters")
    @classmethod
    def _no_control_characters(cls, words: tuple[str, ...]) -> tuple[str, ...]:
        if any(ord(letter) < 32 for word in words for letter in word):
            raise ValueError("parameters must not contain control characters")
        return words


class DeploymentStatus(Part):
    """Written by the deployments controller."""

    observed_generation: int = 0
    replicas: int = 0
    ready_replicas: int = 0
    reason: Reason | None = None
    """The most telling reason among the instances that are not ready."""
    failures: tuple[PlaceFailure, ...] = ()
    """Places where it ran out of memory."""
    crashes: tuple[Crashes, ...] = ()
    """How often its engines ended by themselves, where and why, the oldest first."""


def phase(spec: DeploymentSpec, status: DeploymentStatus) -> tuple[str, Class]:
    """One word for a deployment: stopped, ready, degraded, or progressing."""
    if spec.replicas == 0 and status.replicas == 0:
        return "stopped", Class.OFF
    if status.ready_replicas >= spec.replicas:
        return "ready", Class.OK
    if status.ready_replicas > 0:
        return "degraded", Class.ATTENTION
    if status.reason is not None:
        return "waiting", Class.ATTENTION
    return "progressing", Class.WORKING


def _derive(resource: AnyResource, _lookup: Any, _now: float) -> dict[str, Any]:
    word, visual = phase(resource.spec, resource.status)
    return {"phase": word, "class": visual.value}


_NEEDED = {
    SourceName.LOCAL: "path",
    SourceName.HUGGINGFACE: "repo",
    SourceName.MODELSCOPE: "repo",
    SourceName.OLLAMA: "name",
}


def _validate(_name: str, spec: DeploymentSpec, _old: AnyResource | None) -> None:
    needed = _NEEDED[spec.model.source]
    if not getattr(spec.model, needed):
        raise InvalidError(
            f"model.{needed} is missing: source {spec.model.source.value} needs it.",
            params={"fields": [f"spec.model.{needed}"]},
        )


PLUGIN = Kind(
    name="deployment",
    plural="deployments",
    spec=DeploymentSpec,
    status=DeploymentStatus,
    title="Desired state: serve this model so many times.",
    access=Access(read="user", write="admin"),
    columns=(
        ("NAME", "metadata.name"),
        ("MODEL", "spec.model"),
        ("READY", "status.ready_replicas"),
        ("REPLICAS", "spec.replicas"),
        ("PHASE", "status.phase"),
        ("AGE", "metadata.created_at"),
    ),
    validate=_validate,
    derive=_derive,
    gateway=("spec.replicas",),
)
