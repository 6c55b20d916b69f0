"""Prefers workers with few instances of the same deployment, then those with much free memory."""

from aimindserve.core.shape import Shape
from aimindserve.scheduler.base import Ask, Gauge, WorkerView
from aimindserve.scheduler.pack import way
from aimindserve.scheduler.room import free_share


class Spread:
    """So that the loss of one machine takes as few replicas as possible."""

    name = "spread"
    weight = 1.0

    def score(self, ask: Ask, shape: Shape, worker: WorkerView) -> float:
        """Nothing to say unless the deployment asks for it."""
        gauge = self.prepare(ask, shape)
        return 0.0 if gauge is None else gauge(worker)

    def prepare(self, ask: Ask, shape: Shape) -> Gauge | None:
        """The same for many workers."""
        if ask.strategy != "spread":
            return None
        devices, deployment = way(ask, shape).count > 0, ask.deployment
        return lambda worker: (
            0.8 / (1 + worker.instances.get(deployment, 0))
            + 0.2 * free_share(worker, devices=devices)
        )


PLUGIN = Spread()
