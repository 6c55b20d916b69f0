"""The hinge between backends and scheduler: one way an instance could run, in devices and bytes.

A backend turns a model into shapes, best first; the scheduler packs shapes and knows nothing else.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace

from aimindserve.core.device import NO_MEMORY, MemoryParts, Need


@dataclass(frozen=True, slots=True)
class Requirement:
    """What a machine or device must be for a shape to run there. Empty means any."""

    os: tuple[str, ...] = ()
    arch: tuple[str, ...] = ()
    device_types: tuple[str, ...] = ()
    compute_capability_min: str | None = None
    driver_min: str | None = None
    device_addresses: bool = False
    """Every device must have an address of its own on the accelerators' network."""
    installation: str = ""
    """What must be installed on the worker, by the name under which workers report it; empty when
    the engine comes with this program."""


ANYWHERE = Requirement()

ROUGH = "rough"
"""From file sizes and rules of thumb."""
ESTIMATED = "high"
"""From what the engine is known to allocate."""
DECLARED = "declared"
"""The user said so."""
MEASURED = "measured"
"""Engines really took that."""
DERIVED = "derived"
"""Worked out as otherwise, then raised by what engines took that did not run quite like this: cut
elsewhere, on devices of other kinds as well, or without answering a request so far."""
_BY_TRUST = (ROUGH, ESTIMATED, DECLARED, DERIVED, MEASURED)


@dataclass(frozen=True, slots=True)
class Layers:
    """A model that can be cut between its layers: the scheduler decides how many go on which
    device, and writes the number into each claim.

    Layers leave the host from the last one backwards, the output before all of them; what is on
    devices lies there in the model's order, the first run on the first device.
    """

    device: tuple[MemoryParts, ...]
    """What each layer takes on a device, in the model's order; the last entry is the output."""
    host: tuple[MemoryParts, ...]
    """What each of them takes of the host's memory while it is not on a device."""
    overhead: MemoryParts = NO_MEMORY
    """What every device takes that holds any: runtime, compute buffer."""
    overhead_last: MemoryParts = NO_MEMORY
    """What the last of the devices takes in addition."""
    least: int = 1
    """Fewest entries of `device` that must be on devices; all of them for no partial offload."""
    most: int = 0
    """Most entries of `device` that may be on devices; zero: all of them."""
    devices_max: int = 1
    """Most devices, those of other workers included."""
    remote_max: int = 0
    """Most devices of other workers, each behind a process (a rank) of its own there."""
    remote_ram: MemoryParts = NO_MEMORY
    """What such a process takes of its host's memory."""

    @property
    def whole(self) -> bool:
        """Whether every cut is the same: all of it on one device."""
        return self.devices_max == 1 and self.least >= len(self.device)

    @property
    def one_device_bytes(self) -> int:
        """What a device takes that holds all of it."""
        parts = (*self.device, self.overhead, self.overhead_last)
        return sum(each.total for each in parts)


@dataclass(frozen=True, slots=True)
class OnKind:
    """What a shape needs on devices of one kind."""

    kind: str
    """A device's name, or that of the processor for shapes that take no device; several in one
    instance: their names, sorted, with commas between."""
    ranks: tuple[Need, ...]
    layers: Layers | None = None
    confidence: str = MEASURED


@dataclass(frozen=True, slots=True)
class Shape:
    """One way to run an instance.

    `ranks` has one Need per process; a Need with device memory takes as many devices as it has
    entries for, one without runs on the host's processors. All ranks run on one worker unless
    `across` is set. With `layers`, the only rank given is that of the main process, with the host
    memory that it needs in any case; its devices, and further ranks, follow from the cut.
    """

    label: str
    """For people: `cpu`, `1 device`, `2 devices, tensor parallel`."""
    ranks: tuple[Need, ...]
    requirement: Requirement = ANYWHERE
    layers: Layers | None = None
    across: bool = False
    """Each rank runs on a worker of its own."""
    whole_workers: bool = False
    """Each rank takes every device of its worker: only workers with exactly that many will do."""
    device_fraction: float = 0.0
    """For engines that take a share of a device whatever they need: claim the larger of the two."""
    parameters: tuple[str, ...] = ()
    """Backend parameters this shape implies, for example `--tensor-parallel-size 2`."""
    confidence: str = ESTIMATED
    """Where its bytes come from: `rough`, `high`, `declared`, `derived`, `measured`."""
    kinds: tuple[OnKind, ...] = ()
    """Kinds of device on which it needs something else, since engines were measured there; `ranks`,
    `layers` and `confidence` are about all others."""

    @property
    def takes_devices(self) -> bool:
        """Whether any of it runs on devices."""
        return self.layers is not None or any(rank.devices for rank in self.ranks)

    def on(self, kind: str) -> "Shape":
        """The shape as it is on devices of `kind`, and nowhere else."""
        if not self.kinds:
            return self
        found = next((each for each in self.kinds if each.kind == kind), None)
        if found is None:
            return replace(self, kinds=())
        return replace(
            self,
            ranks=found.ranks,
            layers=found.layers,
            confidence=found.confidence,
            kinds=(),
        )

    def over(self, kinds: Collection[str]) -> "Shape":
        """The shape on devices of several kinds at once, whichever rank gets which: as such a mix
        was measured, else of everything the most that it needs on any of them."""
        if not self.kinds or len(kinds) < 2:
            return self.on(next(iter(kinds), ""))
        together = kind_of(kinds)
        if any(each.kind == together for each in self.kinds):
            return _alike(self.on(together))
        found = [self.on(kind) for kind in sorted(kinds)]
        if all(each == found[0] for each in found):
            return found[0]
        layers = [each.layers for each in found if each.layers is not None]
        return replace(
            found[0],
            ranks=tuple(
                Need(
                    tuple(_most(same) for same in zip(*(e.devices for e in ranks), strict=True)),
                    _most([each.ram for each in ranks]),
                )
                for ranks in zip(*(each.ranks for each in found), strict=True)
            ),
            layers=_most_layers(layers) if layers else None,
            confidence=least_trusted([DERIVED, *(each.confidence for each in found)]),
        )


def kind_of(names: Collection[str]) -> str:
    """One word for the kinds of device of one instance."""
    return ", ".join(sorted(set(names)))


def least_trusted(confidences: Collection[str]) -> str:
    """What can be said of numbers that come from all of these."""
    return min(confidences, key=_BY_TRUST.index)


def _alike(shape: Shape) -> Shape:
    """What the largest of its devices takes, on each: who knows which one that will be."""
    held = [parts for rank in shape.ranks for parts in rank.devices]
    if not held:
        return shape
    most = _most(held)
    return replace(
        shape,
        ranks=tuple(replace(rank, devices=(most,) * len(rank.devices)) for rank in shape.ranks),
    )


def _most(parts: Sequence[MemoryParts]) -> MemoryParts:
    return max(parts, key=lambda each: each.total)


def _most_layers(layers: Sequence[Layers]) -> Layers:
    return replace(
        layers[0],
        device=tuple(_most(same) for same in zip(*(e.device for e in layers), strict=True)),
        overhead=_most([each.overhead for each in layers]),
        overhead_last=_most([each.overhead_last for each in layers]),
    )
