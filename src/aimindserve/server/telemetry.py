"""What workers measured last, in memory only: numbers that change every few seconds.

The store keeps what a worker *is*; this keeps how busy it is. Lost at a restart, back with the next
report.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from aimindserve.core.device import Usage
from aimindserve.core.report import InstanceObservation, Report


@dataclass(frozen=True, slots=True)
class Reading:
    """The newest numbers of one worker."""

    usage: Usage
    instances: Mapping[str, InstanceObservation] = field(
        default_factory=dict[str, InstanceObservation]
    )


class Telemetry:
    """The newest reading of each worker."""

    def __init__(self) -> None:
        self._readings: dict[str, Reading] = {}

    def put(self, worker: str, report: Report) -> None:
        """Remember the numbers of `report`."""
        self._readings[worker] = Reading(report.worker.usage, dict(report.instances))

    def usage(self, worker: str) -> Usage | None:
        """How busy `worker` is; None if it has not reported since this server started."""
        reading = self._readings.get(worker)
        return None if reading is None else reading.usage

    def instance(self, worker: str, instance: str) -> InstanceObservation | None:
        """What `worker` said last of `instance`, if anything."""
        reading = self._readings.get(worker)
        return None if reading is None else reading.instances.get(instance)

    def forget(self, worker: str) -> None:
        """`worker` was removed."""
        self._readings.pop(worker, None)
