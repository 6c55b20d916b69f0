"""Correcting what a formula says by what engines really took.

    correct(shape, samples) ─▶ the shape with measured bytes: never below the highest that was seen,
                               a margin above it that shrinks as samples agree

Measured is only what an engine took that ran just so and has answered requests. One that never
answered may still grow, and a model that is cut is cut elsewhere next time: those raise an estimate
and do not lower it. Who takes a share of a device takes it whatever it needs: that says nothing.
Samples are of one kind of device, and so is what they correct. Pure.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from aimindserve.core.device import MemoryParts, Need
from aimindserve.core.measurement import Footprint, Sample, Shortage, accepted, by_part
from aimindserve.core.placement import Placement
from aimindserve.core.shape import DECLARED, DERIVED, MEASURED, Layers, OnKind, Shape
from aimindserve.scheduler.packing.layers import Model

SAMPLES_KEPT = 8
SHORT_GROWTH = 1.2
"""What ran out of memory is tried next with so much more; Kubernetes' vertical pod autoscaler does
the same (`oom-bump-up-ratio`)."""
SHORT_MAX = 2.0
"""Never more than so many times the formula: beyond that it is somebody else's doing."""
MARGINS = (0.03, 0.02, 0.01)
"""Above the highest of one, two, three or more samples."""
MARGIN_MAX = 0.10
LOWERS_FREELY = 3
"""So many runs that worked lower an estimate to whatever they took."""
LOWERED_MIN = 0.5
"""Fewer do not lower it below this share of the formula."""
STALE_S = 86_400.0
NOISE_SHARE = 0.01
"""A run whose highest grows by less is not written down anew."""


def run_out(
    before: Shortage | None, fresh: Shortage, pause_s: Callable[[int], float]
) -> Shortage | None:
    """The shortage to remember once `fresh`, with what was claimed, came after `before`; None when
    it is known. `pause_s`: for how long more is claimed, by how often that happened."""
    if before is not None and before.placement_id == fresh.placement_id:
        return None
    times, claims = 1, _raised(fresh.claims, fresh.predicted)
    if before is not None and fresh.time - before.time <= STALE_S:
        times, claims = before.times + 1, claims.at_least(before.claims)
    return replace(fresh, times=times, until=fresh.time + pause_s(times), claims=claims)


def _raised(claims: Footprint, formula: Footprint | None) -> Footprint:
    def more(claim: int, by_formula: int | None) -> int:
        raised = int(claim * SHORT_GROWTH)
        return raised if not by_formula else min(raised, max(int(by_formula * SHORT_MAX), claim))

    if formula is None or len(formula.devices) != len(claims.devices):
        return Footprint(more(claims.ram_bytes, None), tuple(more(e, None) for e in claims.devices))
    pairs = zip(claims.devices, formula.devices, strict=True)
    return Footprint(
        more(claims.ram_bytes, formula.ram_bytes), tuple(more(*pair) for pair in pairs)
    )


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
        claimed = fresh.claimed or before.claimed
        worked = fresh.worked or before.worked
        fresh = replace(fresh, taken=taken, worked=worked, claimed=claimed)
    others = [each for each in samples if each.run != fresh.run]
    if len(others) < SAMPLES_KEPT:
        return (*others, fresh)
    leaving = _leaving(others, fresh)
    return tuple(samples) if leaving is None else (*(e for e in others if e is not leaving), fresh)


def _leaving(others: Sequence[Sample], fresh: Sample) -> Sample | None:
    """Which of enough samples makes room; the highest that is believed never does, unless for a
    higher one."""
    highest = max(accepted(others), key=lambda each: each.taken.total)
    rest = [each for each in others if each is not highest]
    idle = next((each for each in rest if not each.worked), None)
    if fresh.worked and idle is not None:
        return idle
    if fresh.taken.total > highest.taken.total * (1 + NOISE_SHARE):
        return rest[0]
    oldest = min(rest, key=lambda each: each.time)
    return oldest if fresh.time - oldest.time > STALE_S else None


@dataclass(frozen=True, slots=True)
class Known:
    """What is known of a shape on one kind of device."""

    samples: Sequence[Sample] = ()
    shortage: Shortage | None = None


def learn(shape: Shape, known: Mapping[str, Known], now: float = 0.0) -> Shape:
    """The shape with what is `known` of it, by kind of device, at `now` (seconds since the epoch).
    Kinds of which nothing is known keep what was predicted."""
    kinds: list[OnKind] = []
    for kind in sorted(known):
        found = correct(shape, known[kind].samples, known[kind].shortage, now)
        if found is not shape:
            kinds.append(OnKind(kind, found.ranks, found.layers, found.confidence))
    return replace(shape, kinds=tuple(kinds)) if kinds else shape


def correct(
    shape: Shape, samples: Sequence[Sample], shortage: Shortage | None = None, now: float = 0.0
) -> Shape:
    """The shape as `samples` of it, all of one kind of device, say. For a while after a shortage it
    claims more, and for a day nothing lowers it. What a user declared stays, and so does a shape of
    which nothing is known."""
    good = [each for each in samples if _is_of(shape, each.taken)]
    if shortage is not None and (
        now - shortage.time > STALE_S or not _is_of(shape, shortage.claims)
    ):
        shortage = None
    if (not good and shortage is None) or shape.confidence == DECLARED:
        return shape
    if shape.layers is not None and not shape.layers.whole:
        pairs = [(e.taken, e.claimed) for e in accepted(good) if e.claimed is not None]
        if shortage is not None and shortage.until > now and shortage.predicted is not None:
            pairs.append((shortage.claims, shortage.predicted))
        return _cut(shape, shape.layers, pairs)
    return _exact(shape, good, shortage, now)


