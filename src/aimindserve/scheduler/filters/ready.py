"""Refuses workers that do not report."""

from aimindserve.core.reason import Reason
from aimindserve.core.shape import Shape
from aimindserve.scheduler.base import Ask, WorkerView


class Ready:
    """Only a worker whose lease is good can start anything."""

    name = "ready"

    def reject(self, ask: Ask, shape: Shape, worker: WorkerView) -> Reason | None:  # noqa: ARG002
        """Not while it is lost or has never reported."""
        return None if worker.ready else Reason("worker_not_ready", {"worker": worker.name})


PLUGIN = Ready()
