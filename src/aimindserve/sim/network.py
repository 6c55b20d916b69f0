"""The way between a worker and the server, in memory, with everything that goes wrong on the way.

    worker ──up──▶ server      each direction can be cut alone; a cut holds messages back, as TCP
    worker ◀─down── server     does, until it heals or whoever waits gives up

A request may be lost (the answer too: then it *was* carried out), arrive twice, or arrive so late
that newer ones have overtaken it. A stream of desired sets breaks, and the worker opens another.
"""

import random
from collections.abc import AsyncGenerator, Awaitable, Callable, Generator
from contextlib import aclosing, contextmanager
from dataclasses import dataclass
from typing import Protocol, TypeVar

import anyio

from aimindserve.core.errors import UnavailableError
from aimindserve.core.launch import DesiredSet
from aimindserve.core.report import Ack, Report
from aimindserve.kit.clock import Clock
from aimindserve.sim.door import Door
from aimindserve.worker.link import Hello, Identity

R = TypeVar("R")

REQUEST_LIMIT_S = 10.0
STREAM_IDLE_S = 30.0
REFUSED_S = 0.005


class ServerSide(Protocol):
    """What a server offers to workers; `sim.server` and the demo implement it."""

    async def register(self, hello: Hello) -> Identity:
        """Take a machine in."""
        ...

    def desired(self, identity: Identity) -> AsyncGenerator[DesiredSet | None, None]:
        """The desired set at every change; None as a sign of life in between."""
        ...

    async def report(self, identity: Identity, report: Report) -> Ack:
        """Take in what a worker sees."""
        ...

    async def carry_out(self, work: Callable[[], Awaitable[R]]) -> R:
        """Do `work` as this server: when it is not stalled, and to the end even if nobody waits for
        the result any more."""
        ...


class LocalServer:
    """A server that is always there: the demo's, in this very process."""

    def __init__(self, door: Door) -> None:
        self.register = door.register
        self.desired = door.desired
        self.report = door.report

    async def carry_out(self, work: Callable[[], Awaitable[R]]) -> R:
        """Nothing can come in between."""
        return await work()


@dataclass(slots=True)
class Line:
    """The state of the way between one worker and the server. Changed by faults."""

    latency_s: tuple[float, float] = (0.001, 0.02)
    loss: float = 0.0
    """Probability that a request, or its answer, never arrives."""
    twice: float = 0.0
    late: float = 0.0
    """Probability that a request is overtaken by newer ones."""
    up: anyio.Event | None = None
    """Not None while nothing gets through: the event that healing sets."""
    down: anyio.Event | None = None

    def cut(self, *, up: bool = True, down: bool = True) -> None:
        """Let nothing through in the given directions."""
        if up and self.up is None:
            self.up = anyio.Event()
        if down and self.down is None:
            self.down = anyio.Event()

    def heal(self) -> None:
        """Everything passes again, also what has been waiting."""
        for held in (self.up, self.down):
            if held is not None:
                held.set()
        self.up = self.down = None

    @property
    def whole(self) -> bool:
        """Whether both directions pass and nothing is lost."""
        return self.up is None and self.down is None and not self.loss


class SimLink:
    """A worker's `ServerLink` over a `Line`."""

    def __init__(
        self,
        line: Line,
        server: Callable[[], ServerSide | None],
        clock: Clock,
        rng: random.Random,
    ) -> None:
        """`server` gives the server that listens now, or None."""
        self._line = line
        self._server = server
        self._clock = clock
        self._rng = rng

    async def register(self, hello: Hello) -> Identity:
        return await self._call(lambda server: server.register(hello))

    async def report(self, identity: Identity, report: Report) -> Ack:
        return await self._call(lambda server: server.report(identity, report))

    async def desired(self, identity: Identity) -> AsyncGenerator[DesiredSet, None]:
        server = await self._connect()
        with _limit(REQUEST_LIMIT_S):
            await self._travel_up()
        async with aclosing(server.desired(identity)) as sets:
            while True:
                with _limit(STREAM_IDLE_S):
                    item = await anext(sets)
                    await self._travel_down()
                if self._rng.random() < self._line.loss * 0.2:
                    raise UnavailableError("The connection was reset.")
                if item is not None:
                    yield item

    async def aclose(self) -> None:
        """There is no connection to let go of."""

    async def _call(self, work: Callable[[ServerSide], Awaitable[R]]) -> R:
        server = await self._connect()
        with _limit(REQUEST_LIMIT_S):
            await self._travel_up()
            late_s = self._drawn(self._line.late, 2 * REQUEST_LIMIT_S)
            answer = await server.carry_out(lambda: self._arrive(server, work, late_s))
            if self._rng.random() < self._line.twice:
                answer = await server.carry_out(lambda: work(server))
            await self._travel_down()
        return answer

    async def _arrive(
        self, server: ServerSide, work: Callable[[ServerSide], Awaitable[R]], late_s: float
    ) -> R:
        """The request reaches the server, whether or not anybody still waits for the answer."""
        if late_s:
            await self._clock.sleep(late_s)
        return await work(server)

    def _drawn(self, chance: float, limit_s: float) -> float:
        return self._rng.uniform(0.0, limit_s) if self._rng.random() < chance else 0.0

    async def _connect(self) -> ServerSide:
        server = self._server()
        if server is None:
            await self._clock.sleep(REFUSED_S)
            raise UnavailableError("The server refuses connections.")
        return server

    async def _travel_up(self) -> None:
        await self._travel()
        while self._line.up is not None:
            await self._line.up.wait()

    async def _travel_down(self) -> None:
        await self._travel()
        while self._line.down is not None:
            await self._line.down.wait()

    async def _travel(self) -> None:
        await self._clock.sleep(self._rng.uniform(*self._line.latency_s))
        if self._rng.random() < self._line.loss:
            await anyio.sleep_forever()


@contextmanager
def _limit(seconds: float) -> Generator[None, None, None]:
    """Give up after `seconds`, as whoever waits for an answer from a network does."""
    try:
        with anyio.fail_after(seconds):
            yield
    except TimeoutError:
        raise UnavailableError(f"The server did not answer within {seconds:.0f} s.") from None
