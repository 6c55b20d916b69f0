"""Prefers workers that are broken up least: whole devices side by side are what large models need.

The largest group that a tensor-parallel engine can still have on a worker is a power of two of
whole devices. What a placement takes from that, beyond the devices it takes itself, is the damage.
"""

from aimindserve.core.shape import Shape
from aimindserve.scheduler.base import Ask, Gauge, WorkerView
from aimindserve.scheduler.memo import Steady
from aimindserve.scheduler.pack import way
from aimindserve.scheduler.room import Pool, pools, rule


class Fragmentation:
    """One whole device of three costs nothing, of four it costs a group of four."""

    name = "fragmentation"
    weight = 0.3

    def score(self, ask: Ask, shape: Shape, worker: WorkerView) -> float:
        """One where nothing is broken up."""
        gauge = self.prepare(ask, shape)
        return 0.0 if gauge is None else gauge(worker)

    def prepare(self, ask: Ask, shape: Shape) -> Gauge | None:
        """The same for many workers; nothing to say of shapes without devices, or on whole
        workers."""
        chosen = way(ask, shape)
        count, size = chosen.count, chosen.size
        if not count or shape.across:
            return None
        allowed = rule(ask, shape)
        packs = ask.strategy == "binpack"

        full = size if packs else None

        def work(worker: WorkerView) -> float:
            found = pools(worker, allowed)
            return max([_intact(pool, count, full) for pool in found], default=0.0)

        return Steady(("fragmentation", allowed, count, full), work)


def _intact(pool: Pool, count: int, size: int | None) -> float:
    """`size`: devices in use are taken first where so much is free on them."""
    whole = pool.whole
    if not whole:
        return 1.0
    if size is not None:
        count -= sum(free >= size for free in pool.most[whole:])
    if count <= 0:
        return 1.0
    group = 1 << (whole.bit_length() - 1)
    left = whole - count
    then = 1 << (left.bit_length() - 1) if left > 0 else 0
    return 1.0 - max(group - then - count, 0) / group


PLUGIN = Fragmentation()
