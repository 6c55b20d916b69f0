"""Refuses workers on which a shape does not fit into what is free."""

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any

from aimindserve.core.reason import Reason
from aimindserve.core.shape import Shape
from aimindserve.kit.units import format_bytes
from aimindserve.scheduler.base import Ask, Screen, WorkerView
from aimindserve.scheduler.memo import kept
from aimindserve.scheduler.pack import Short, Way, way
from aimindserve.scheduler.world import World

_CODES = {
    "ram": "no_fit_ram",
    "vram": "no_fit_vram",
    "devices": "no_fit_devices",
    "layers": "no_fit_layers",
    "count": "too_few_devices",
    "whole": "not_whole",
}


class Memory:
    """Device memory and RAM alike: what is claimed cannot be claimed again. Only on devices chosen
    by hand it can: the placement says so."""

    name = "memory"
    cost = 1

    def reject(self, ask: Ask, shape: Shape, worker: WorkerView) -> Reason | None:
        """Needs against free, in bytes and in words."""
        chosen = way(ask, shape)
        return kept(worker, chosen.mark, lambda each: (_against(ask, chosen, each),))[0]

    def screen(self, ask: Ask, shape: Shape) -> Screen | None:
        """The same without the reason."""
        return _Screen(way(ask, shape), by_hand=bool(ask.device_ids))


def _against(ask: Ask, chosen: Way, worker: WorkerView) -> Reason | None:
    found = chosen.short(worker)
    if found is None or (ask.device_ids and chosen.forced(worker)):
        return None
    if found.what == "count" and not found.found:
        return None  # there is none at all: other filters say why
    return Reason(_CODES[found.what], _params(found, worker))


class _Screen:
    def __init__(self, chosen: Way, *, by_hand: bool) -> None:
        self._way = chosen
        self._by_hand = by_hand

    def __call__(self, worker: WorkerView) -> bool:
        chosen = self._way
        return (
            chosen.fits(worker)
            or (self._by_hand and chosen.forced(worker))
            or chosen.barren(worker)
        )

    def sift(self, world: World, positions: Sequence[int]) -> Sequence[int]:
        """Those of `positions` that pass: from columns of numbers where the way has some."""
        bounds = None if self._by_hand else self._way.bounds
        workers = world.now
        if bounds is None:
            return [position for position in positions if self(workers[position])]
        ram = world.column("ram", _ram)
        passing = [position for position in positions if ram[position] >= bounds.ram]
        if bounds.key is None:
            return passing
        free = world.column(bounds.key, bounds.of)
        enough = bounds.least
        return [
            position
            for position in passing
            if free[position] >= enough or (free[position] < 0 and self(workers[position]))
        ]


def _params(found: Short, worker: WorkerView) -> Mapping[str, Any]:
    if found.what in {"count", "whole"}:
        return {"worker": worker.name, "found": found.found, "wanted": found.wanted}
    return {
        "worker": worker.name,
        "found": found.found,
        "wanted": found.wanted,
        "need": _words(found.need),
        "free": _words(found.free),
        "total": _words(worker.ram_bytes) if found.what == "ram" else "",
        "need_bytes": found.need,
        "free_bytes": found.free,
    }


def _ram(worker: WorkerView) -> int:
    return worker.ram_free_bytes


_words = lru_cache(maxsize=4096)(format_bytes)
"""The same few sizes are said of hundreds of workers."""

PLUGIN = Memory()
