"""What every child of the supervisor does: read the settings, say when it is ready, end on order.

Orders come as lines on standard input, which also ends when the supervisor dies: then the process
goes at once, as in a crash, so that no half system is left behind. (Inference backends are not our
children in this sense: they are found again and adopted at the next start.)
"""

import asyncio
import logging
import os
import signal
import sys
import threading
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from aimindserve.boot.handover import read_handover
from aimindserve.boot.order import Order
from aimindserve.boot.places import Places
from aimindserve.boot.process import READY_LINE
from aimindserve.boot.settings import Settings
from aimindserve.boot.supervisor import EXIT_REFUSED, EXIT_SETTINGS
from aimindserve.boot.told import REFUSAL
from aimindserve.core.errors import AimsError, SettingsError
from aimindserve.kit import log
from aimindserve.kit.clock import Clock, SystemClock
from aimindserve.kit.pauses import shorten


class RefusedError(AimsError):
    """This child cannot work here, and trying again would not help."""

    code: ClassVar[str] = "refused"


STDIN = 0


@dataclass(frozen=True, slots=True)
class Orders:
    """The orders received, to be awaited."""

    end_streams: asyncio.Event
    stop: asyncio.Event
    stop_now: asyncio.Event

    def give(self, order: Order) -> None:
        """Take an order; each includes the ones before it."""
        self.end_streams.set()
        if order is not Order.END_STREAMS:
            self.stop.set()
        if order is Order.STOP_NOW:
            self.stop_now.set()


@dataclass(frozen=True, slots=True)
class Child:
    """What a composition root gets to work with."""

    name: str
    settings: Settings
    places: Places
    clock: Clock
    orders: Orders

    def ready(self) -> None:
        """Tell the supervisor that this process does its work."""
        shorten()
        sys.stdout.write(READY_LINE + "\n")
        sys.stdout.flush()


def main(name: str, work: Callable[[Child], Coroutine[Any, Any, None]]) -> None:
    """Run `work` until it returns; it should return soon after an order was received."""
    settings, places = read_handover(Path(sys.argv[1]))
    log.configure(debug=settings.general.debug, json_lines=True, stream=sys.stderr)
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s %(name)s: %(message)s")
    try:
        _run(_guarded(name, work, settings, places))
    except KeyboardInterrupt:
        raise SystemExit(130) from None
    except SettingsError as error:
        _tell(error)
        raise SystemExit(EXIT_SETTINGS) from None
    except RefusedError as error:
        _tell(error)
        raise SystemExit(EXIT_REFUSED) from None
    except AimsError as error:
        _tell(error)
        raise SystemExit(1) from None


async def _guarded(
    name: str,
    work: Callable[[Child], Coroutine[Any, Any, None]],
    settings: Settings,
    places: Places,
) -> None:
    loop = asyncio.get_running_loop()
    orders = Orders(asyncio.Event(), asyncio.Event(), asyncio.Event())
    threading.Thread(target=_listen, args=(loop, orders), name="orders", daemon=True).start()
    if sys.platform != "win32":
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, orders.give, Order.STOP)
    await work(Child(name, settings, places, SystemClock(), orders))


def _run(work: Awaitable[None]) -> None:
    if sys.platform == "win32":
        asyncio.run(_as_coroutine(work))
        return
    import uvloop

    uvloop.run(_as_coroutine(work))


async def _as_coroutine(work: Awaitable[None]) -> None:
    await work


def _listen(loop: asyncio.AbstractEventLoop, orders: Orders) -> None:
    """A thread, so that the supervisor's death is noticed even when the event loop is stuck.

    It reads the descriptor itself: a buffered reader would hold its lock while Python shuts down.
    """
    rest = b""
    while data := os.read(STDIN, 4096):
        *lines, rest = (rest + data).split(b"\n")
        for line in lines:
            loop.call_soon_threadsafe(orders.give, Order(line.decode()))
    os._exit(1)


def _tell(error: AimsError) -> None:
    # What an operator needs and an API answer must not show, such as the address of the database.
    rest = [str(value) for value in error.params.values() if str(value) not in error.message]
    log.get_logger("boot").error(
        REFUSAL, code=error.code, error=error.message, detail="; ".join(rest), hint=error.hint
    )
