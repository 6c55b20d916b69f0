"""What a look at a run brings, and what of it changes what is written of its kind. Pure."""

from dataclasses import dataclass
from typing import Any

from aimindserve.core.measurement import Sample, Speed, Start, keep_speed
from aimindserve.resources.estimate import EstimateStatus
from aimindserve.scheduler.estimates import keep

STARTS_KEPT = 8


@dataclass(frozen=True, slots=True)
class News:
    """What was seen of a run."""

    sample: Sample | None
    start: Start | None
    speed: Speed | None

    def of(self, before: EstimateStatus) -> dict[str, Any]:
        """What it changes of what was known `before`; nothing, mostly."""
        changes: dict[str, Any] = {}
        if self.start is not None:
            changes["starts"] = (*before.starts, self.start)[-STARTS_KEPT:]
        if self.speed is not None:
            speeds = keep_speed(before.speeds, self.speed)
            if speeds != before.speeds:
                changes["speeds"] = speeds
        if self.sample is not None:
            samples = keep(before.samples, self.sample)
            if samples != before.samples:
                predicted = self.sample.claimed or before.predicted
                changes |= {"samples": samples, "predicted": predicted}
        return changes
