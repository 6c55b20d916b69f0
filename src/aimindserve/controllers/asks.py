"""From waiting instances to what the scheduler understands: asks with shapes, priced by a backend.

An instance whose model nobody has seen yet, or that no backend takes, never becomes an ask: its
refusal is known without looking at memory. Reads the store, decides nothing about places.
"""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from aimindserve.backends._all import choose, refuse, shapes_for
from aimindserve.backends.base import Backend
from aimindserve.controllers.crashes import lately
from aimindserve.controllers.failures import barred
from aimindserve.controllers.learned import Learned
from aimindserve.controllers.views import (
    Instance,
    Worker,
    find_deployment,
    find_model_file,
    needs_file,
    workers,
)
from aimindserve.core.device import Need
from aimindserve.core.facts import ModelFacts, ModelRef, Options
from aimindserve.core.ids import DeviceId, WorkerName
from aimindserve.core.reason import Reason
from aimindserve.core.report import FileState
from aimindserve.core.shape import Shape
from aimindserve.kit.intern import Interner
from aimindserve.resources.deployment import DeploymentSpec
from aimindserve.scheduler.base import Ask, Refusal
from aimindserve.store.base import Store

_one_of_equals = Interner[ModelFacts](65_536)
"""Each worker tells of a model by itself."""
_UNKNOWN = Shape(label="not known yet", ranks=(Need(),))
"""Of a model that nobody has: each worker's answer about the file is a refusal anyway."""


@dataclass(frozen=True, slots=True)
class Asks:
    """What to plan, and what is refused already. By instance name."""

    asks: tuple[Ask, ...] = ()
    refused: Mapping[str, Refusal] = field(default_factory=dict[str, Refusal])


@dataclass(frozen=True, slots=True)
class FoundModel:
    """A model as the workers know it."""

    looked: Mapping[WorkerName, ModelFacts | Reason]
    """What each of them sees, or why it sees nothing. Equal facts are one object."""

    @property
    def variants(self) -> Sequence[ModelFacts]:
        """What it is by one account or another, what most of them see first: files of one name may
        differ, and so may those beside them. Empty when nobody has it."""
        found = {id(each): each for each in self.looked.values() if isinstance(each, ModelFacts)}
        counted = Counter(map(id, self.looked.values()))
        return sorted(found.values(), key=lambda facts: -counted[id(facts)])


@dataclass(frozen=True, slots=True)
class Priced:
    """What a model would need by the backend that serves it, and where its files are."""

    backend: str
    shapes: tuple[Shape, ...]
    files: Mapping[WorkerName, Reason | None]
    facts: ModelFacts | None = None
    """What is served; None of a model that nobody has seen."""


def ask_for(
    store: Store,
    waiting: Sequence[Instance],
    backends: Mapping[str, Backend],
    placement_id: Callable[[str], str],
    now: float = 0.0,
    learned: Learned | None = None,
) -> Asks:
    """Asks for `waiting`, in their order; `placement_id` gives the id each placement will carry.
    Places barred until after `now` (epoch seconds) are not asked for."""
    pasts: dict[tuple[str, int], _Past] = {}
    prices: dict[tuple[str, int], Priced | Refusal] = {}
    asks: list[Ask] = []
    refused: dict[str, Refusal] = {}
    for instance in waiting:
        spec = instance.spec
        key = (spec.deployment, spec.deployment_generation)
        if key not in prices:
            model = find_model(store, spec.template.model)
            prices[key] = price(model, spec.template, backends, learned)
        priced = prices[key]
        if isinstance(priced, Refusal):
            refused[instance.name] = priced
            continue
        identity = placement_id(instance.name)
        if key not in pasts:
            pasts[key] = _past(store, instance, now)
        asker = Asker(
            instance.name,
            spec.deployment,
            identity,
            instance.metadata.created_at,
            *pasts[key],
        )
        asks.append(ask_of(asker, spec.template, priced))
    return Asks(tuple(asks), refused)


def options_of(template: DeploymentSpec) -> Options:
    """What the user asked for beyond the model, as backends read it."""
    return Options(
        parameters=template.backend_parameters,
        env=tuple(sorted(template.env.items())),
        cpu_offloading=template.cpu_offloading,
        distributed=template.distributed_inference_across_workers,
        backend_version=template.backend_version,
        categories=template.categories,
    )


@dataclass(frozen=True, slots=True)
class Asker:
    """Who asks: an instance that waits, or one that somebody only thinks of."""

    instance: str
    deployment: str
    placement_id: str
    created_at: float
    failures: Mapping[str, Reason] = field(default_factory=dict[str, Reason])
    """Places where it has run out of memory before."""
    crashes: Mapping[WorkerName, int] = field(default_factory=dict[WorkerName, int])


