"""Prefers workers that are already full, so that large models find empty ones."""

from aimindserve.core.shape import Shape
from aimindserve.scheduler.base import Ask, WorkerView
from aimindserve.scheduler.room import free_share


class Binpack:
    """The fuller, the better."""

    name = "binpack"
    weight = 1.0

    def score(self, ask: Ask, shape: Shape, worker: WorkerView) -> float:
        """Nothing to say unless the deployment asks for it."""
        return 1.0 - free_share(shape, worker) if ask.strategy == "binpack" else 0.0


PLUGIN = Binpack()
