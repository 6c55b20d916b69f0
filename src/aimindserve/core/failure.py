"""Where an instance ran out of memory, so that it is not put there again unchanged; and how often
engines ended by themselves, where and why. Times in seconds since the epoch."""

from dataclasses import dataclass

from aimindserve.core.reason import Reason


@dataclass(frozen=True, slots=True)
class PlaceFailure:
    """A place that was given up for one template of a deployment. Bytes."""

    place: str
    """A device's id, or `<worker>:ram`."""
    template: str
    """Stands for the template that ran there: another one may do better."""
    shape: str
    """The shape that was too large, by its label."""
    need_bytes: int
    """What it claimed there."""
    reason: Reason
    times: int
    """How often it was given up."""
    placement_id: str
    """The last placement that failed there."""
    until: float
    """Till then it is not tried again."""


@dataclass(frozen=True, slots=True)
class Crashes:
    """Engines of a deployment that ended by themselves, in one place and for one reason."""

    worker: str
    devices: tuple[str, ...]
    """Those that the instance had, wherever they are; none for one that ran on processors."""
    reason: Reason
    """The last one, with its proof."""
    times: int
    first_at: float
    last_at: float
    counted: tuple[tuple[str, int], ...] = ()
    """Placement id -> how many of `times` are its own, for placements that are still there."""
