"""What an engine really took, once: the samples that estimates are corrected by. Pure values."""

from collections.abc import Sequence
from dataclasses import dataclass

OUTLIER_MIN = 3
"""Of fewer samples nobody can say which one is odd."""
OUTLIER_FACTOR = 1.5
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


def accepted(samples: Sequence[Sample]) -> tuple[Sample, ...]:
    """`samples` without the odd ones: far above all others and confirmed by none. One that is far
    below does no harm: what counts is the highest."""
    if len(samples) < OUTLIER_MIN:
        return tuple(samples)
    return tuple(each for each in samples if not _is_odd(each, samples))


def peak(samples: Sequence[Sample]) -> Footprint | None:
    """The highest of the samples, part by part; None without any."""
    highest: Footprint | None = None
    for sample in samples:
        highest = sample.taken if highest is None else sample.taken.at_least(highest)
    return highest


def _is_odd(sample: Sample, samples: Sequence[Sample]) -> bool:
    size = sample.taken.total
    others = sorted(each.taken.total for each in samples if each is not sample)
    usual = others[len(others) // 2]
    confirmed = any(abs(other - size) <= CONFIRMED_SHARE * size for other in others)
    return size > OUTLIER_FACTOR * usual and not confirmed
