"""What was measured before, found again for a shape that is to be priced.

    (model digest, backend and version, parameters, environment, shape) + device kind ─▶ samples

An exact match or nothing: a model with another context is another question, and what was measured
on one kind of device says nothing of another. Reads only; it keeps an index of the store's list for
as long as that list is the same.
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

import msgspec

from aimindserve import __version__
from aimindserve.controllers.views import Estimate, Worker, estimates
from aimindserve.core.facts import ModelFacts
from aimindserve.core.secrecy import masked
from aimindserve.core.shape import Shape
from aimindserve.kit.clock import Clock
from aimindserve.resources.deployment import DeploymentSpec
from aimindserve.scheduler.estimates import Known, learn
from aimindserve.store.base import Store


@dataclass(frozen=True, slots=True)
class Key:
    """All that memory depends on but the device."""

    digest: str
    backend: str
    version: str
    shape: str
    parameters: tuple[str, ...] = ()
    settings: str = ""


def key_of(
    facts: ModelFacts, backend: str, template: DeploymentSpec, shape: str, words: Sequence[str]
) -> Key:
    """The key of a shape (by its label, with the parameters it implies) of a deployment. A version
    that nobody chose is the one that comes with this program."""
    return Key(
        digest=facts_digest(facts),
        backend=backend,
        version=template.backend_version or f"aimindserve {__version__}",
        shape=shape,
        parameters=(*words, *template.backend_parameters),
        # Anybody may read an estimate: a digest of a secret could be guessed at, and no engine
        # takes other memory for another token.
        settings=_digest(masked(template.env)) if template.env else "",
    )


class Learned:
    """Corrects shapes by what was measured."""

    def __init__(self, store: Store, clock: Clock) -> None:
        self._store = store
        self._clock = clock
        self._listed: Sequence[Estimate] = ()
        self._index: Mapping[Key, Sequence[Estimate]] = {}

    def correct(
        self, facts: ModelFacts, backend: str, template: DeploymentSpec, shape: Shape
    ) -> Shape:
        """The shape, corrected for every kind of device on which the same has run before."""
        if not estimates(self._store):
            return shape
        key = key_of(facts, backend, template, shape.label, shape.parameters)
        known = {
            each.spec.device: Known(each.status.samples, each.status.shortage)
            for each in self._found(key)
        }
        return learn(shape, known, self._clock.now())

    def _found(self, key: Key) -> Sequence[Estimate]:
        listed = estimates(self._store)
        if listed is not self._listed:
            index: dict[Key, list[Estimate]] = {}
            for each in listed:
                index.setdefault(key_in(each), []).append(each)
            self._index, self._listed = index, listed
        return self._index.get(key, ())


def key_in(estimate: Estimate) -> Key:
    """What an estimate is about, but for the device."""
    spec = estimate.spec
    return Key(spec.digest, spec.backend, spec.version, spec.shape, spec.parameters, spec.settings)


def processor_kind(worker: Worker) -> str:
    """What stands for a worker's processors and memory."""
    seen = worker.status.observed
    return "" if seen is None else seen.inventory.cpu_name or seen.inventory.arch


@lru_cache(maxsize=1024)
def facts_digest(facts: ModelFacts) -> str:
    """Sixteen hexadecimal digits that stand for all a model's files say of themselves: what is not
    in it (the values of the weights) changes nothing about memory. What they do not say is left
    out, so that a program that could read more would not forget the models that say no more."""
    said = {name: value for name, value in msgspec.to_builtins(facts).items() if value}
    return hashlib.sha256(msgspec.json.encode(said, order="sorted")).hexdigest()[:16]


def _digest(env: Mapping[str, str]) -> str:
    return hashlib.sha256(repr(sorted(env.items())).encode()).hexdigest()[:16]
