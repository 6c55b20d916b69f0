"""Backends price, the scheduler packs: what one file in this folder must offer.

A backend is pure: it reads facts and writes shapes and launch specs. It never starts anything.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from aimindserve.core.facts import ModelFacts, Options
from aimindserve.core.launch import LaunchContext, LaunchSpec, Probe
from aimindserve.core.reason import Reason
from aimindserve.core.shape import Shape


@dataclass(frozen=True, slots=True)
class Lesser:
    """Parameters with which the same model would need less: advice for somebody who waits."""

    kind: str
    """context, slots, kv_type: a row of `core.advice`, as `params` are its parameters."""
    parameters: tuple[str, ...]
    """All of them: they take the place of the user's."""
    params: Mapping[str, Any] = field(default_factory=dict[str, Any])


class Backend(Protocol):
    """An inference engine integration."""

    name: str
    aliases: tuple[str, ...]
    """Other names it answers to in a deployment's `backend`."""
    installations: tuple[str, ...]
    """Names of what must be installed on a worker, any one of them; empty: it comes with this
    program."""
    title: str
    """One sentence for people."""
    starts_across: bool
    """Whether `launch` knows how to start the ranks of one instance on several workers."""

    def serves(self, model: ModelFacts, options: Options) -> Reason | None:
        """Why this backend cannot run the model so, or None when it can."""
        ...

    def shapes(self, model: ModelFacts, options: Options) -> Sequence[Shape]:
        """Ways to run it, best first; never empty when `serves` says None."""
        ...

    def loads(self, model: ModelFacts, options: Options) -> ModelFacts:
        """The model with those of its companions only that are loaded with it so: what a worker
        must have to run it. For options that `serves` accepts."""
        ...

    def context(self, model: ModelFacts, options: Options) -> int:
        """Tokens that one request can have, prompt and answer together, when it runs so: `options`
        hold the parameters of the placement too. Zero where there is no such limit."""
        ...

    def lesser(self, model: ModelFacts, options: Options) -> Iterable[Lesser]:
        """What could be asked for instead, from the least change on; for options that `serves`
        accepts."""
        ...

    def launch(self, context: LaunchContext) -> LaunchSpec:
        """The process of one rank. Raises UnsupportedError for options `serves` would refuse."""
        ...

    def probe(self, context: LaunchContext) -> Probe:
        """How to learn that it is ready."""
        ...
