"""Prefers workers on which instances of the deployment did not fail of late."""

from aimindserve.core.shape import Shape
from aimindserve.scheduler.base import Ask, Gauge, WorkerView


class FailureHistory:
    """Softer than a filter: a crash may have had another cause than the place."""

    name = "failure_history"
    weight = 0.4

    def score(self, ask: Ask, shape: Shape, worker: WorkerView) -> float:
        """One where nothing failed, a half after one failure, a third after two."""
        gauge = self.prepare(ask, shape)
        return 0.0 if gauge is None else gauge(worker)

    def prepare(self, ask: Ask, shape: Shape) -> Gauge | None:  # noqa: ARG002
        """The same for many workers; nothing to say where nothing failed anywhere."""
        crashes = ask.crashes
        if not crashes:
            return None
        return lambda worker: 1.0 / (1 + max(crashes.get(worker.name, 0), 0))


PLUGIN = FailureHistory()
