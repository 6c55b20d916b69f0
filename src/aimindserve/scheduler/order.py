"""In which order asks are served: the longest waiting first, and among equals the hardest to place.

Whoever came a while earlier goes first, or a large ask could wait for ever behind small ones that
keep coming. Asks of the same minute are equals: of those the ones that take most devices go first,
then the ones that take most memory, because what is large fits into few places and what is small
into many. Equal asks stay together, by age and name.
"""

from collections.abc import Iterable, Sequence

from aimindserve.core.shape import Shape
from aimindserve.scheduler.base import Ask

EQUALS_S = 60.0
"""Asks that came within the same span of this length are equals."""


def order(asks: Iterable[Ask]) -> list[list[Ask]]:
    """Groups of equals, the longest waiting first; within each, the hardest first."""
    groups: dict[int, list[Ask]] = {}
    for ask in asks:
        groups.setdefault(int(ask.created_at // EQUALS_S), []).append(ask)
    sizes: dict[int, tuple[int, int]] = {}
    ordered: list[list[Ask]] = []
    for age in sorted(groups):
        keyed: list[tuple[int, int, str, float, str, Ask]] = []
        for ask in groups[age]:
            size = sizes.get(id(ask.shapes))
            if size is None:
                size = sizes[id(ask.shapes)] = size_of(ask.shapes)
            keyed.append((-size[0], -size[1], ask.deployment, ask.created_at, ask.instance, ask))
        keyed.sort(key=lambda entry: entry[:5])
        ordered.append([entry[5] for entry in keyed])
    return ordered


def size_of(shapes: Sequence[Shape]) -> tuple[int, int]:
    """Devices and bytes of the shape that comes first."""
    if not shapes:
        return 0, 0
    shape = shapes[0]
    if shape.layers is not None:
        parts = (*shape.layers.device, shape.layers.overhead, shape.layers.overhead_last)
        return 1, sum(each.total for each in parts)
    devices = [parts.total for need in shape.ranks for parts in need.devices]
    return len(devices), sum(devices) or sum(need.ram.total for need in shape.ranks)
