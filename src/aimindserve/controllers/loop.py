"""The framework that runs controllers: one watch, one queue per controller, and a watchdog.

    store ──watch──▶ wakes_on ──▶ queue per controller ──▶ reconcile(key)
    every 10 min ──▶ keys()   ──▶        ▲ Later, or a growing pause after a failure

It knows nothing of what the controllers do. A key that fails pauses alone and is counted; the
others go on. A loop that was itself stalled says so to the controllers before one acts on silence.
"""

import secrets
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol, runtime_checkable

import anyio

from aimindserve.controllers.base import Controller, Done, Wake
from aimindserve.controllers.constants import DEFAULTS, ControllerConstants
from aimindserve.core.errors import ConflictError
from aimindserve.kit.clock import Clock
from aimindserve.kit.log import get_logger
from aimindserve.kit.tasks import TaskSupervisor
from aimindserve.kit.workqueue import QueueStats, WorkQueue
from aimindserve.resources._kind import AnyResource
from aimindserve.store.base import Bookmark, Change, Store

log = get_logger("controllers")

LOUD_AFTER = 3
"""Failures in a row after which a key is logged as an error: one conflict is everyday life."""


@runtime_checkable
class HearsStalls(Protocol):
    """A controller that judges by elapsed time, and must know when nobody listened."""

    def stalled(self, seconds: float) -> None:
        """The event loop did not run for `seconds`."""
        ...


@runtime_checkable
class WakesItself(Protocol):
    """A controller that also hears of things that are no objects of the store."""

    def bind(self, wake: Callable[[str], None]) -> None:
        """`wake(key)` lets a key of it run at once."""
        ...


@dataclass(frozen=True, slots=True)
class FailingKey:
    """A key whose reconcile keeps failing."""

    controller: str
    key: str
    failures: int
    error: str


@dataclass(slots=True)
class _Runner:
    controller: Controller
    queue: WorkQueue
    wakes: Mapping[str, Wake]
    errors: dict[str, str] = field(default_factory=dict[str, str])


class ControllerLoop:
    """Runs controllers until it is cancelled."""

    def __init__(
        self,
        store: Store,
        controllers: Sequence[Controller],
        clock: Clock,
        *,
        constants: ControllerConstants = DEFAULTS,
        jitter: Callable[[], float] | None = None,
    ) -> None:
        """`jitter` gives numbers from 0 to 1 for the pauses of failing keys."""
        self._store = store
        self._clock = clock
        self._constants = constants
        self._tasks = TaskSupervisor(clock)
        chance = jitter or secrets.SystemRandom().random
        self._runners = [
            _Runner(controller, WorkQueue(clock, self._tasks, jitter=chance), controller.wakes_on())
            for controller in controllers
        ]
        for runner in self._runners:
            if isinstance(runner.controller, WakesItself):
                runner.controller.bind(runner.queue.add)
        self._beat = clock.monotonic()
        self._stalls = 0

    async def run(self) -> None:
        """Reconcile everything, then whatever changes. Returns only by cancellation; no task of it
        is left then."""
        self._beat = self._clock.monotonic()
        try:
            self._tasks.keep_running(self._follow, name="controllers.watch")
            self._tasks.keep_running(self._resync, name="controllers.resync")
            self._tasks.keep_running(self._watchdog, name="controllers.watchdog")
            for runner in self._runners:
                for _ in range(self._constants.workers_per_controller):
                    self._tasks.keep_running(
                        lambda runner=runner: self._work(runner),
                        name=f"controllers.{runner.controller.name}",
                    )
            await anyio.sleep_forever()
        finally:
            with anyio.CancelScope(shield=True):
                await self._tasks.aclose()

    def stats(self) -> Mapping[str, QueueStats]:
        """Controller name -> its queue's numbers."""
        return {runner.controller.name: runner.queue.stats() for runner in self._runners}

    def failing(self) -> Sequence[FailingKey]:
        """Keys that fail now, with how often and why: what a person should look at."""
        return [
            FailingKey(runner.controller.name, key, runner.queue.failures(key), error)
            for runner in self._runners
            for key, error in sorted(runner.errors.items())
        ]

    async def _follow(self) -> None:
        kinds = sorted({kind for runner in self._runners for kind in runner.wakes})
        while True:
            # The position is taken before everything is woken, so no change falls in between.
            since = self._store.revision
            self._wake_all()
            async for event in self._store.watch(kinds, since=since):
                if isinstance(event, Change):
                    self._wake(event.resource)
                elif not isinstance(event, Bookmark):
                    log.info("watch.resync", revision=event.revision)
                    break

    def _wake(self, resource: AnyResource) -> None:
        for runner in self._runners:
            wake = runner.wakes.get(resource.kind)
            if wake is not None:
                for key in wake(resource):
                    runner.queue.add(key)

    def _wake_all(self) -> None:
        for runner in self._runners:
            for key in runner.controller.keys():  # noqa: SIM118 - not a mapping
                runner.queue.add(key)

    async def _resync(self) -> None:
        while True:
            await self._clock.sleep(self._constants.resync_s)
            self._wake_all()

    async def _watchdog(self) -> None:
        while True:
            self._check_stall()
            self._beat = self._clock.monotonic()
            await self._clock.sleep(self._constants.watchdog_tick_s)

    def _check_stall(self) -> None:
        late_s = self._clock.monotonic() - self._beat - self._constants.watchdog_tick_s
        if late_s <= self._constants.stalled_after_s:
            return
        self._beat = self._clock.monotonic()
        self._stalls += 1
        log.error("loop.stalled", seconds=round(late_s, 1))
        for runner in self._runners:
            if isinstance(runner.controller, HearsStalls):
                runner.controller.stalled(late_s)

    async def _work(self, runner: _Runner) -> None:
        while True:
            key = await runner.queue.get()
            # After a stall the first reconcile may run before the watchdog's own timer does.
            self._check_stall()
            try:
                await self._reconcile(runner, key)
            finally:
                runner.queue.done(key)
            await self._clock.sleep(0)

    async def _reconcile(self, runner: _Runner, key: str) -> None:
        stalls = self._stalls
        # Supervision point: a key that cannot be reconciled pauses alone, whatever it raised.
        try:
            with anyio.fail_after(self._constants.reconcile_limit_s):
                outcome = await runner.controller.reconcile(key)
        except TimeoutError as error:
            self._check_stall()
            if self._stalls == stalls:
                self._failed(runner, key, error)
            else:  # it was not slow, this process was away
                runner.queue.add(key)
            return
        except Exception as error:  # noqa: BLE001 - see above; reported by _failed
            self._failed(runner, key, error)
            return
        runner.queue.succeeded(key)
        runner.errors.pop(key, None)
        if not isinstance(outcome, Done):
            runner.queue.add_after(key, outcome.after_s)

    def _failed(self, runner: _Runner, key: str, error: Exception) -> None:
        pause_s = runner.queue.retry(key)
        runner.errors[key] = repr(error)
        count = runner.queue.failures(key)
        say = log.debug if isinstance(error, ConflictError) and count < LOUD_AFTER else log.error
        say(
            "reconcile.failed",
            controller=runner.controller.name,
            key=key,
            failures=count,
            pause_s=round(pause_s, 3),
            error=repr(error),
            exc_info=error if count == 1 and not isinstance(error, ConflictError) else None,
        )
