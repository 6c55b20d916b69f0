"""Refuses workers on which the model's file is not ready."""

from aimindserve.core.reason import Reason
from aimindserve.core.shape import Shape
from aimindserve.scheduler.base import Ask, Screen, WorkerView

LOOKING = "file_checking"


class File:
    """Only matters for files that cannot be fetched: those that somebody put on a worker."""

    name = "file"

    def reject(self, ask: Ask, shape: Shape, worker: WorkerView) -> Reason | None:  # noqa: ARG002
        """The worker's own reason; one that has not looked yet is looking, unless it is away: then
        nobody looks, and the filter `ready` says why."""
        known = ask.file_workers
        if known is None:
            return None
        looking = Reason(LOOKING, {"worker": worker.name})
        reason = known.get(worker.name, looking)
        if reason is not None and reason.code == LOOKING and not worker.ready:
            return None
        return reason

    def screen(self, ask: Ask, shape: Shape) -> Screen | None:  # noqa: ARG002
        """The same without the reason."""
        known = ask.file_workers
        if known is None:
            return None
        there = frozenset(name for name, reason in known.items() if reason is None)
        against = frozenset(
            name for name, reason in known.items() if reason is not None and reason.code != LOOKING
        )
        return lambda worker: (
            worker.name in there or (not worker.ready and worker.name not in against)
        )


PLUGIN = File()
