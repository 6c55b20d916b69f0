"""Prefers workers that are already full, so that large models find empty ones."""

from aimindserve.core.shape import Shape
from aimindserve.scheduler.base import Ask, Gauge, WorkerView
from aimindserve.scheduler.memo import Steady
from aimindserve.scheduler.pack import way
from aimindserve.scheduler.room import free_share


class Binpack:
    """The fuller, the better."""

    name = "binpack"
    weight = 1.0

    def score(self, ask: Ask, shape: Shape, worker: WorkerView) -> float:
        """Nothing to say unless the deployment asks for it."""
        if ask.strategy != "binpack":
            return 0.0
        return 1.0 - free_share(worker, devices=way(ask, shape).count > 0)

    def prepare(self, ask: Ask, shape: Shape) -> Gauge | None:
        """The same for many workers."""
        if ask.strategy != "binpack":
            return None
        devices = way(ask, shape).count > 0
        return Steady(
            ("binpack", devices), lambda worker: 1.0 - free_share(worker, devices=devices)
        )


PLUGIN = Binpack()
