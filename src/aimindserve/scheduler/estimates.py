"""Correcting what a formula says by what engines really took.

    correct(shape, samples) ─▶ the shape with measured bytes: never below the highest that was seen,
                               a margin above it that shrinks as samples agree

Engines that never answered a request may still grow: those may raise an estimate, but not lower it.
Samples are of one kind of device, and so is what they correct. Pure.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace

from aimindserve.core.device import MemoryParts, Need
from aimindserve.core.measurement import Footprint, Sample, accepted, peak
from aimindserve.core.shape import DECLARED, MEASURED, Layers, OnKind, Shape

SAMPLES_KEPT = 8
MARGINS = (0.03, 0.02, 0.01)
"""Above the highest of one, two, three or more samples."""
MARGIN_MAX = 0.10
STALE_S = 86_400.0
NOISE_SHARE = 0.01
"""A run whose highest grows by less is not written down anew."""


def keep(samples: Sequence[Sample], fresh: Sample) -> tuple[Sample, ...]:
    """`samples` with `fresh`, which takes the place of an earlier one of its run. The very same
    when there is no news in it: once there are enough, another run is news only when it took more,
    when it worked and one that is kept did not, or when one that is kept is a day old."""
    before = next((each for each in samples if each.run == fresh.run), None)
    if before is not None:
        taken = fresh.taken.at_least(before.taken)
        grown = taken.total > before.taken.total * (1 + NOISE_SHARE)
        if not grown and (before.worked or not fresh.worked):
            return tuple(samples)
        claimed = before.claimed
        worked = fresh.worked or before.worked
        fresh = replace(fresh, taken=taken, worked=worked, claimed=claimed)
    others = [each for each in samples if each.run != fresh.run]
    if len(others) < SAMPLES_KEPT:
        return (*others, fresh)
    leaving = _leaving(others, fresh)
    return tuple(samples) if leaving is None else (*(e for e in others if e is not leaving), fresh)


def _leaving(others: Sequence[Sample], fresh: Sample) -> Sample | None:
    """Which of enough samples makes room; the highest never does, unless for a higher one."""
    highest = max(others, key=lambda each: each.taken.total)
    rest = [each for each in others if each is not highest]
    idle = next((each for each in rest if not each.worked), None)
    if fresh.worked and idle is not None:
        return idle
    if fresh.taken.total > highest.taken.total * (1 + NOISE_SHARE):
        return rest[0]
    oldest = min(rest, key=lambda each: each.time)
    return oldest if fresh.time - oldest.time > STALE_S else None


def learn(shape: Shape, samples: Mapping[str, Sequence[Sample]]) -> Shape:
    """The shape with what is known of it on each kind of device: `samples` by kind. Kinds of which
    nothing was measured keep what was predicted."""
    kinds: list[OnKind] = []
    for kind in sorted(samples):
        found = correct(shape, samples[kind])
        if found is not shape:
            kinds.append(OnKind(kind, found.ranks, found.layers, found.confidence))
    return replace(shape, kinds=tuple(kinds)) if kinds else shape


def correct(shape: Shape, samples: Sequence[Sample]) -> Shape:
    """The shape as `samples` of it, all of one kind of device, say. What a user declared stays, and
    so does a shape without samples."""
    good = accepted(samples)
    highest = peak(good)
    if highest is None or shape.confidence == DECLARED:
        return shape
    wanted = _with_margin(highest, good)
    lowers = any(sample.worked for sample in good)
    if shape.layers is not None:
        return _cut(shape, shape.layers, good)
    predicted = footprint(shape)
    if len(wanted.devices) != len(predicted.devices):
        wanted = replace(wanted, devices=predicted.devices)
    if len(set(predicted.devices)) == 1:
        # Ranks that are alike stay alike, whichever of them took a little more this time.
        wanted = replace(wanted, devices=(max(wanted.devices),) * len(wanted.devices))
    if shape.device_fraction:
        # It takes its share whatever it needs: what was measured says nothing about the need.
        wanted = replace(wanted, devices=predicted.devices)
    aim = wanted if lowers else wanted.at_least(predicted)
    measured = lowers or aim == wanted
    return replace(
        shape,
        ranks=_ranks(shape, predicted, aim),
        confidence=MEASURED if measured else shape.confidence,
    )


def footprint(shape: Shape) -> Footprint:
    """What a shape that is not cut between layers needs in all."""
    devices = tuple(parts.total for rank in shape.ranks for parts in rank.devices)
    return Footprint(sum(rank.ram.total for rank in shape.ranks), devices)


def _with_margin(highest: Footprint, samples: Sequence[Sample]) -> Footprint:
    totals = [sample.taken.total for sample in samples]
    spread = 1 - min(totals) / max(totals) if max(totals) else 0.0
    margin = min(MARGINS[min(len(samples), len(MARGINS)) - 1] + spread / 2, MARGIN_MAX)
    return Footprint(
        _more(highest.ram_bytes, margin), tuple(_more(size, margin) for size in highest.devices)
    )


def _more(size: int, margin: float) -> int:
    return size + int(size * margin)


def _ranks(shape: Shape, predicted: Footprint, aim: Footprint) -> tuple[Need, ...]:
    """The ranks with the bytes of `aim`; RAM is divided among them as it was predicted."""
    devices = iter(aim.devices)
    ranks: list[Need] = []
    left = aim.ram_bytes
    for place, rank in enumerate(shape.ranks):
        last = place == len(shape.ranks) - 1
        share = rank.ram.total / predicted.ram_bytes if predicted.ram_bytes else 0.0
        ram = left if last else min(left, int(aim.ram_bytes * share))
        left -= ram
        held = tuple(_sized(parts, next(devices)) for parts in rank.devices)
        ranks.append(Need(held, _sized(rank.ram, ram)))
    return tuple(ranks)


def _sized(parts: MemoryParts, total: int) -> MemoryParts:
    """`parts` that add up to `total`. What is more belongs to the runtime; what is less is taken
    from what is known least, the runtime and the compute buffer first."""
    more = total - parts.total
    if more >= 0:
        return replace(parts, runtime=parts.runtime + more)
    for name in ("runtime", "compute", "draft", "projector", "kv_cache", "weights"):
        size: int = getattr(parts, name)
        less = min(size, -more)
        parts, more = replace(parts, **{name: size - less}), more + less
    return parts


def _cut(shape: Shape, layers: Layers, samples: Sequence[Sample]) -> Shape:
    """How much lies on which device is only known once it is cut, so a sample of one cut cannot
    size another. If devices took more than was claimed, each gets as much more in proportion."""
    excess = max(
        (
            taken / claimed - 1
            for sample in samples
            if sample.claimed is not None
            for taken, claimed in zip(sample.taken.devices, sample.claimed.devices, strict=False)
            if claimed
        ),
        default=0.0,
    )
    if excess <= 0:
        return shape
    whole = sum((parts.total for parts in layers.device), layers.overhead.total)
    more = MemoryParts(runtime=int(whole * excess))
    return replace(shape, layers=replace(layers, overhead=layers.overhead + more))
