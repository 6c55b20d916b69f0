"""An event loop on virtual time: when nobody has anything to do, it is already later.

    run(main) ──▶ ready callbacks in order ──▶ none left: the clock jumps to the next timer ──▶ …

One thread, no sockets, no wall clock: the same program gives the same run, and hours pass in
seconds. What would wait for the real world is refused instead of making a run depend on it.
"""

import asyncio
import math
from collections.abc import Coroutine
from typing import Any, NoReturn, TypeVar

T = TypeVar("T")


class DeadlockError(RuntimeError):
    """Everything waits and no timer is set: nothing could ever happen again."""


class VirtualLoop(asyncio.BaseEventLoop):
    """asyncio's own loop with another idea of waiting."""

    _scheduled: list[asyncio.TimerHandle]

    def __init__(self) -> None:
        self._virtual_s = 0.0
        super().__init__()
        # What BaseEventLoop asks for events; the name is its private protocol, as are `_scheduled`
        # (the heap of timers) and `_clock_resolution` (how much too early a timer may run).
        self._selector = _Leap(self)

    def time(self) -> float:
        """Virtual seconds since this loop was made."""
        return self._virtual_s

    @property
    def _clock_resolution(self) -> float:
        """Timers run at their time, never before: who then asks `now >= due` must find it true, or
        would wait for the rest of a nanosecond for ever."""
        return math.ulp(self._virtual_s)

    @_clock_resolution.setter
    def _clock_resolution(self, _seconds: float) -> None:
        """BaseEventLoop sets what the system's clock can do, which is nothing to us."""

    def leap(self, seconds: float | None) -> None:
        """Let time pass until the next timer; None means that there is none."""
        if seconds is None:
            raise DeadlockError("every task waits, and for nothing that will come")
        if seconds > 0.0:
            self._virtual_s = max(self._virtual_s, self._scheduled[0].when())

    def run_in_executor(self, executor: Any, func: Any, *args: Any) -> NoReturn:  # noqa: ARG002
        """Refused: a thread's result comes at no reproducible moment."""
        raise RuntimeError(f"no threads on virtual time: {func!r}")

    def _process_events(self, event_list: Any) -> None:
        """Nothing outside this loop exists, so nothing arrives from there."""

    def _write_to_self(self) -> None:
        """The loop never sleeps for real, so it needs no waking."""


class _Leap:
    """Stands where a selector would: instead of waiting for file descriptors, time passes."""

    def __init__(self, loop: VirtualLoop) -> None:
        self._loop = loop

    def select(self, timeout: float | None) -> tuple[()]:
        self._loop.leap(timeout)
        return ()


def run_virtual(main: Coroutine[Any, Any, T], loop: VirtualLoop | None = None) -> T:
    """Run `main` to its end on virtual time; every task it left behind is cancelled."""
    loop = loop or VirtualLoop()
    asyncio.set_event_loop(loop)
    try:
        return loop.run_until_complete(main)
    finally:
        _cancel_rest(loop)
        loop.run_until_complete(loop.shutdown_asyncgens())
        asyncio.set_event_loop(None)
        loop.close()


def _cancel_rest(loop: VirtualLoop) -> None:
    rest = asyncio.all_tasks(loop)
    for task in rest:
        task.cancel()
    if rest:
        loop.run_until_complete(asyncio.gather(*rest, return_exceptions=True))