def ask_of(asker: Asker, template: DeploymentSpec, priced: Priced) -> Ask:
    """What the scheduler is asked for an instance of `template`."""
    selector = template.gpu_selector
    chosen = () if selector is None else selector.gpu_ids
    return Ask(
        instance=asker.instance,
        deployment=asker.deployment,
        placement_id=asker.placement_id,
        shapes=priced.shapes,
        selector=template.worker_selector,
        device_ids=tuple(DeviceId(device) for device in chosen),
        devices_each=_devices_each(template),
        strategy=template.placement_strategy,
        instances_per_worker_max=template.instances_per_worker_max,
        file_workers=priced.files,
        failures=asker.failures,
        crashes=asker.crashes,
        created_at=asker.created_at,
        backend=priced.backend,
        backend_version=template.backend_version or "",
    )


def _devices_each(template: DeploymentSpec) -> int | None:
    """How many of the devices chosen by hand one instance takes: as the user says, else its equal
    share of them."""
    selector = template.gpu_selector
    if selector is None or not selector.gpu_ids:
        return None
    share = len(selector.gpu_ids) // max(template.replicas, 1)
    return selector.gpus_per_replica or max(share, 1)


_Past = tuple[Mapping[str, Reason], Mapping[WorkerName, int]]
"""(places that are barred, how often engines of the deployment ended of late on each worker)."""


def _past(store: Store, instance: Instance, now: float) -> _Past:
    spec = instance.spec
    deployment = find_deployment(store, spec.deployment)
    if deployment is None:
        return {}, {}
    status = deployment.status
    return barred(status.failures, spec.template, now), lately(status.crashes, now)


def find_model(store: Store, model: ModelRef) -> FoundModel | Refusal:
    """What the workers say of `model`."""
    if not needs_file(model):
        return Refusal(Reason("source_unavailable", {"source": model.source.value}))
    listed = workers(store)
    return FoundModel({WorkerName(each.name): _look(store, each, model) for each in listed})


def price(
    model: FoundModel | Refusal,
    template: DeploymentSpec,
    backends: Mapping[str, Backend],
    learned: Learned | None = None,
) -> Priced | Refusal:
    """What `model`, deployed as `template` says, needs by the backend that will serve it, and by
    what it took before, where that is `learned`."""
    if isinstance(model, Refusal):
        return model
    options = options_of(template)
    chosen = serving(model, template.backend, options)
    if chosen is None:
        return Priced("", (_UNKNOWN,), _verdicts(model, None))
    if isinstance(chosen, Reason):
        return Refusal(chosen)
    facts, backend = chosen
    if backend.name not in backends:
        known = ", ".join(backends)
        return Refusal(Reason("backend_unknown", {"backend": backend.name, "known": known}))
    shapes = shapes_for(backend, facts, options)
    if learned is not None:
        shapes = [learned.correct(facts, backend.name, template, shape) for shape in shapes]
    verdicts = _verdicts(model, _Wanted(facts, backend, options))
    return Priced(backend.name, tuple(shapes), verdicts, facts)


def serving(
    model: FoundModel, wanted: str | None, options: Options
) -> tuple[ModelFacts, Backend] | Reason | None:
    """(what is served, by whom): what most workers have, unless only others have what the options
    name beside it. None when nobody has the model."""
    refused: Reason | None = None
    for facts in model.variants:
        backend = choose(facts, wanted, options)
        if not isinstance(backend, Reason):
            return backend.loads(facts, options), backend
        refused = refused or backend
    return refused


def _look(store: Store, worker: Worker, model: ModelRef) -> ModelFacts | Reason:
    """What `worker` says of the model: its facts, or why it has none."""
    file = find_model_file(store, worker.name, model)
    seen = None if file is None else file.status.observed
    if seen is None or seen.state in {FileState.CHECKING, FileState.FETCHING}:
        return Reason("file_checking", {"worker": worker.name})
    if seen.state is FileState.READY and seen.facts is not None:
        return _one_of_equals(seen.facts)
    detail = "it was not understood" if seen.state is FileState.READY else seen.state.value
    return seen.reason or Reason("file_failed", {"worker": worker.name, "detail": detail})


@dataclass(frozen=True, slots=True)
class _Wanted:
    """What a worker must have: the model with what is loaded beside it."""

    facts: ModelFacts
    backend: Backend
    options: Options


def _verdicts(model: FoundModel, wanted: _Wanted | None) -> Mapping[WorkerName, Reason | None]:
    """Per worker whether it has what is wanted (None), or why not."""
    told = {
        id(facts): None if wanted is None else _difference(facts, wanted)
        for facts in model.variants
    }
    verdicts: dict[WorkerName, Reason | None] = {}
    for name, found in model.looked.items():
        if isinstance(found, Reason):
            verdicts[name] = found
            continue
        reason = told[id(found)]
        verdicts[name] = reason and replace(reason, params={**reason.params, "worker": name})
    return verdicts


def _difference(found: ModelFacts, wanted: _Wanted) -> Reason | None:
    """Why `found` is not what is wanted."""
    if found.alone() != wanted.facts.alone():
        detail = "it is another model than the other workers have under this name"
    elif refuse(wanted.backend, found, wanted.options) is not None:
        needed = ", ".join(each.file for each in wanted.facts.companions)
        detail = f"not all of {needed} that fit the model are beside it there"
    elif wanted.backend.loads(found, wanted.options) != wanted.facts:
        detail = "what is beside it there differs from what the other workers have"
    else:
        return None
    return Reason("file_failed", {"detail": detail})
