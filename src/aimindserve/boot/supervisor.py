"""`aimindserve start` itself: starts the children, restarts what dies, stops everything in order.

Small on purpose: it imports no asyncio, no web framework and no logging library, so it costs little
memory and has little that can break. Children say when they are ready; their output goes to files,
and what matters of it to the terminal.
"""

import contextlib
import queue
import signal
import threading
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Protocol

from aimindserve.boot.log_file import LogFile
from aimindserve.boot.order import Order
from aimindserve.boot.process import Command, Ended, Event, Process, Said, Started
from aimindserve.boot.told import how_ended, told

RESTART_FIRST_S = 0.1
RESTART_LIMIT_S = 10.0
STABLE_S = 30.0
"""A child that lived this long is started again at once when it dies."""
LOUD_LIVES = 3
"""What a child says before it is ready is shown for so many lives; its log has all of it."""
HURRY_S = 3.0
"""How long everything may take together after a second Ctrl-C."""
KILLED_S = 2.0
"""How long a killed process may take to be gone."""
TICK_S = 1.0
"""Waiting longer would keep Windows from handling Ctrl-C."""
EXIT_SETTINGS = 2
EXIT_REFUSED = 3
"""A child's way to say that it cannot work here, and that trying again would not help."""


class Timer(Protocol):
    """What the supervisor needs of a clock."""

    def monotonic(self) -> float:
        """Seconds that never go back."""
        ...


@dataclass(frozen=True, slots=True)
class Role:
    """A child that there must be, and its place in the order of stopping."""

    command: Command
    log_path: Path
    stop_stage: int
    """Lower stages stop first."""
    stop_limit_s: float
    """How long it may take to end before it is killed."""
    warning: Order | None = None
    """An order it gets as soon as the first stage begins to stop."""

    @property
    def name(self) -> str:
        """What people call it."""
        return self.command.name


@dataclass(slots=True)
class Seat:
    """A role with the process that fills it, if one lives."""

    role: Role
    log: LogFile
    process: Process | None = None
    lives: int = 0
    began: float = 0.0
    pause_s: float = RESTART_FIRST_S
    due: float | None = None
    """When it is started again."""
    ready: bool = False


@dataclass(frozen=True, slots=True)
class Signalled:
    """The system, or a person, asked the supervisor to end."""

    number: int


