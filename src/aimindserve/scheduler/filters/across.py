"""Refuses workers that already take part in an instance that spans workers."""

from aimindserve.core.reason import Reason
from aimindserve.core.shape import Shape
from aimindserve.scheduler.base import Ask, Screen, WorkerView


class Across:
    """The engines of such an instance find each other on fixed ports of the worker, so there can be
    one of each backend at a time."""

    name = "across"

    def reject(self, ask: Ask, shape: Shape, worker: WorkerView) -> Reason | None:
        """Nothing against it for a shape that stays on one worker."""
        if not shape.across or not worker.across.get(ask.backend):
            return None
        return Reason("across_taken", {"worker": worker.name, "backend": ask.backend})

    def screen(self, ask: Ask, shape: Shape) -> Screen | None:
        """The same without the reason."""
        if not shape.across:
            return None
        backend = ask.backend
        return lambda worker: not worker.across.get(backend)


PLUGIN = Across()
