"""A queue of keys for reconcilers: each key waits once, runs once at a time, and fails alone.

    add ──▶ waiting ──get──▶ running ──done──▶ gone
             ▲  ▲              │  ╰─ added meanwhile: waits again when done
             │  ╰── due ── delayed ◀─ add_after / retry (growing pause, with jitter)
             ╰──────────────────

Keys are strings; what they mean is the owner's business. Waiting keys are served in the order in
which they came, so that one busy key cannot keep the others from their turn.
"""

import asyncio
import heapq
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from aimindserve.kit.clock import Clock
from aimindserve.kit.log import get_logger
from aimindserve.kit.tasks import TaskSupervisor

log = get_logger("workqueue")

_NEVER = float("inf")


@dataclass(frozen=True, slots=True)
class QueueLimits:
    """How far a queue may grow and how long a failing key pauses. Times in seconds."""

    keys_max: int = 100_000
    """Further keys are dropped and counted: the owner's periodic resync brings them back."""
    delay_min_s: float = 0.001
    """Shorter delays are this long: what is a rounding error short of its time would come back at
    once, for ever, on a clock that stands still meanwhile."""
    backoff_first_s: float = 0.001
    backoff_limit_s: float = 60.0
    woken_pause_s: float = 1.0
    """A failing key that is added during its pause waits this long at most, not for nothing: a
    reconcile that writes and then fails would otherwise wake itself for ever."""


@dataclass(frozen=True, slots=True)
class QueueStats:
    """What a queue holds now, and what it has seen since it was made."""

    depth: int
    """Keys ready to run."""
    delayed: int
    running: int
    failing: int
    """Keys whose last run failed."""
    added: int
    retries: int
    dropped: int


class WorkQueue:
    """Keys, deduplicated, one run at a time each. Use from one event loop only."""

    def __init__(
        self,
        clock: Clock,
        tasks: TaskSupervisor,
        *,
        jitter: Callable[[], float],
        limits: QueueLimits | None = None,
    ) -> None:
        """`jitter` gives numbers from 0 to 1; `tasks` runs the one timer of the delayed keys."""
        self._clock = clock
        self._tasks = tasks
        self._jitter = jitter
        self._limits = limits or QueueLimits()
        self._waiting: deque[str] = deque()
        self._queued: set[str] = set()
        self._running: set[str] = set()
        self._again: set[str] = set()
        self._due: dict[str, tuple[float, int]] = {}
        self._heap: list[tuple[float, int, str]] = []
        self._sequence = 0
        self._failures: dict[str, int] = {}
        self._filled = asyncio.Event()
        self._timer: asyncio.Task[None] | None = None
        self._timer_due = _NEVER
        self._added = self._retries = self._dropped = 0

    def add(self, key: str) -> None:
        """Let `key` run as soon as its turn comes; a failing one after a short pause."""
        if key in self._queued or key in self._again:
            return
        if key in self._running:
            self._again.add(key)
        elif key in self._failures and key in self._due:
            self.add_after(key, self._limits.woken_pause_s)
        else:
            self._enqueue(key)

    def _enqueue(self, key: str) -> None:
        if len(self._queued) >= self._limits.keys_max:
            self._drop(key)
            return
        self._due.pop(key, None)
        self._added += 1
        self._queued.add(key)
        self._waiting.append(key)
        self._filled.set()

    def add_after(self, key: str, delay_s: float) -> None:
        """Let `key` run in `delay_s` seconds, or earlier if something else asks for that."""
        if delay_s <= 0:
            self.add(key)
            return
        due = self._clock.monotonic() + max(delay_s, self._limits.delay_min_s)
        if key in self._queued or self._due.get(key, (_NEVER, 0))[0] <= due:
            return
        if key not in self._due and len(self._due) >= self._limits.keys_max:
            self._drop(key)
            return
        self._sequence += 1
        self._due[key] = (due, self._sequence)
        heapq.heappush(self._heap, (due, self._sequence, key))
        self._compact()
        self._arm()

    def retry(self, key: str) -> float:
        """`key` failed: let it run again after a pause that doubles with each failure, and return
        that pause."""
        count = self._failures.get(key, 0)
        self._failures[key] = count + 1
        self._retries += 1
        limits = self._limits
        ceiling_s = min(limits.backoff_first_s * 2.0 ** min(count, 40), limits.backoff_limit_s)
        pause_s = ceiling_s * (0.5 + 0.5 * self._jitter())
        self.add_after(key, pause_s)
        return pause_s

    def succeeded(self, key: str) -> None:
        """`key` went well: its next failure starts with the shortest pause again."""
        self._failures.pop(key, None)

    async def get(self) -> str:
        """The next key; it counts as running until `done`. Waits while there is none."""
        while not self._waiting:
            self._filled.clear()
            await self._filled.wait()
        key = self._waiting.popleft()
        self._queued.discard(key)
        self._running.add(key)
        return key

    def done(self, key: str) -> None:
        """The run of `key` has ended; it waits again if it was added meanwhile."""
        self._running.discard(key)
        if key in self._again:
            self._again.discard(key)
            self.add(key)

    def failures(self, key: str) -> int:
        """How often `key` failed in a row."""
        return self._failures.get(key, 0)

    def stats(self) -> QueueStats:
        """Numbers for metrics and for people."""
        return QueueStats(
            depth=len(self._waiting),
            delayed=len(self._due),
            running=len(self._running),
            failing=len(self._failures),
            added=self._added,
            retries=self._retries,
            dropped=self._dropped,
        )

    def _compact(self) -> None:
        """Drop entries whose key has run or got another time since; they would pile up."""
        if len(self._heap) > 2 * len(self._due) + 64:
            self._heap = [entry for entry in self._heap if self._due.get(entry[2]) == entry[:2]]
            heapq.heapify(self._heap)

    def _arm(self) -> None:
        if not self._heap or self._heap[0][0] >= self._timer_due:
            return
        if self._timer is not None:
            self._timer.cancel()
        self._timer_due = self._heap[0][0]
        self._timer = self._tasks.spawn(self._alarm(self._timer_due), name="workqueue.timer")

    async def _alarm(self, due: float) -> None:
        await self._clock.sleep(due - self._clock.monotonic())
        self._timer = None
        self._timer_due = _NEVER
        now = self._clock.monotonic()
        while self._heap and self._heap[0][0] <= now:
            moment, number, key = heapq.heappop(self._heap)
            if self._due.get(key) == (moment, number):
                del self._due[key]
                self.add(key)
        self._arm()

    def _drop(self, key: str) -> None:
        self._dropped += 1
        log.warning("queue.full", key=key, limit=self._limits.keys_max)
