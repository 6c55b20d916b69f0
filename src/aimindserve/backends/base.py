"""Backends price, the scheduler packs: what one file in this folder must offer.

A backend is pure: it reads facts and writes shapes and launch specs. It never starts anything.
"""

from collections.abc import Sequence
from typing import Protocol

from aimindserve.core.facts import ModelFacts, Options
from aimindserve.core.launch import LaunchContext, LaunchSpec, Probe
from aimindserve.core.reason import Reason
from aimindserve.core.shape import Shape


class Backend(Protocol):
    """An inference engine integration."""

    name: str
    aliases: tuple[str, ...]
    """Other names it answers to in a deployment's `backend`."""
    title: str
    """One sentence for people."""

    def serves(self, model: ModelFacts, options: Options) -> Reason | None:
        """Why this backend cannot run the model so, or None when it can."""
        ...

    def shapes(self, model: ModelFacts, options: Options) -> Sequence[Shape]:
        """Ways to run it, best first; never empty when `serves` says None."""
        ...

    def launch(self, context: LaunchContext) -> LaunchSpec:
        """The process of one rank. Raises UnsupportedError for options `serves` would refuse."""
        ...

    def probe(self, context: LaunchContext) -> Probe:
        """How to learn that it is ready."""
        ...
