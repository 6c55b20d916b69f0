"""Refuses workers that were told to take no new work."""

from aimindserve.core.reason import Reason
from aimindserve.core.shape import Shape
from aimindserve.scheduler.base import Ask, WorkerView


class Cordoned:
    """What runs there goes on; nothing new is placed."""

    name = "cordoned"

    def reject(self, ask: Ask, shape: Shape, worker: WorkerView) -> Reason | None:  # noqa: ARG002
        """Not while it is cordoned."""
        return Reason("worker_cordoned", {"worker": worker.name}) if worker.cordoned else None


PLUGIN = Cordoned()
