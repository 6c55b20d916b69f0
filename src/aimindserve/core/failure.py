"""Where an instance ran out of memory, so that it is not put there again unchanged."""

from dataclasses import dataclass

from aimindserve.core.reason import Reason


@dataclass(frozen=True, slots=True)
class PlaceFailure:
    """A place that was given up for one template of a deployment. Bytes; times in seconds since the
    epoch."""

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
