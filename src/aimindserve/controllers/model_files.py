"""Keeps one model file per worker that may have to look for a deployment's model.

The object is a question ("is this model on that worker, and what is it?") that the worker answers
in its reports; the scheduler uses the answers. A question nobody asks any more is deleted. Nothing
here touches a file.
"""

from collections.abc import Iterable, Mapping

from aimindserve.controllers.base import Done, Wake
from aimindserve.controllers.views import (
    Worker,
    deployments,
    find_worker,
    instances,
    model_file_name,
    model_files,
    model_hash,
    needs_file,
    placed_on,
    selects,
    workers,
)
from aimindserve.core.errors import ExistsError, NotFoundError
from aimindserve.core.facts import ModelRef
from aimindserve.kit.log import get_logger
from aimindserve.resources._kind import AnyResource
from aimindserve.resources.model_file import ModelFileSpec
from aimindserve.store.base import Draft, Store

log = get_logger("controllers.model_files")


class ModelFilesController:
    """Key: `worker:<name>` or `model:<hash>`: one row or one column of the same table."""

    name = "model-files"

    def __init__(self, store: Store) -> None:
        self._store = store

    def wakes_on(self) -> Mapping[str, Wake]:
        return {
            "deployment": lambda deployment: [_model_key(deployment.spec.model)],
            "worker": lambda worker: [f"worker:{worker.name}"],
            "instance": _of_instance,
            "model-file": lambda file: [_model_key(file.spec.model)],
        }

    def keys(self) -> Iterable[str]:
        names = {f"worker:{worker.name}" for worker in workers(self._store)}
        names.update(_model_key(each.spec.model) for each in deployments(self._store))
        names.update(_model_key(file.spec.model) for file in model_files(self._store))
        return sorted(names)

    async def reconcile(self, key: str) -> Done:
        what, _, name = key.partition(":")
        if what == "worker":
            await self._row(name)
        else:
            await self._column(name)
        return Done()

    async def _row(self, name: str) -> None:
        worker = find_worker(self._store, name)
        if worker is None:
            return  # the workers controller clears its files away
        models = {each.spec.model: None for each in deployments(self._store)}
        for model in models:
            await self._ask(worker, model)

    async def _column(self, digest: str) -> None:
        models = {
            each.spec.model: None
            for each in deployments(self._store)
            if model_hash(each.spec.model) == digest
        }
        for model in models:
            for worker in workers(self._store):
                await self._ask(worker, model)
        for file in model_files(self._store):
            if model_hash(file.spec.model) != digest:
                continue
            if needs_file(file.spec.model) and not self._is_wanted(file.spec):
                await self._drop(file.name)

    async def _ask(self, worker: Worker, model: ModelRef) -> None:
        name = model_file_name(worker.name, model)
        if not needs_file(model) or self._store.find("model-file", name) is not None:
            return
        spec = ModelFileSpec(worker=worker.name, model=model)
        if not self._is_wanted(spec):
            return
        try:
            await self._store.create(Draft("model-file", name, spec))
        except ExistsError:
            log.debug("model_file.exists", file=name)

    async def _drop(self, name: str) -> None:
        try:
            await self._store.delete("model-file", name)
        except NotFoundError:
            log.debug("model_file.gone", file=name)

    def _is_wanted(self, spec: ModelFileSpec) -> bool:
        """Whether a deployment may run it there, or an instance of an older generation does."""
        worker = find_worker(self._store, spec.worker)
        if worker is None:
            return False
        return any(
            each.spec.model == spec.model and selects(each.spec.worker_selector, worker)
            for each in deployments(self._store)
        ) or any(
            each.spec.template.model == spec.model and worker.name in placed_on(each)
            for each in instances(self._store)
        )


def _model_key(model: ModelRef) -> str:
    return f"model:{model_hash(model)}"


def _of_instance(instance: AnyResource) -> Iterable[str]:
    """Only a stopping instance can end a question; every other change of one is no news here."""
    return [_model_key(instance.spec.template.model)] if instance.spec.stopping else []
