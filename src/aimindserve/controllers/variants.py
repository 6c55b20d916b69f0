"""The same deployment asked for in ways that need less: suggestions for somebody who waits.

Whether one of them helps is for the scheduler to try (`scheduler.changes`).
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from aimindserve.backends.base import Backend
from aimindserve.controllers.asks import (
    Asker,
    FoundModel,
    ask_of,
    find_model,
    options_of,
    price,
    serving,
)
from aimindserve.controllers.learned import Learned
from aimindserve.controllers.views import model_files
from aimindserve.core.facts import ModelFacts, ModelRef
from aimindserve.core.reason import Reason
from aimindserve.core.report import FileState
from aimindserve.resources.deployment import DeploymentSpec
from aimindserve.scheduler.base import Ask, Refusal
from aimindserve.scheduler.changes import Variant
from aimindserve.store.base import Store

VARIANTS_MAX = 24


class Variants:
    """Reads the store: other files of a model are those that some worker knows."""

    def __init__(self, store: Store, backends: Mapping[str, Backend], learned: Learned) -> None:
        self._store = store
        self._backends = backends
        self._learned = learned

    def of(self, spec: DeploymentSpec) -> Sequence[Variant]:
        """The same model in ways that need less, from the least change on."""
        model = find_model(self._store, spec.model)
        if isinstance(model, Refusal):
            return ()
        served = serving(model, spec.backend, options_of(spec))
        if served is None or isinstance(served, Reason):
            return ()
        facts, backend = served
        found = [
            *self._lesser(spec, model, (facts, backend)),
            *self._smaller_files(spec, facts),
            *self._switches(spec, model, backend),
        ]
        return found[:VARIANTS_MAX]

    def _lesser(
        self,
        spec: DeploymentSpec,
        model: FoundModel,
        served: tuple[ModelFacts, Backend],
    ) -> Iterable[Variant]:
        facts, backend = served
        for less in backend.lesser(facts, options_of(spec)):
            patch = {"backend_parameters": list(less.parameters)}
            other = spec.model_copy(update={"backend_parameters": less.parameters})
            variant = self._variant(less.kind, other, model, patch, less.params)
            if variant is not None:
                yield variant

    def _smaller_files(self, spec: DeploymentSpec, facts: ModelFacts) -> Iterable[Variant]:
        """Files of the same model that workers know and that are smaller, the largest first."""
        known: dict[ModelRef, ModelFacts] = {}
        for file in model_files(self._store):
            seen = file.status.observed
            if seen is not None and seen.state is FileState.READY and seen.facts is not None:
                known.setdefault(file.spec.model, seen.facts)
        same = [(ref, each) for ref, each in known.items() if _is_smaller_one(each, facts)]
        for ref, each in sorted(same, key=lambda item: (-item[1].size_bytes, str(item[0]))):
            found = find_model(self._store, ref)
            if isinstance(found, Refusal):
                continue
            other = spec.model_copy(update={"model": ref})
            patch = {"model": {"source": ref.source.value, "path": ref.path, "file": ref.file}}
            params = {
                "from": facts.quantization or facts.size_bytes,
                "to": each.quantization or each.size_bytes,
                "size": each.size_bytes,
                "model": str(ref),
            }
            variant = self._variant("quantization", other, found, patch, params)
            if variant is not None:
                yield variant

    def _switches(
        self, spec: DeploymentSpec, model: FoundModel, backend: Backend
    ) -> Iterable[Variant]:
        for kind, field_name in (
            ("cpu_offloading", "cpu_offloading"),
            ("distributed", "distributed_inference_across_workers"),
        ):
            if getattr(spec, field_name) or (kind == "distributed" and not backend.starts_across):
                continue
            other = spec.model_copy(update={field_name: True})
            variant = self._variant(kind, other, model, {field_name: True}, {})
            if variant is not None:
                yield variant

    def _variant(
        self,
        kind: str,
        spec: DeploymentSpec,
        model: FoundModel,
        patch: Mapping[str, Any],
        params: Mapping[str, Any],
    ) -> Variant | None:
        priced = price(model, spec, self._backends, self._learned)
        if isinstance(priced, Refusal):
            return None

        def change(ask: Ask) -> Ask:
            asker = Asker(
                ask.instance,
                ask.deployment,
                ask.placement_id,
                ask.created_at,
                ask.failures,
                ask.crashes,
            )
            return ask_of(asker, spec, priced)

        return Variant(kind, change, params, patch)


def _is_smaller_one(each: ModelFacts, facts: ModelFacts) -> bool:
    """Whether it is the same model stored in fewer bytes: nothing but the weights' type differs."""
    return each.size_bytes < facts.size_bytes and all(
        getattr(each, name) == getattr(facts, name)
        for name in ("format", "architecture", "layer_count", "embedding_length", "head_count",
                     "vocabulary_size", "parameter_count", "name")
    )  # fmt: skip
