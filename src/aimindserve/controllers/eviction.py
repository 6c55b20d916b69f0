"""Pure: when a silent worker is given up, and when that many losses are somebody else's fault.

Tearing a fleet down because a switch failed is worse than any single lost machine, so:

    nobody in the first two minutes of listening      silence means nothing yet
    nobody while a third of the fleet is vanished     it is the network, or us
    nor in the two minutes after that                 the rest of them are on their way back
    otherwise one worker per ten seconds              a person can still step in

Knows no store; times are monotonic seconds.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from aimindserve.controllers.constants import DEFAULTS, ControllerConstants


@dataclass(frozen=True, slots=True)
class Fleet:
    """What is remembered of the workers that are silent now."""

    constants: ControllerConstants = DEFAULTS
    lost: Mapping[str, float] = field(default_factory=dict[str, float])
    """Silent worker -> when it was found so. Those given up already are not in here."""
    frozen: frozenset[str] = frozenset()
    """Not empty: these vanished together, and nothing is evicted until enough are back."""
    evicted_at: float | None = None
    thawed_at: float | None = None
    """When the last freeze ended: the rest of them are expected back, too."""

    def vanished(self, worker: str, now: float, workers: int) -> "Fleet":
        """`worker` of `workers` is found silent at `now`."""
        if worker in self.lost:
            return self
        lost = {**self.lost, worker: now}
        recent = [name for name, at in lost.items() if now - at <= self.constants.freeze_window_s]
        if self.frozen:
            return replace(self, lost=lost, frozen=self.frozen | {worker})
        frozen = frozenset(recent) if self._is_mass(len(recent), workers) else self.frozen
        return replace(self, lost=lost, frozen=frozen)

    def settled(self, worker: str, now: float, workers: int) -> "Fleet":
        """`worker` reports again, or is gone, or was given up; `workers` there are at `now`."""
        if worker not in self.lost and worker not in self.frozen:
            return self
        lost = {name: at for name, at in self.lost.items() if name != worker}
        still = self.frozen - {worker}
        frozen = still if self._is_mass(len(still), workers) else frozenset[str]()
        thawed = now if self.frozen and not frozen else self.thawed_at
        return replace(self, lost=lost, frozen=frozen, thawed_at=thawed)

    def evicted(self, worker: str, now: float, workers: int) -> "Fleet":
        """`worker` was given up at `now`."""
        return replace(self.settled(worker, now, workers), evicted_at=now)

    def wait_s(self, silence_s: float, listening_s: float, now: float) -> float | None:
        """How long until a worker silent for `silence_s` may be given up: 0 now, None not while the
        freeze lasts."""
        if self.frozen:
            return None
        limits = self.constants
        waits = [
            0.0,
            limits.evict_after_s - silence_s,
            limits.evict_listening_s - listening_s,
        ]
        if self.evicted_at is not None:
            waits.append(self.evicted_at + limits.evict_interval_s - now)
        if self.thawed_at is not None:
            waits.append(self.thawed_at + limits.evict_listening_s - now)
        return max(waits)

    def _is_mass(self, count: int, workers: int) -> bool:
        limits = self.constants
        return count >= limits.freeze_workers_min and count > limits.freeze_share * workers
