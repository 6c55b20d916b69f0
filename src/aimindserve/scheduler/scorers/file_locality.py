"""Prefers workers that have the model's file already."""

from aimindserve.core.shape import Shape
from aimindserve.scheduler.base import Ask, WorkerView


class FileLocality:
    """Saves a download of many gigabytes."""

    name = "file_locality"
    weight = 0.5

    def score(self, ask: Ask, shape: Shape, worker: WorkerView) -> float:  # noqa: ARG002
        """One where the file is known to be, else zero."""
        known = ask.file_workers
        return 1.0 if known and worker.name in known and known[worker.name] is None else 0.0


PLUGIN = FileLocality()
