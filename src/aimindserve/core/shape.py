"""The hinge between backends and scheduler: one way an instance could run, in devices and bytes.

A backend turns a model into shapes, best first; the scheduler packs shapes and knows nothing else.
"""

from dataclasses import dataclass

from aimindserve.core.device import Need


@dataclass(frozen=True, slots=True)
class Requirement:
    """What a machine or device must be for a shape to run there. Empty means any."""

    os: tuple[str, ...] = ()
    arch: tuple[str, ...] = ()
    device_types: tuple[str, ...] = ()
    compute_capability_min: str | None = None


ANYWHERE = Requirement()


@dataclass(frozen=True, slots=True)
class Shape:
    """One way to run an instance.

    `ranks` has one Need per process; a Need with device memory takes one device, one without runs
    on the host's processors. All ranks run on one worker unless `workers_max` is above one.
    """

    label: str
    """For people: `cpu`, `1 device`, `2 devices, tensor parallel`."""
    ranks: tuple[Need, ...]
    requirement: Requirement = ANYWHERE
    workers_max: int = 1
    device_fraction: float = 0.0
    """For engines that take a share of a device whatever they need: claim the larger of the two."""
    parameters: tuple[str, ...] = ()
    """Backend parameters this shape implies, for example `--tensor-parallel-size 2`."""
