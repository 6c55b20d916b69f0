"""Refuses workers that do not have the devices chosen by hand."""

from aimindserve.core.reason import Reason
from aimindserve.core.shape import Shape
from aimindserve.scheduler.base import Ask, WorkerView
from aimindserve.scheduler.pack import demand


class Devices:
    """A gpu_selector names devices as worker:type:index; only those may be used."""

    name = "devices"

    def reject(self, ask: Ask, shape: Shape, worker: WorkerView) -> Reason | None:
        """A named device that the worker lacks is told by its name."""
        if not ask.device_ids:
            return None
        there = {device.id for device in worker.devices}
        for wanted in ask.device_ids:
            if wanted.rpartition(":")[0].rpartition(":")[0] == worker.name and wanted not in there:
                return Reason("device_missing", {"device": wanted, "worker": worker.name})
        count = len(demand(shape).devices)
        if count and len(there.intersection(ask.device_ids)) >= count:
            return None
        return Reason("selector_empty", {"rule": "gpu_selector", "worker": worker.name})


PLUGIN = Devices()
