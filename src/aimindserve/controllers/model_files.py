"""Keeps one model file per worker that may have to look for a deployment's model.

The object is a question ("is this model on that worker, and what is it?") that the worker answers
in its reports; the scheduler uses the answers. A question nobody asks any more is deleted. Nothing
here touches a file.
"""

from collections.abc import Iterable, Mapping, Sequence

from aimindserve.controllers.base import Done, Wake
from aimindserve.controllers.inspections import Inspections
from aimindserve.controllers.views import (
    ModelFile,
    Worker,
    deployments,
    find_model_file,
    find_worker,
    instances,
    is_up,
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
    """Key: `worker:<name>` or `model:<hash>`, a row or a column of one table, or where they meet,
    `cell:<hash>:<name>`."""

    name = "model-files"

    def __init__(self, store: Store, inspections: Inspections) -> None:
        self._store = store
        self._inspections = inspections

    def wakes_on(self) -> Mapping[str, Wake]:
        return {
            "deployment": lambda deployment: [_model_key(deployment.spec.model)],
            "worker": lambda worker: [f"worker:{worker.name}"],
            "instance": _of_instance,
            "model-file": lambda file: [f"cell:{model_hash(file.spec.model)}:{file.spec.worker}"],
        }

    def keys(self) -> Iterable[str]:
        names = {f"worker:{worker.name}" for worker in workers(self._store)}
        names.update(_model_key(each.spec.model) for each in deployments(self._store))
        names.update(_model_key(file.spec.model) for file in model_files(self._store))
        return sorted(names)

    async def reconcile(self, key: str) -> Done:
        what, _, name = key.partition(":")
        if what == "worker":
            await self._settle(self._demands(), [find_worker(self._store, name)])
            return Done()
        digest, _, home = name.partition(":")
        demands = self._demands(digest)
        homes = [find_worker(self._store, home)] if what == "cell" else workers(self._store)
        await self._settle(demands, homes)
        if not demands:
            await self._clear(digest)
        return Done()

    def _demands(self, digest: str | None = None) -> Mapping[ModelRef, Sequence[Mapping[str, str]]]:
        """Model -> the selectors of the deployments that want it, and of those who only ask about
        it; only of the model with that hash, if one is given."""
        demands: dict[ModelRef, list[Mapping[str, str]]] = {}
        for each in deployments(self._store):
            model = each.spec.model
            if needs_file(model) and digest in {None, model_hash(model)}:
                demands.setdefault(model, []).append(each.spec.worker_selector)
        for model, selector in self._inspections.wanted().items():
            if digest in {None, model_hash(model)}:
                demands.setdefault(model, []).append(selector)
        return demands

    async def _settle(
        self,
        demands: Mapping[ModelRef, Sequence[Mapping[str, str]]],
        homes: Sequence[Worker | None],
    ) -> None:
        """Ask what deployments want, and nothing else, of `homes`. What is only inspected is asked
        by whoever inspects it."""
        deployed = {each.spec.model for each in deployments(self._store)}
        for model, selectors in demands.items():
            for worker in homes:
                if worker is None:
                    continue  # the workers controller clears away what is left of it
                file = find_model_file(self._store, worker.name, model)
                wanted = any(selects(each, worker) for each in selectors)
                if wanted and file is None and model in deployed and is_up(worker):
                    # One that is away could not look; when it is back this key runs again.
                    await self._ask(worker.name, model)
                elif not wanted and file is not None:
                    await self._drop(file)

    async def _clear(self, digest: str) -> None:
        """Nobody deploys the model any more: drop the questions about it."""
        for file in model_files(self._store):
            if model_hash(file.spec.model) == digest and needs_file(file.spec.model):
                await self._drop(file)

    async def _ask(self, worker: str, model: ModelRef) -> None:
        spec = ModelFileSpec(worker=worker, model=model)
        try:
            await self._store.create(Draft("model-file", model_file_name(worker, model), spec))
        except ExistsError:
            log.debug("model_file.exists", worker=worker, model=str(model))

    async def _drop(self, file: ModelFile) -> None:
        """Delete a question, unless an instance of an older generation still runs on the answer."""
        if any(
            each.spec.template.model == file.spec.model and file.spec.worker in placed_on(each)
            for each in instances(self._store)
        ):
            return
        try:
            await self._store.delete("model-file", file.name)
        except NotFoundError:
            log.debug("model_file.gone", file=file.name)


def _model_key(model: ModelRef) -> str:
    return f"model:{model_hash(model)}"


def _of_instance(instance: AnyResource) -> Iterable[str]:
    """Only a stopping instance can end a question; every other change of one is no news here."""
    return [_model_key(instance.spec.template.model)] if instance.spec.stopping else []
