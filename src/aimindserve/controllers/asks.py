"""From waiting instances to what the scheduler understands: asks with shapes, priced by a backend.

An instance whose model nobody has seen yet, or that no backend takes, never becomes an ask: its
refusal is known without looking at memory. Reads the store, decides nothing about places.
"""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from aimindserve.backends._all import choose
from aimindserve.backends.base import Backend
from aimindserve.controllers.views import (
    Instance,
    Worker,
    find_model_file,
    needs_file,
    workers,
)
from aimindserve.core.device import Need
from aimindserve.core.facts import ModelFacts, Options
from aimindserve.core.ids import DeviceId, WorkerName
from aimindserve.core.reason import Reason
from aimindserve.core.report import FileState
from aimindserve.core.shape import Shape
from aimindserve.resources.deployment import DeploymentSpec
from aimindserve.scheduler.base import Ask, Refusal
from aimindserve.store.base import Store

_UNKNOWN = Shape(label="not known yet", ranks=(Need(),))
"""Of a model that nobody has: each worker's answer about the file is a refusal anyway."""


@dataclass(frozen=True, slots=True)
class Asks:
    """What to plan, and what is refused already. By instance name."""

    asks: tuple[Ask, ...] = ()
    refused: Mapping[str, Refusal] = field(default_factory=dict[str, Refusal])


@dataclass(frozen=True, slots=True)
class _Priced:
    backend: str
    shapes: tuple[Shape, ...]
    files: Mapping[WorkerName, Reason | None]


def ask_for(
    store: Store,
    waiting: Sequence[Instance],
    backends: Mapping[str, Backend],
    placement_id: Callable[[str], str],
) -> Asks:
    """Asks for `waiting`, in their order; `placement_id` gives the id each placement will carry."""
    priced: dict[tuple[str, int], _Priced | Refusal] = {}
    asks: list[Ask] = []
    refused: dict[str, Refusal] = {}
    for instance in waiting:
        spec = instance.spec
        key = (spec.deployment, spec.deployment_generation)
        if key not in priced:
            priced[key] = _price(store, spec.template, backends)
        price = priced[key]
        if isinstance(price, Refusal):
            refused[instance.name] = price
        else:
            asks.append(_ask(instance, price, placement_id(instance.name)))
    return Asks(tuple(asks), refused)


def options_of(template: DeploymentSpec) -> Options:
    """What the user asked for beyond the model, as backends read it."""
    return Options(
        parameters=template.backend_parameters,
        env=tuple(sorted(template.env.items())),
        cpu_offloading=template.cpu_offloading,
        distributed=template.distributed_inference_across_workers,
        backend_version=template.backend_version,
    )


def _ask(instance: Instance, price: _Priced, placement_id: str) -> Ask:
    template = instance.spec.template
    chosen = () if template.gpu_selector is None else template.gpu_selector.gpu_ids
    return Ask(
        instance=instance.name,
        deployment=instance.spec.deployment,
        placement_id=placement_id,
        shapes=price.shapes,
        selector=template.worker_selector,
        device_ids=tuple(DeviceId(device) for device in chosen),
        strategy=template.placement_strategy,
        file_workers=price.files,
        created_at=instance.metadata.created_at,
        backend=price.backend,
    )


def _price(
    store: Store, template: DeploymentSpec, backends: Mapping[str, Backend]
) -> _Priced | Refusal:
    if not needs_file(template.model):
        source = template.model.source.value
        return Refusal(Reason("source_unavailable", {"source": source}))
    looked = {worker.name: _look(store, worker, template) for worker in workers(store)}
    facts = _commonest([found for found in looked.values() if isinstance(found, ModelFacts)])
    files = {WorkerName(name): _verdict(name, found, facts) for name, found in looked.items()}
    if facts is None:
        return _Priced("", (_UNKNOWN,), files)
    options = options_of(template)
    backend = choose(facts, template.backend, options)
    if isinstance(backend, Reason):
        return Refusal(backend)
    if backend.name not in backends:
        known = ", ".join(backends)
        return Refusal(Reason("backend_unknown", {"backend": backend.name, "known": known}))
    return _Priced(backend.name, tuple(backend.shapes(facts, options)), files)


def _look(store: Store, worker: Worker, template: DeploymentSpec) -> ModelFacts | Reason:
    """What `worker` says of the model: its facts, or why it has none."""
    file = find_model_file(store, worker.name, template.model)
    seen = None if file is None else file.status.observed
    if seen is None or seen.state in {FileState.CHECKING, FileState.FETCHING}:
        return Reason("file_checking", {"worker": worker.name})
    if seen.state is FileState.READY and seen.facts is not None:
        return seen.facts
    detail = "it was not understood" if seen.state is FileState.READY else seen.state.value
    return seen.reason or Reason("file_failed", {"worker": worker.name, "detail": detail})


def _commonest(facts: Sequence[ModelFacts]) -> ModelFacts | None:
    """Of the model files that workers have under one name, the one that most of them have."""
    counted = Counter(facts)
    return max(facts, key=lambda each: counted[each]) if facts else None


def _verdict(worker: str, found: ModelFacts | Reason, facts: ModelFacts | None) -> Reason | None:
    if isinstance(found, Reason):
        return found
    if found == facts:
        return None
    detail = "it is another model than the other workers have under this name"
    return Reason("file_failed", {"worker": worker, "detail": detail})
