"""Refuses workers that already run as many instances of the deployment as one worker may."""

from aimindserve.core.reason import Reason
from aimindserve.core.shape import Shape
from aimindserve.scheduler.base import Ask, Screen, WorkerView


class AntiAffinity:
    """So that the loss of one machine cannot take more than that."""

    name = "anti_affinity"

    def reject(self, ask: Ask, shape: Shape, worker: WorkerView) -> Reason | None:  # noqa: ARG002
        """Says how many there are, and how many there may be."""
        most = ask.instances_per_worker_max
        count = worker.instances.get(ask.deployment, 0)
        if most is None or count < most:
            return None
        return Reason("instances_max", {"worker": worker.name, "count": count, "max": most})

    def screen(self, ask: Ask, shape: Shape) -> Screen | None:  # noqa: ARG002
        """The same without the reason."""
        most, deployment = ask.instances_per_worker_max, ask.deployment
        if most is None:
            return None
        return lambda worker: worker.instances.get(deployment, 0) < most


PLUGIN = AntiAffinity()
