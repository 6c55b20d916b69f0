"""Asks engines now and then how much they have generated: those that have answered since.

Nothing of it is on the way of a request, nor of a health check: an engine that is slow to tell, or
tells nonsense, only has no pace.
"""

import asyncio

from aimindserve.kit.clock import Clock
from aimindserve.worker.board import Board
from aimindserve.worker.edges import Meter
from aimindserve.worker.observed import Process
from aimindserve.worker.pace import is_due, looked
from aimindserve.worker.traffic import Traffic

EVERY_S = 15.0


class Pacer:
    """Looks at the counters of the engines on the board."""

    def __init__(self, board: Board, traffic: Traffic, meter: Meter, clock: Clock) -> None:
        self._board = board
        self._traffic = traffic
        self._meter = meter
        self._clock = clock

    async def watch(self) -> None:
        """Look for ever."""
        while True:
            await self._clock.sleep(EVERY_S)
            await self.look()

    async def look(self) -> None:
        """Ask everybody of whom there may be news, all at once."""
        processes = list(self._board.processes.values())
        due = [each for each in processes if is_due(each, self._traffic.answered(each.token))]
        await asyncio.gather(*(self._ask(process) for process in due))

    async def _ask(self, process: Process) -> None:
        counters = process.probe.counters
        if counters is None:
            return
        # Before the page is read: what is answered meanwhile is subtracted the next time.
        answered = self._traffic.answered(process.token)
        try:
            page = await self._meter.read(process.handle, counters)
        except TimeoutError:
            return  # busy with a long prompt: asked again at the next turn
        self._board.paced(process.token, lambda now: looked(now, page, answered))