def _is_of(shape: Shape, footprint: Footprint) -> bool:
    """Whether it is of just this shape, as far as its devices tell."""
    devices = len(footprint.devices)
    if shape.layers is None:
        return devices == sum(len(rank.devices) for rank in shape.ranks)
    return devices == 1 if shape.layers.whole else devices > 0


def _exact(shape: Shape, samples: Sequence[Sample], shortage: Shortage | None, now: float) -> Shape:
    """A shape that is always put down the same way: what was taken is what it takes."""
    formula = footprint(shape)
    wanted = _with_margin(samples) if samples else formula
    if len(set(formula.devices)) == 1:
        # Ranks that are alike stay alike, whichever of them took a little more this time.
        wanted = replace(wanted, devices=(max(wanted.devices),) * len(wanted.devices))
    worked = shortage is None and any(sample.worked for sample in samples)
    least = formula if not worked else _least(formula, samples)
    aim = wanted.at_least(least)
    if shortage is not None and shortage.until > now:
        aim = aim.at_least(shortage.claims)
    if shape.device_fraction:
        # It takes its share whatever it needs: what was measured says nothing about the need.
        aim = replace(aim, devices=formula.devices)
    if aim == formula and not worked:
        return shape
    exact = aim.devices == wanted.devices if aim.devices else aim == wanted
    confidence = MEASURED if worked and exact else DERIVED
    if shape.device_fraction:
        confidence = shape.confidence
    if shape.layers is None:
        return replace(shape, ranks=_ranks(shape, formula, aim), confidence=confidence)
    (rank,) = shape.ranks
    return replace(
        shape,
        ranks=(replace(rank, ram=_sized(rank.ram, aim.ram_bytes)),),
        layers=_resized(shape.layers, aim.devices[0]),
        confidence=confidence,
    )


def footprint(shape: Shape) -> Footprint:
    """What a shape needs in all; one that is cut between layers: with all of it on one device."""
    ram = sum(rank.ram.total for rank in shape.ranks)
    if shape.layers is not None:
        return Footprint(ram, (Model(shape.layers).one_device,))
    devices = tuple(parts.total for rank in shape.ranks for parts in rank.devices)
    return Footprint(ram, devices)


def predicted(shape: Shape, placement: Placement) -> Footprint | None:
    """What `shape`, as its backend worked it out, claims where it was placed; None for a model that
    is cut over several workers. Engines that take a share claim that."""
    ranks = placement.ranks
    devices = tuple(claim.memory_bytes for rank in ranks for claim in rank.claims)
    if shape.layers is None:
        plain = footprint(shape)
        return replace(plain, devices=devices) if shape.device_fraction else plain
    if len(ranks) != 1:
        return None
    model = Model(shape.layers)
    runs = model.made([claim.layers for claim in ranks[0].claims])
    held = tuple(parts.total for parts in model.parts(runs).values())
    return Footprint(model.host(shape.ranks[0].ram, runs).total, held)


def _least(formula: Footprint, samples: Sequence[Sample]) -> Footprint:
    """What one run, or two, cannot lower it below: a telemetry that saw half of it would."""
    if sum(sample.worked for sample in samples) >= LOWERS_FREELY:
        return Footprint(0, (0,) * len(formula.devices))
    return Footprint(
        int(formula.ram_bytes * LOWERED_MIN),
        tuple(int(size * LOWERED_MIN) for size in formula.devices),
    )


def _with_margin(samples: Sequence[Sample]) -> Footprint:
    ram, *devices = (_above(values) for values in by_part(samples))
    return Footprint(ram, tuple(devices))


def _above(values: Sequence[int]) -> int:
    """The highest of what is believed, and a margin: the larger, the less they agree."""
    highest = max(values)
    spread = 1 - min(values) / highest if highest else 0.0
    margin = min(MARGINS[min(len(values), len(MARGINS)) - 1] + spread / 2, MARGIN_MAX)
    return highest + int(highest * margin)


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


def _resized(layers: Layers, total: int) -> Layers:
    """Layers that take `total` with all of them on one device. What is less is taken from what is
    known least, the overhead first, the layers themselves last."""
    more = total - Model(layers).one_device
    if more >= 0:
        return replace(layers, overhead=layers.overhead + MemoryParts(runtime=more))
    sized: list[MemoryParts] = []
    for parts in (layers.overhead, layers.overhead_last, *layers.device):
        less = min(parts.total, -more)
        sized.append(_sized(parts, parts.total - less))
        more += less
    return replace(layers, overhead=sized[0], overhead_last=sized[1], device=tuple(sized[2:]))


def _cut(shape: Shape, layers: Layers, pairs: Sequence[tuple[Footprint, Footprint]]) -> Shape:
    """How much lies where is only known once it is cut, so a sample of one cut cannot size another,
    and what is known of all of them together is no measurement of any. If devices took more than
    was claimed, everything on them gets as much more in proportion; the host as many bytes.
    `pairs`: (taken, what the formula alone claims)."""
    shares = (
        taken / claimed - 1
        for each, by_formula in pairs
        for taken, claimed in zip(each.devices, by_formula.devices, strict=False)
        if claimed
    )
    excess = max((0.0, *shares))
    ram = max((0, *(taken.ram_bytes - claimed.ram_bytes for taken, claimed in pairs)))
    if not excess and not ram:
        return shape

    def more(parts: MemoryParts) -> MemoryParts:
        return parts + MemoryParts(runtime=int(parts.total * excess))

    (rank,) = shape.ranks
    return replace(
        shape,
        ranks=(replace(rank, ram=rank.ram + MemoryParts(runtime=ram)),),
        layers=replace(
            layers,
            device=tuple(map(more, layers.device)),
            overhead=more(layers.overhead),
            overhead_last=more(layers.overhead_last),
        ),
        confidence=DERIVED,
    )
