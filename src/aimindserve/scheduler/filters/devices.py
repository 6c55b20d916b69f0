"""Refuses workers that do not have the devices chosen by hand."""

from aimindserve.core.ids import worker_of
from aimindserve.core.reason import Reason
from aimindserve.core.shape import Shape
from aimindserve.scheduler.base import Ask, Screen, WorkerView
from aimindserve.scheduler.pack import way
from aimindserve.scheduler.room import rule, unfit


class Devices:
    """A gpu_selector names devices as worker:type:index; only those may be used."""

    name = "devices"

    def reject(self, ask: Ask, shape: Shape, worker: WorkerView) -> Reason | None:
        """A named device that the worker lacks is told by its name."""
        if not ask.device_ids:
            return None
        there = {device.id for device in worker.devices}
        for wanted in ask.device_ids:
            if worker_of(wanted) == worker.name and wanted not in there:
                return Reason("device_missing", {"device": wanted, "worker": worker.name})
        here = [device for device in worker.devices if device.id in ask.device_ids]
        count = way(ask, shape).count
        if not here or not count:
            return Reason("selector_empty", {"rule": "gpu_selector", "worker": worker.name})
        lacks = {device.id: unfit(device, rule(ask, shape)) for device in here}
        if all(lacks.values()):
            named, need = next(iter(lacks.items()))
            return Reason("chosen_unfit", {"device": named, "need": need, "worker": worker.name})
        each = ask.devices_each
        if each is not None and not _takes(shape, each):
            params = {"wanted": each, "takes": _most(shape), "shape": shape.label}
            return Reason("chosen_mismatch", {**params, "worker": worker.name})
        usable = sum(not each for each in lacks.values())
        return _too_few(worker, count, usable) if usable < count else None

    def screen(self, ask: Ask, shape: Shape) -> Screen | None:
        """The same without the reason."""
        if not ask.device_ids:
            return None
        named = {worker_of(wanted) for wanted in ask.device_ids}
        return lambda worker: worker.name in named and self.reject(ask, shape, worker) is None


def _takes(shape: Shape, count: int) -> bool:
    """Whether an instance of this shape can take exactly so many devices."""
    return count <= _most(shape) if shape.layers is not None else count == _most(shape)


def _most(shape: Shape) -> int:
    if shape.layers is not None:
        return max(shape.layers.devices_max, 1)
    return sum(len(need.devices) for need in shape.ranks)


def _too_few(worker: WorkerView, wanted: int, found: int) -> Reason:
    params = {"worker": worker.name, "wanted": wanted, "found": found}
    return Reason("too_few_chosen", params)


PLUGIN = Devices()
