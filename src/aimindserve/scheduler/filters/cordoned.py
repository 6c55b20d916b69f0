"""Refuses workers that were told to take no new work."""

from collections.abc import Hashable

from aimindserve.core.reason import Reason
from aimindserve.core.shape import Shape
from aimindserve.scheduler.base import Ask, Screen, WorkerView


class Cordoned:
    """What runs there goes on; nothing new is placed."""

    name = "cordoned"

    def reject(self, ask: Ask, shape: Shape, worker: WorkerView) -> Reason | None:  # noqa: ARG002
        """Not while it is cordoned."""
        return Reason("worker_cordoned", {"worker": worker.name}) if worker.cordoned else None

    def lasting(self, ask: Ask, shape: Shape) -> Hashable:  # noqa: ARG002
        """It is the same for every ask."""
        return None

    def screen(self, ask: Ask, shape: Shape) -> Screen | None:  # noqa: ARG002
        """The same without the reason."""
        return lambda worker: not worker.cordoned


PLUGIN = Cordoned()