class Supervisor:
    """Keeps a set of roles alive until told to stop. `tell` shows a line to people.

    `on_ready` runs in a thread of its own, once; `on_stop` must return at once.
    """

    def __init__(
        self,
        roles: Sequence[Role],
        clock: Timer,
        tell: Callable[[str], None],
        *,
        debug: bool = False,
        on_ready: Callable[[], None] | None = None,
        on_stop: Callable[[], None] | None = None,
    ) -> None:
        self._seats = {role.name: Seat(role, LogFile(role.log_path)) for role in roles}
        self._clock = clock
        self._tell = tell
        self._debug = debug
        self._least = "debug" if debug else "warning"
        self._on_ready = on_ready
        self._on_stop = on_stop
        # A SimpleQueue may be used in signal handlers.
        self._events: queue.SimpleQueue[Event | Signalled] = queue.SimpleQueue()
        self._hurry: float | None = None
        """When everything must have ended, once somebody is in a hurry."""

    def run(self) -> int:
        """Until a signal, or a child that says it can never work here; returns the exit code."""
        with _signals(lambda number: self._events.put(Signalled(number))):
            try:
                for seat in self._seats.values():
                    self._start(seat)
                return self._watch()
            finally:
                self._stop_all()

    def stop(self) -> None:
        """End in order, as a signal would; for other threads."""
        self._events.put(Signalled(signal.SIGTERM))

    def _watch(self) -> int:
        while True:
            event = self._next(self._until_due())
            if isinstance(event, Signalled):
                self._tell("stopping; once more stops at once")
                return 0
            if isinstance(event, Started):
                self._started(event)
            elif isinstance(event, Said):
                self._relay(event)
            elif isinstance(event, Ended):
                final = self._ended(event)
                if final is not None:
                    return final
            self._start_due()

    def _until_due(self) -> float:
        now = self._clock.monotonic()
        return min((seat.due - now for seat in self._seats.values() if seat.due), default=TICK_S)

    def _next(self, wait_s: float) -> Event | Signalled | None:
        try:
            return self._events.get(timeout=min(TICK_S, max(0.0, wait_s)))
        except queue.Empty:
            return None

    def _start(self, seat: Seat) -> None:
        seat.lives += 1
        seat.began = self._clock.monotonic()
        seat.due = None
        seat.process = Process(seat.role.command, seat.lives, seat.log, self._events.put)

    def _start_due(self) -> None:
        now = self._clock.monotonic()
        for seat in self._seats.values():
            if seat.due is not None and seat.due <= now:
                self._start(seat)

    def _started(self, event: Started) -> None:
        seat = self._seats[event.name]
        if seat.lives != event.life:
            return
        seat.ready = True
        self._tell(f"{event.name} is ready after {self._clock.monotonic() - seat.began:.1f} s")
        if self._on_ready is not None and all(each.ready for each in self._seats.values()):
            on_ready, self._on_ready = self._on_ready, None
            threading.Thread(target=on_ready, name="on-ready", daemon=True).start()

    def _ended(self, event: Ended) -> int | None:
        """Plan the restart of a child that died; the exit code when there is no point in one."""
        seat = self._seats[event.name]
        if seat.lives != event.life:
            return None
        seat.process, seat.ready = None, False
        if event.code in (EXIT_SETTINGS, EXIT_REFUSED):
            return EXIT_SETTINGS if event.code == EXIT_SETTINGS else 1
        now = self._clock.monotonic()
        if now - seat.began >= STABLE_S:
            seat.pause_s = RESTART_FIRST_S
        self._tell(
            f"{event.name} ended ({how_ended(event.code)}) and starts again in {seat.pause_s:g} s;"
            f" its log: {seat.role.log_path}"
        )
        seat.due = now + seat.pause_s
        seat.pause_s = min(seat.pause_s * 2, RESTART_LIMIT_S)
        return None

    def _stop_all(self) -> None:
        if not self._debug:
            # While parts go away in order, the others miss them and say so: that is no news.
            self._least = "error"
        if self._on_stop is not None:
            self._on_stop()
        for seat in self._seats.values():
            if seat.process is not None and seat.role.warning is not None:
                seat.process.order(seat.role.warning)
        for stage in sorted({seat.role.stop_stage for seat in self._seats.values()}):
            self._stop_stage([s for s in self._seats.values() if s.role.stop_stage == stage])
        for seat in self._seats.values():
            seat.log.close()

    def _stop_stage(self, seats: Sequence[Seat]) -> None:
        self._order(seats)
        began = self._clock.monotonic()
        while self._alive(seats):
            limit_s = max(seat.role.stop_limit_s for seat in self._alive(seats))
            until = began + limit_s if self._hurry is None else min(began + limit_s, self._hurry)
            left_s = until - self._clock.monotonic()
            if left_s <= 0:
                _kill(self._alive(seats), self._tell)
                break
            self._stopping(self._next(left_s))
        gone_by = self._clock.monotonic() + KILLED_S
        while self._alive(seats) and self._clock.monotonic() < gone_by:
            self._stopping(self._next(TICK_S))

    def _alive(self, seats: Sequence[Seat]) -> list[Seat]:
        return [seat for seat in seats if seat.process is not None]

    def _stopping(self, event: Event | Signalled | None) -> None:
        if isinstance(event, Signalled):
            if self._hurry is None:
                self._tell("stopping at once")
                self._hurry = self._clock.monotonic() + HURRY_S
                self._order(list(self._seats.values()))
        elif isinstance(event, Said):
            self._relay(event)
        elif isinstance(event, Ended):
            seat = self._seats[event.name]
            if seat.lives == event.life:
                seat.process = None

    def _order(self, seats: Sequence[Seat]) -> None:
        for seat in seats:
            if seat.process is not None:
                seat.process.order(Order.STOP if self._hurry is None else Order.STOP_NOW)

    def _relay(self, event: Said) -> None:
        seat = self._seats[event.name]
        # One that fails again and again would bury everything else on the terminal.
        quiet = not seat.ready and seat.lives > LOUD_LIVES and not self._debug
        text = "" if quiet else told(event.line, self._least)
        if text:
            self._tell(f"{event.name}: {text}")


def _kill(seats: Sequence[Seat], tell: Callable[[str], None]) -> None:
    for seat in seats:
        if seat.process is not None:
            tell(f"{seat.role.name} did not end in time and is killed")
            seat.process.kill()


@contextlib.contextmanager
def _signals(handle: Callable[[int], None]) -> Generator[None]:
    """Hand the signals that ask for an end to `handle` while inside."""

    def handler(number: int, _frame: FrameType | None) -> None:
        handle(number)

    names = ("SIGINT", "SIGTERM", "SIGHUP", "SIGBREAK")
    numbers = [getattr(signal, name) for name in names if hasattr(signal, name)]
    before = [(number, signal.signal(number, handler)) for number in numbers]
    try:
        yield
    finally:
        for number, old in before:
            signal.signal(number, old)
