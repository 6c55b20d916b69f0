"""Refuses workers on which the model's file is not ready."""

from aimindserve.core.reason import Reason
from aimindserve.core.shape import Shape
from aimindserve.scheduler.base import Ask, Screen, WorkerView


class File:
    """Only matters for files that cannot be fetched: those that somebody put on a worker."""

    name = "file"

    def reject(self, ask: Ask, shape: Shape, worker: WorkerView) -> Reason | None:  # noqa: ARG002
        """The worker's own reason; one that has not looked yet is looking."""
        known = ask.file_workers
        if known is None:
            return None
        if worker.name not in known:
            return Reason("file_checking", {"worker": worker.name})
        return known[worker.name]

    def screen(self, ask: Ask, shape: Shape) -> Screen | None:  # noqa: ARG002
        """The same without the reason."""
        known = ask.file_workers
        if known is None:
            return None
        there = frozenset(name for name, reason in known.items() if reason is None)
        return lambda worker: worker.name in there


PLUGIN = File()
