"""Refuses workers that have no port left for another engine."""

from aimindserve.core.reason import Reason
from aimindserve.core.shape import Shape
from aimindserve.scheduler.base import Ask, WorkerView


class Ports:
    """Every rank listens on a port of its own."""

    name = "ports"

    def reject(self, ask: Ask, shape: Shape, worker: WorkerView) -> Reason | None:  # noqa: ARG002
        """Says which range is used up."""
        if worker.ports_free >= len(shape.ranks):
            return None
        low, high = worker.service_ports
        return Reason("port_exhausted", {"worker": worker.name, "range": f"{low}-{high}"})


PLUGIN = Ports()
