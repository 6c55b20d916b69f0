"""Prefers, among workers with devices chosen by hand, those where there is room."""

from aimindserve.core.shape import Shape
from aimindserve.scheduler.base import Ask, Gauge, WorkerView
from aimindserve.scheduler.pack import way


class Chosen:
    """Devices chosen by hand are used with or without room, but rather with."""

    name = "chosen"
    weight = 10.0

    def score(self, ask: Ask, shape: Shape, worker: WorkerView) -> float:
        """One where it fits."""
        gauge = self.prepare(ask, shape)
        return 0.0 if gauge is None else gauge(worker)

    def prepare(self, ask: Ask, shape: Shape) -> Gauge | None:
        """The same for many workers."""
        if not ask.device_ids:
            return None
        chosen = way(ask, shape)
        return lambda worker: 1.0 if chosen.fits(worker) else 0.0


PLUGIN = Chosen()
