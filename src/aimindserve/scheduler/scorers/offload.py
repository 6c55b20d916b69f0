"""Prefers workers whose devices take more of a model that may stay on the host in part."""

from aimindserve.core.shape import Shape
from aimindserve.scheduler.base import Ask, Gauge, WorkerView
from aimindserve.scheduler.pack import way
from aimindserve.scheduler.packing.kinds import ByKind
from aimindserve.scheduler.packing.layers import Cut


class Offload:
    """Every layer on a device makes it faster, so this weighs more than where it is tidy."""

    name = "offload"
    weight = 2.0

    def score(self, ask: Ask, shape: Shape, worker: WorkerView) -> float:
        """The share of the layers on devices."""
        gauge = self.prepare(ask, shape)
        return 0.0 if gauge is None else gauge(worker)

    def prepare(self, ask: Ask, shape: Shape) -> Gauge | None:
        """The same for many workers; nothing to say where all of it must be on devices."""
        layers = shape.layers
        if layers is None or layers.least >= len(layers.device):
            return None
        chosen = way(ask, shape)
        return chosen.share if isinstance(chosen, (Cut, ByKind)) else None


PLUGIN = Offload()
