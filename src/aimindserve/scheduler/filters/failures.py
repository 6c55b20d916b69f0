"""Refuses places where an instance with the same needs has run out of memory before."""

from collections.abc import Iterable

from aimindserve.core.reason import Reason
from aimindserve.core.shape import Shape
from aimindserve.scheduler.base import Ask, Screen, WorkerView
from aimindserve.scheduler.pack import short
from aimindserve.scheduler.room import failed_with, rule


class Failures:
    """A device where it failed is left out; a worker only when the other devices are too few, or
    when it was the RAM that did not suffice."""

    name = "failures"

    def reject(self, ask: Ask, shape: Shape, worker: WorkerView) -> Reason | None:
        """The failure itself."""
        if not ask.failures:
            return None
        of_ram = ask.failures.get(f"{worker.name}:ram")
        if of_ram is not None and all(
            failed_with(of_ram, each, _ram_bytes(each)) for each in _here(shape, worker)
        ):
            return of_ram
        failed = [
            device.id
            for device in worker.devices
            if device.id in ask.failures and device.id in rule(ask, shape.on(device.name)).without
        ]
        if not failed or short(ask, shape, worker) is None:
            return None
        return ask.failures[failed[0]]

    def screen(self, ask: Ask, shape: Shape) -> Screen | None:
        """The same without the reason."""
        if not ask.failures:
            return None
        return lambda worker: self.reject(ask, shape, worker) is None


def _here(shape: Shape, worker: WorkerView) -> Iterable[Shape]:
    """The shape as it would be on the worker, by the kinds that it has."""
    if not shape.takes_devices:
        return [shape.on(worker.processor)]
    return [shape.on(kind) for kind in sorted({device.name for device in worker.devices})]


def _ram_bytes(shape: Shape) -> int:
    return sum(rank.ram.total for rank in shape.ranks)


PLUGIN = Failures()
