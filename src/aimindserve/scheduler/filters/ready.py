"""Refuses workers that do not report."""

from collections.abc import Hashable

from aimindserve.core.reason import Reason
from aimindserve.core.shape import Shape
from aimindserve.scheduler.base import Ask, Screen, WorkerView


class Ready:
    """Only a worker whose lease is good can start anything."""

    name = "ready"

    def reject(self, ask: Ask, shape: Shape, worker: WorkerView) -> Reason | None:  # noqa: ARG002
        """Not while it is lost, was shut down or has never reported."""
        if worker.ready:
            return None
        return worker.away or Reason("worker_not_ready", {"worker": worker.name})

    def lasting(self, ask: Ask, shape: Shape) -> Hashable:  # noqa: ARG002
        """It is the same for every ask."""
        return None

    def screen(self, ask: Ask, shape: Shape) -> Screen | None:  # noqa: ARG002
        """The same without the reason."""
        return lambda worker: worker.ready


PLUGIN = Ready()
