"""Prefers fast devices, a little: where everything else is equal, the faster one should work.

Tokens are read from memory far more than they are computed, so the speed class is the memory
bandwidth that vendors publish in the data sheets of their products (GB/s, rounded).
"""

from math import log2

from aimindserve.core.device import Device
from aimindserve.core.shape import Shape
from aimindserve.scheduler.base import Ask, Gauge, WorkerView
from aimindserve.scheduler.memo import Steady
from aimindserve.scheduler.pack import way
from aimindserve.scheduler.room import Rule, pools, rule

BANDWIDTH: tuple[tuple[str, int], ...] = (
    ("b300", 8000),
    ("gb200", 8000),
    ("b200", 8000),
    ("mi355x", 8000),
    ("mi350x", 8000),
    ("mi325x", 6000),
    ("mi300x", 5300),
    ("gh200", 4900),
    ("h200", 4800),
    ("h20", 4000),
    ("h100 nvl", 3900),
    ("h100 pcie", 2000),
    ("h100", 3350),
    ("h800", 3350),
    ("mi250", 3200),
    ("a100", 2000),
    ("a800", 2000),
    ("910c", 3200),
    ("910b", 1600),
    ("rtx pro 6000", 1790),
    ("5090", 1790),
    ("mi210", 1600),
    ("4090", 1010),
    ("7900 xtx", 960),
    ("rtx 6000 ada", 960),
    ("l40", 860),
    ("v100", 900),
    ("a40", 700),
    ("a10", 600),
    ("l20", 860),
    ("m2 ultra", 800),
    ("m3 ultra", 820),
    ("l4", 300),
    ("t4", 320),
    ("310p", 200),
)
"""Part of a device's name, the more exact before the less -> bandwidth in GB/s."""

BY_CAPABILITY: tuple[tuple[str, int], ...] = (
    ("10.", 8000),
    ("9.0", 3350),
    ("8.9", 860),
    ("8.6", 700),
    ("8.0", 2000),
    ("7.5", 320),
    ("7.0", 900),
)
"""What NVIDIA's data-centre products of a compute capability have, where the name is not known."""

UNKNOWN = 0.5
SLOWEST, FASTEST = 100, 8000


class Speed:
    """By the devices that it may use, on average."""

    name = "speed"
    weight = 0.1

    def score(self, ask: Ask, shape: Shape, worker: WorkerView) -> float:
        """0 (100 GB/s or less) to 1 (8,000 GB/s); what is not known is in the middle."""
        gauge = self.prepare(ask, shape)
        return 0.0 if gauge is None else gauge(worker)

    def prepare(self, ask: Ask, shape: Shape) -> Gauge | None:
        """The same for many workers; nothing to say of shapes without devices."""
        if not way(ask, shape).count:
            return None
        types = Rule(types=rule(ask, shape).types)

        return Steady(("speed", types.types), lambda worker: _mean(worker, types))


def speed(device: Device) -> float:
    """The speed class of a device, 0 to 1."""
    name = device.name.lower()
    for part, bandwidth in BANDWIDTH:
        if part in name:
            return _class(bandwidth)
    for start, bandwidth in BY_CAPABILITY:
        if (device.compute_capability or "").startswith(start):
            return _class(bandwidth)
    return UNKNOWN


def _mean(worker: WorkerView, types: Rule) -> float:
    speeds = [speed(device) for pool in pools(worker, types) for device in pool.devices]
    return sum(speeds) / len(speeds) if speeds else UNKNOWN


def _class(bandwidth: int) -> float:
    share = log2(bandwidth / SLOWEST) / log2(FASTEST / SLOWEST)
    return min(max(share, 0.0), 1.0)


PLUGIN = Speed()
