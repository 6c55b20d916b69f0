"""Refuses workers that cannot take the model's files: they would have to be fetched first."""

from aimindserve.core.reason import Reason
from aimindserve.core.shape import Shape
from aimindserve.kit.units import format_bytes
from aimindserve.scheduler.base import Ask, Screen, WorkerView
from aimindserve.scheduler.room import fetch_bytes


class Disk:
    """Compares the size of the files with what is free where the worker keeps models."""

    name = "disk"

    def reject(self, ask: Ask, shape: Shape, worker: WorkerView) -> Reason | None:  # noqa: ARG002
        """Nothing against a worker that has the files, or does not say what is free."""
        free = worker.disk_free_bytes
        need = fetch_bytes(ask, worker)
        if free is None or need <= free:
            return None
        params = {
            "worker": worker.name,
            "need": format_bytes(need),
            "free": format_bytes(max(free, 0)),
            "disk_need_bytes": need,
            "disk_free_bytes": free,
        }
        return Reason("no_fit_disk", params)

    def screen(self, ask: Ask, shape: Shape) -> Screen | None:  # noqa: ARG002
        """The same without the reason."""
        size = ask.file_bytes
        if not size:
            return None
        return lambda worker: (
            worker.disk_free_bytes is None
            or worker.disk_free_bytes >= size
            or fetch_bytes(ask, worker) == 0
        )


PLUGIN = Disk()
