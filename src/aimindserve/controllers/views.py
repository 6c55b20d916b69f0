"""Typed readings of the store, and the questions several controllers ask of it.

Reads only, from memory; nothing here decides or writes.
"""

import hashlib
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import cast

from aimindserve.core.facts import ModelRef, SourceName
from aimindserve.core.labels import labels_of
from aimindserve.core.report import RunState
from aimindserve.resources._kind import Resource
from aimindserve.resources.deployment import DeploymentSpec, DeploymentStatus
from aimindserve.resources.estimate import EstimateSpec, EstimateStatus
from aimindserve.resources.instance import InstanceSpec, InstanceStatus, is_ready
from aimindserve.resources.model_file import ModelFileSpec, ModelFileStatus
from aimindserve.resources.route import RouteSpec, RouteStatus
from aimindserve.resources.worker import WorkerSpec, WorkerStatus
from aimindserve.store.base import Store

Deployment = Resource[DeploymentSpec, DeploymentStatus]
Estimate = Resource[EstimateSpec, EstimateStatus]
Instance = Resource[InstanceSpec, InstanceStatus]
ModelFile = Resource[ModelFileSpec, ModelFileStatus]
Route = Resource[RouteSpec, RouteStatus]
Worker = Resource[WorkerSpec, WorkerStatus]


def deployments(store: Store) -> Sequence[Deployment]:
    """All deployments, by name."""
    return cast("Sequence[Deployment]", store.list("deployment"))


def instances(store: Store) -> Sequence[Instance]:
    """All instances, by name."""
    return cast("Sequence[Instance]", store.list("instance"))


def workers(store: Store) -> Sequence[Worker]:
    """All workers, by name."""
    return cast("Sequence[Worker]", store.list("worker"))


def model_files(store: Store) -> Sequence[ModelFile]:
    """All model files, by name."""
    return cast("Sequence[ModelFile]", store.list("model-file"))


def estimates(store: Store) -> Sequence[Estimate]:
    """All estimates, by name."""
    return cast("Sequence[Estimate]", store.list("estimate"))


def find_estimate(store: Store, name: str) -> Estimate | None:
    """The estimate or None."""
    return cast("Estimate | None", store.find("estimate", name))


def find_instance(store: Store, name: str) -> Instance | None:
    """The instance or None."""
    return cast("Instance | None", store.find("instance", name))


def find_deployment(store: Store, name: str) -> Deployment | None:
    """The deployment or None."""
    return cast("Deployment | None", store.find("deployment", name))


def find_worker(store: Store, name: str) -> Worker | None:
    """The worker or None."""
    return cast("Worker | None", store.find("worker", name))


def find_model_file(store: Store, worker: str, model: ModelRef) -> ModelFile | None:
    """What is known of `model` on `worker`."""
    return cast("ModelFile | None", store.find("model-file", model_file_name(worker, model)))


def find_route(store: Store, name: str) -> Route | None:
    """The route or None."""
    return cast("Route | None", store.find("route", name))


def instances_of(store: Store, deployment: str) -> Sequence[Instance]:
    """The instances made for the deployment of this name, by name."""
    return [each for each in instances(store) if each.spec.deployment == deployment]


def placed_on(instance: Instance) -> Sequence[str]:
    """The workers on which `instance` has ranks; none while it is not placed."""
    placement = instance.status.placement
    return () if placement is None else tuple(rank.worker for rank in placement.ranks)


def serves(store: Store, instance: Instance) -> bool:
    """Whether `instance` answers requests, as far as the control plane can know."""
    return is_ready(instance.status) and all(
        is_up(find_worker(store, name)) for name in placed_on(instance)
    )


def is_failing(instance: Instance) -> bool:
    """Whether it ended by itself of late, or was given up."""
    seen = instance.status.observed
    return seen is not None and seen.state in {RunState.BACKOFF, RunState.FAILED}


def is_doubtful(store: Store, instance: Instance) -> bool:
    """Whether one of its workers is cordoned or does not report."""
    homes = [find_worker(store, name) for name in placed_on(instance)]
    return any(home is None or not home.status.ready or home.spec.cordoned for home in homes)


def is_up(worker: Worker | None) -> bool:
    """Whether the worker exists and reports."""
    return worker is not None and worker.status.ready


def selects(selector: Mapping[str, str], worker: Worker) -> bool:
    """Whether every label of `selector` is on the worker."""
    labels = worker_labels(worker)
    return all(labels.get(key) == value for key, value in selector.items())


def worker_labels(worker: Worker) -> Mapping[str, str]:
    """Those that somebody gave it, and the built-in ones; of a worker that was never seen the first
    only."""
    seen = worker.status.observed
    own = worker.metadata.labels
    if seen is None:
        return own
    return labels_of(own, worker.name, seen.inventory.os, seen.inventory.arch)


def needs_file(model: ModelRef) -> bool:
    """Whether the model must already lie on a worker: nobody can fetch it from elsewhere."""
    return model.source is SourceName.LOCAL


def model_file_name(worker: str, model: ModelRef) -> str:
    """The name of the object that says what is known of `model` on `worker`."""
    stem = worker if len(worker) <= 50 else f"{worker[:41]}-{_digest(worker)[:8]}"
    return f"{stem}-{model_hash(model)}"


@lru_cache(maxsize=4096)
def model_hash(model: ModelRef) -> str:
    """Twelve hexadecimal digits that stand for a reference, revision included."""
    return _digest(str(model) if model.revision is None else f"{model}@{model.revision}")[:12]


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
