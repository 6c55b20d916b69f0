"""Leases: a worker's promise of life, in memory, on this server's monotonic clock.

Heartbeats never write to the database. After a start nobody's silence means anything yet, so the
table says for how long it has been listening; whoever acts on silence asks for that too. With each
lease it keeps the report that renewed it: numbers that always move live here and in no store.
"""

from collections.abc import Callable

from aimindserve.core.report import Report
from aimindserve.kit.clock import Clock

Listener = Callable[[str, Report], None]
"""Told the worker and its newest report, at once; must be quick and must not raise."""


class Leases:
    """When each worker was last heard. Not persistent on purpose."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._heard: dict[str, float] = {}
        self._reports: dict[str, Report] = {}
        self._acted_on: dict[str, int] = {}
        self._listening_since = clock.monotonic()
        self._listeners: list[Listener] = []

    def renew(self, worker: str, report: Report | None = None) -> None:
        """`worker` was heard now, and this is what it said."""
        self._heard[worker] = self._clock.monotonic()
        if report is not None:
            self._reports[worker] = report
            self._acted_on[worker] = max(self.acted_on(worker), report.desired_revision)
            for listener in list(self._listeners):
                listener(worker, report)

    def listen(self, listener: Listener) -> Callable[[], None]:
        """Tell `listener` of every report from now on; returns what ends it."""
        self._listeners.append(listener)
        return lambda: self._listeners.remove(listener)

    def report(self, worker: str) -> Report | None:
        """The newest report of `worker` since this table began; None before the first."""
        return self._reports.get(worker)

    def acted_on(self, worker: str) -> int:
        """The newest desired set that `worker` has acted on, by revision; 0 before the first report
        since this table began."""
        return self._acted_on.get(worker, 0)

    def forget(self, worker: str) -> None:
        """`worker` has been removed."""
        self._heard.pop(worker, None)
        self._reports.pop(worker, None)
        self._acted_on.pop(worker, None)

    def silence_s(self, worker: str) -> float:
        """Seconds since `worker` was heard, or since this table began to listen."""
        heard = self._heard.get(worker, self._listening_since)
        return self._clock.monotonic() - heard

    def heard(self, worker: str) -> bool:
        """Whether `worker` has been heard at all since this table began to listen."""
        return worker in self._heard

    @property
    def listening_s(self) -> float:
        """For how long this table has been listening."""
        return self._clock.monotonic() - self._listening_since

    def restart_grace(self) -> None:
        """Begin to listen anew: this process was stalled, so silence meant nothing."""
        now = self._clock.monotonic()
        self._listening_since = now
        for worker in self._heard:
            self._heard[worker] = now
