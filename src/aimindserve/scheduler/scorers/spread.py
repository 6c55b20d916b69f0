"""Prefers workers with few instances of the same deployment, then those with much free memory."""

from aimindserve.core.shape import Shape
from aimindserve.scheduler.base import Ask, WorkerView
from aimindserve.scheduler.room import free_share


class Spread:
    """So that the loss of one machine takes as few replicas as possible."""

    name = "spread"
    weight = 1.0

    def score(self, ask: Ask, shape: Shape, worker: WorkerView) -> float:
        """Nothing to say unless the deployment asks for it."""
        if ask.strategy != "spread":
            return 0.0
        same = worker.instances.get(ask.deployment, 0)
        return 0.8 / (1 + same) + 0.2 * free_share(shape, worker)


PLUGIN = Spread()
