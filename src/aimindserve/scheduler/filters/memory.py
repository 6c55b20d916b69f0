"""Refuses workers on which a shape does not fit into what is free."""

from functools import lru_cache

from aimindserve.core.reason import Reason
from aimindserve.core.shape import Shape
from aimindserve.kit.units import format_bytes
from aimindserve.scheduler.base import Ask, WorkerView
from aimindserve.scheduler.pack import short


class Memory:
    """Device memory and RAM alike: what is claimed cannot be claimed again."""

    name = "memory"
    cost = 1

    def reject(self, ask: Ask, shape: Shape, worker: WorkerView) -> Reason | None:
        """Needs against free, in bytes and in words."""
        found = short(ask, shape, worker)
        if found is None or (found.what == "vram" and _no_such_device(ask, shape, worker)):
            return None
        params = {
            "worker": worker.name,
            "need": _words(found.need),
            "free": _words(found.free),
            "need_bytes": found.need,
            "free_bytes": found.free,
        }
        if found.what == "vram":
            return Reason("no_fit_vram", params)
        return Reason("no_fit_ram", {**params, "total": _words(worker.ram_bytes)})


def _no_such_device(ask: Ask, shape: Shape, worker: WorkerView) -> bool:
    """Whether there is nothing to be too small: the filters `platform` and `devices` say so."""
    kinds = shape.requirement.device_types
    no_type = bool(kinds) and not any(device.type in kinds for device in worker.devices)
    chosen = ask.device_ids
    return no_type or (bool(chosen) and not any(device.id in chosen for device in worker.devices))


_words = lru_cache(maxsize=4096)(format_bytes)
"""The same few sizes are said of hundreds of workers."""

PLUGIN = Memory()
