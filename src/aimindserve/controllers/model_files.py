"""Keeps one model file per worker that may have to look for a deployment's model.

The object is a question ("is this model on that worker, and what is it?") that the worker answers
in its reports; the scheduler uses the answers. A question nobody asks any more is deleted. Nothing
here touches a file.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from aimindserve.controllers.base import Done, Wake
from aimindserve.controllers.views import (
    Worker,
    deployments,
    find_model_file,
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
    """Key: `worker:<name>` or `model:<hash>`, a row or a column of one table, or where they meet,
    `cell:<hash>:<name>`."""

    name = "model-files"

    def __init__(self, store: Store) -> None:
        self._store = store

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
        elif what == "cell":
            digest, _, home = name.partition(":")
            await self._settle(self._demands(digest), [find_worker(self._store, home)])
        else:
            await self._settle(self._demands(name), workers(self._store))
            await self._clear(name)
        return Done()

    def _demands(self, digest: str | None = None) -> Sequence["_Demand"]:
        """Who wants which model where; only of the model with that hash, if one is given."""
        demands: dict[ModelRef, _Demand] = {}
        for each in deployments(self._store):
            model = each.spec.model
            if needs_file(model) and digest in {None, model_hash(model)}:
                demand = demands.setdefault(model, _Demand(model))
                demand.selectors.append(each.spec.worker_selector)
        for each in instances(self._store):
            model = each.spec.template.model
            if needs_file(model) and digest in {None, model_hash(model)}:
                demands.setdefault(model, _Demand(model)).homes.update(placed_on(each))
        return list(demands.values())

    async def _settle(self, demands: Sequence["_Demand"], homes: Sequence[Worker | None]) -> None:
        """Ask what is wanted, and nothing else, of `homes`."""
        for demand in demands:
            for worker in homes:
                if worker is None:
                    continue  # the workers controller clears away what is left of it
                file = find_model_file(self._store, worker.name, demand.model)
                wanted = demand.reaches(worker)
                if wanted and file is None:
                    await self._ask(worker.name, demand.model)
                elif file is not None and not wanted:
                    await self._drop(file.name)

    async def _clear(self, digest: str) -> None:
        """Drop every question about a model that nobody wants anywhere any more."""
        if self._demands(digest):
            return
        for file in model_files(self._store):
            if model_hash(file.spec.model) == digest and needs_file(file.spec.model):
                await self._drop(file.name)

    async def _ask(self, worker: str, model: ModelRef) -> None:
        spec = ModelFileSpec(worker=worker, model=model)
        try:
            await self._store.create(Draft("model-file", model_file_name(worker, model), spec))
        except ExistsError:
            log.debug("model_file.exists", worker=worker, model=str(model))

    async def _drop(self, name: str) -> None:
        try:
            await self._store.delete("model-file", name)
        except NotFoundError:
            log.debug("model_file.gone", file=name)


@dataclass(slots=True)
class _Demand:
    """Who wants a model: deployments by their selectors, placed instances by where they are."""

    model: ModelRef
    selectors: list[Mapping[str, str]] = field(default_factory=list[Mapping[str, str]])
    homes: set[str] = field(default_factory=set[str])

    def reaches(self, worker: Worker) -> bool:
        """Whether somebody wants it on `worker`."""
        return worker.name in self.homes or any(selects(each, worker) for each in self.selectors)


def _model_key(model: ModelRef) -> str:
    return f"model:{model_hash(model)}"


def _of_instance(instance: AnyResource) -> Iterable[str]:
    """Only a stopping instance can end a question; every other change of one is no news here."""
    return [_model_key(instance.spec.template.model)] if instance.spec.stopping else []
