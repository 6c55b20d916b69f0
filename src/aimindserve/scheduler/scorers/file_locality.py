"""Prefers workers that have the model's file already."""

from aimindserve.core.shape import Shape
from aimindserve.scheduler.base import Ask, Gauge, WorkerView
from aimindserve.scheduler.room import has_files


class FileLocality:
    """Saves a download of many gigabytes."""

    name = "file_locality"
    weight = 0.5

    def score(self, ask: Ask, shape: Shape, worker: WorkerView) -> float:  # noqa: ARG002
        """One where the file is known to be, else zero."""
        return 1.0 if has_files(ask, worker.name) else 0.0

    def prepare(self, ask: Ask, shape: Shape) -> Gauge | None:  # noqa: ARG002
        """The same for many workers."""
        known = ask.file_workers or {}
        there = ask.file_at | {name for name, reason in known.items() if reason is None}
        return (lambda worker: 1.0 if worker.name in there else 0.0) if there else None


PLUGIN = FileLocality()
