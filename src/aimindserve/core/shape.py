"""The hinge between backends and scheduler: one way an instance could run, in devices and bytes.

A backend turns a model into shapes, best first; the scheduler packs shapes and knows nothing else.
"""

from dataclasses import dataclass

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
    devices_max: int = 1
    """Most devices, those of other workers included."""
    remote_max: int = 0
    """Most devices of other workers, each behind a process (a rank) of its own there."""
    remote_ram: MemoryParts = NO_MEMORY
    """What such a process takes of its host's memory."""


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
    """Where its bytes come from: `rough`, `high`, `declared`, `measured`."""
