"""Refuses workers that have no port left for another engine."""

from aimindserve.core.reason import Reason
from aimindserve.core.shape import Shape
from aimindserve.scheduler.base import Ask, Screen, WorkerView


class Ports:
    """Every rank listens on a port of its own."""

    name = "ports"

    def reject(self, ask: Ask, shape: Shape, worker: WorkerView) -> Reason | None:  # noqa: ARG002
        """Says which range is used up."""
        if worker.ports_free >= (1 if shape.across else len(shape.ranks)):
            return None
        low, high = worker.service_ports
        return Reason("port_exhausted", {"worker": worker.name, "range": f"{low}-{high}"})

    def screen(self, ask: Ask, shape: Shape) -> Screen | None:  # noqa: ARG002
        """The same without the reason."""
        count = 1 if shape.across else len(shape.ranks)
        return lambda worker: worker.ports_free >= count


PLUGIN = Ports()
