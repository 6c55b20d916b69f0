"""What an engine really took, once: the samples that estimates are corrected by. Pure values."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

OUTLIER_MIN = 3
"""Of fewer samples nobody can say which one is odd."""
OUTLIER_FACTOR = 1.5
OUTLIER_BYTES = 256 * 1024**2
"""What is less than this above the others is not odd, whatever its share: it does no harm."""
SPEED_TOKENS_MIN = 64
"""Fewer tell more of the moment than of the engine."""
SPEEDS_KEPT = 8
CONFIRMED_SHARE = 0.1
"""Two samples this close to each other are no accident."""


@dataclass(frozen=True, slots=True)
class Footprint:
    """Memory of one instance, all its processes together. Bytes."""

    ram_bytes: int = 0
    devices: tuple[int, ...] = ()
    """One for each device it has, in the order of its ranks."""

    @property
    def total(self) -> int:
        """All of it."""
        return self.ram_bytes + sum(self.devices)

    def at_least(self, other: "Footprint") -> "Footprint":
        """The larger of both, part by part; of two that are cut differently the one that is larger
        in all."""
        if len(self.devices) != len(other.devices):
            return max(self, other, key=lambda each: each.total)
        pairs = zip(self.devices, other.devices, strict=True)
        return Footprint(max(self.ram_bytes, other.ram_bytes), tuple(max(pair) for pair in pairs))


@dataclass(frozen=True, slots=True)
class Sample:
    """The most that one run of an engine was seen to take."""

    run: str
    """`<placement id>/<number>`: a run has one sample, which may still grow."""
    worker: str
    time: float
    """Of the last change, in seconds since the epoch."""
    taken: Footprint
    worked: bool = False
    """It has answered requests, so that what it allocates late is in it."""
    claimed: Footprint | None = None
    """What the backend's formula alone claims in the same place; None when that is not known."""


@dataclass(frozen=True, slots=True)
class Shortage:
    """Runs that ran out of memory: what they claimed was too little, if nobody else took it."""

    placement_id: str
    """The last that did."""
    time: float
    """When, in seconds since the epoch."""
    until: float
    """Till then the next one claims more."""
    times: int
    """How often within a day."""
    claims: Footprint
    """What the next one claims at least; nothing where memory was not short."""
    predicted: Footprint | None = None
    """What the backend's formula alone claims in the same place; None when that is not known."""


@dataclass(frozen=True, slots=True)
class Start:
    """An engine that answered at the first try."""

    placement_id: str
    time: float
    """In seconds since the epoch."""
    seconds: float
    """From its placement till it answered, the model's files being there."""


@dataclass(frozen=True, slots=True)
class Speed:
    """What one run of an engine has generated, as it counts itself."""

    run: str
    """As in `Sample`."""
    worker: str
    time: float
    """Of the last change, in seconds since the epoch."""
    tokens: int
    """Generated tokens, but for the first of each answer, which belongs to the prompt."""
    seconds: float
    """Spent on them, those of requests that were answered side by side added up."""


def tokens_s(speeds: Iterable[Speed]) -> float | None:
    """What one request gets in a second, with as many beside it as there were; prompts are not in
    it. All tokens divided by all seconds; None where too few were generated to tell."""
    known = list(speeds)
    tokens, seconds = sum(each.tokens for each in known), sum(each.seconds for each in known)
    return tokens / seconds if tokens >= SPEED_TOKENS_MIN and seconds > 0 else None


def keep_speed(speeds: Sequence[Speed], fresh: Speed) -> tuple[Speed, ...]:
    """`speeds` of the last runs with `fresh`, which takes the place of an earlier one of its run.
    The very same when there is no news in it: a run is news when it has generated enough to tell,
    and again whenever that has doubled, so that a busy engine causes a write less and less often.
    """
    before = next((each for each in speeds if each.run == fresh.run), None)
    least = SPEED_TOKENS_MIN if before is None else 2 * before.tokens
    if fresh.tokens < least or fresh.seconds <= 0:
        return tuple(speeds)
    others = (each for each in speeds if each is not before)
    return (*others, fresh)[-SPEEDS_KEPT:]


def believed(values: Sequence[int], formula: int | None = None) -> tuple[int, ...]:
    """`values` of one kind of memory without the odd ones: what lies more than half as much again
    above the median of all others, and is confirmed by none of them, to a tenth. What the `formula`
    says is one of the others. Of fewer than three in all nobody can say which one is odd. What is
    far below does no harm: what counts is the highest. Never empty unless `values` are."""
    return tuple(
        value
        for place, value in enumerate(values)
        if not _is_odd(value, (*values[:place], *values[place + 1 :]), formula)
    )


def accepted(samples: Sequence[Sample]) -> tuple[Sample, ...]:
    """`samples` without those that are odd altogether."""
    totals = [sample.taken.total for sample in samples]
    return tuple(
        sample
        for place, sample in enumerate(samples)
        if not _is_odd(totals[place], (*totals[:place], *totals[place + 1 :]), None)
    )


def peak(samples: Sequence[Sample]) -> Footprint | None:
    """The highest that is believed of each kind of memory; None without samples. Of models that are
    cut differently it is one of the samples: the largest that is not odd."""
    if not samples:
        return None
    if len({len(sample.taken.devices) for sample in samples}) > 1:
        return max((each.taken for each in accepted(samples)), key=lambda taken: taken.total)
    parts = [max(values) for values in by_part(samples)]
    return Footprint(parts[0], tuple(parts[1:]))


def by_part(samples: Sequence[Sample]) -> Sequence[tuple[int, ...]]:
    """What is believed of the RAM, then of each device, of samples with equally many devices."""
    formula = next((each.claimed for each in reversed(samples) if each.claimed is not None), None)
    predicted = _parts(formula) if formula is not None else ()
    taken = [_parts(sample.taken) for sample in samples]
    same = len(predicted) == len(taken[0])
    return [
        believed(values, predicted[place] if same else None)
        for place, values in enumerate(zip(*taken, strict=True))
    ]


def _parts(footprint: Footprint) -> tuple[int, ...]:
    return (footprint.ram_bytes, *footprint.devices)


def _is_odd(size: int, others: Sequence[int], formula: int | None) -> bool:
    known = sorted(others if formula is None else (*others, formula))
    if len(known) < OUTLIER_MIN - 1:
        return False
    usual = known[len(known) // 2]
    confirmed = any(abs(other - size) <= CONFIRMED_SHARE * size for other in known)
    above = size > OUTLIER_FACTOR * usual and size - usual > OUTLIER_BYTES
    return above and not confirmed
