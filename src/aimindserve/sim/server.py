"""One life of the control plane: the real store, leases, controllers and report handling.

A restart is another life on the same backing: leases, queues, decisions and every connection of the
one before are gone, exactly as after `kill -9`.
"""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from contextlib import aclosing
from typing import Any, TypeVar, cast

from aimindserve.backends.base import Backend
from aimindserve.controllers import all as controllers_all
from aimindserve.controllers.chronicle import Chronicle
from aimindserve.controllers.constants import DEFAULTS, ControllerConstants
from aimindserve.controllers.loop import ControllerLoop
from aimindserve.core.errors import AimsError, UnavailableError
from aimindserve.core.launch import DesiredSet
from aimindserve.core.report import Ack, Report
from aimindserve.kit.tasks import TaskSupervisor
from aimindserve.sim import chance
from aimindserve.sim.clock import SimClock
from aimindserve.sim.door import Door
from aimindserve.store.base import Backing
from aimindserve.store.decisions import Decisions
from aimindserve.store.leases import Leases
from aimindserve.store.records._record import RecordKeeper
from aimindserve.store.records.events import events
from aimindserve.store.resources import ResourceStore
from aimindserve.worker.link import Hello, Identity

R = TypeVar("R")

READING_S = 0.002


class SimServer:
    """A server that can be stalled and killed."""

    def __init__(
        self,
        backing: Backing,
        backends: Mapping[str, Backend],
        *,
        seed: int,
        life: int,
        constants: ControllerConstants = DEFAULTS,
    ) -> None:
        """`life` counts the server's starts: each draws other names."""
        self.clock = SimClock()
        self.life = life
        rng = chance.stream(seed, f"server-{life}")
        self.store = ResourceStore(backing, self.clock, chance.ids(rng))
        self.leases = Leases(self.clock)
        self.decisions = Decisions()
        self.controllers = ControllerLoop(
            self.store,
            controllers_all.build(
                self.store,
                self.leases,
                self.clock,
                backends,
                chance.ids(rng),
                self.decisions,
                constants=constants,
            ),
            self.clock,
            constants=constants,
            jitter=rng.random,
        )
        self.events = events(
            cast("RecordKeeper", backing), self.clock, chance.ids(chance.stream(seed, f"e-{life}"))
        )
        self._chronicle = Chronicle(
            self.store, self.events, self.clock, chance.ids(chance.stream(seed, f"events-{life}"))
        )
        self._door = Door(self.store, self.leases, self.clock)
        self._tasks = TaskSupervisor(self.clock)
        # A dict, not a set: they end in the order in which they came, in every run alike.
        self._answers: dict[asyncio.Future[Any], None] = {}
        self._dead = False

    async def start(self) -> None:
        """Open the store and let everything run."""
        await self.store.open()
        await self.events.open()
        self._tasks.keep_running(self._door.run, name="server.desired")
        self._tasks.keep_running(self.controllers.run, name="server.controllers")
        self._tasks.keep_running(self._chronicle.run, name="server.chronicle")

    async def kill(self) -> None:
        """The end of this life, whatever it was doing."""
        self._dead = True
        for answer in list(self._answers):
            if not answer.done():
                answer.set_exception(_gone())
        self.clock.resume()
        await self._tasks.aclose()
        await self.events.stop()
        await self.store.close()

    async def register(self, hello: Hello) -> Identity:
        return await self._door.register(hello)

    async def report(self, identity: Identity, report: Report) -> Ack:
        return await self._door.report(identity, report)

    async def desired(self, identity: Identity) -> AsyncGenerator[DesiredSet | None, None]:
        async with aclosing(self._door.desired(identity)) as sets:
            async for item in sets:
                await self.clock.flow()
                if self._dead:
                    raise _gone()
                yield item

    async def carry_out(self, work: Callable[[], Awaitable[R]]) -> R:
        if self._dead:
            raise _gone()
        answer: asyncio.Future[R] = asyncio.get_running_loop().create_future()
        self._answers[answer] = None
        answer.add_done_callback(lambda done: self._answers.pop(done, None))
        self._tasks.spawn(self._answer(work, answer), name="server.request")
        return await answer

    async def _answer(self, work: Callable[[], Awaitable[R]], answer: "asyncio.Future[R]") -> None:
        await self.clock.flow()
        # Reading a request takes a moment: after a stall everything else that was due runs first.
        await self.clock.sleep(READING_S)
        try:
            result = await work()
        except AimsError as error:
            if not answer.done():
                answer.set_exception(error)
        else:
            if not answer.done():
                answer.set_result(result)


def _gone() -> UnavailableError:
    return UnavailableError("The server is gone.")
