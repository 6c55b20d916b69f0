"""One run: a seed and a scenario in, an outcome out. The same in, the same out, in any process.

start ─▶ deploy ─▶ faults and people ─▶ everything mended ─▶ settled? ─▶ outcome
             └────────── invariants, every virtual second ─────────┘
"""

import asyncio
import logging
import random
from collections.abc import Generator, MutableMapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import structlog

from aimindserve.core.errors import AimsError
from aimindserve.kit.tasks import TaskSupervisor
from aimindserve.sim import chance
from aimindserve.sim.cluster import Cluster
from aimindserve.sim.faults import FAULTS, Trouble
from aimindserve.sim.invariants import InvariantError, Invariants
from aimindserve.sim.loop import VirtualLoop, run_virtual
from aimindserve.sim.people import People, visit
from aimindserve.sim.scenario import Fault, Scenario, find
from aimindserve.sim.trace import Trace

CHECK_S = 1.0
QUIET_S = 20.0
"""After this long in peace a server is restarted, and for as long it may write nothing."""
DEFECTS = frozenset({"task.failed", "task.restarted", "action.failed", "reconcile.failed"})
"""Log events that, with an error nobody raises on purpose, mean a defect of the program."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a run came to."""

    seed: int
    scenario: str
    trace_hash: str
    lines: int
    """Commits, engine starts and faults: what the hash is about."""
    virtual_s: float
    settled_after_s: float
    workers: int
    instances: int
    failure: str = ""
    """Why the run is a failure; empty when all is well."""
    newest: Sequence[str] = ()
    """The last lines of the trace of a failed run."""

    @property
    def replay(self) -> str:
        """The command that does it all again."""
        return f"python -m aimindserve.sim {self.seed} --scenario {self.scenario or '?'}"


def run(seed: int, scenario: str | Scenario = "storm") -> Outcome:
    """Run a scenario, by name or as given, with `seed`. A breach of an invariant is an outcome, not
    an exception."""
    known = scenario if isinstance(scenario, Scenario) else find(scenario)
    name = scenario if isinstance(scenario, str) else ""
    loop = VirtualLoop()
    with _defects() as defects:
        return run_virtual(_Run(seed, name, known, loop, defects).go(), loop)


class _Run:
    def __init__(
        self,
        seed: int,
        name: str,
        scenario: Scenario,
        loop: VirtualLoop,
        defects: Sequence[str],
    ) -> None:
        self._seed = seed
        self._name = name
        self._scenario = scenario
        self._defects = defects
        self._trace = Trace(loop.time)
        self._invariants = Invariants()
        self._cluster = Cluster(scenario, seed, self._trace, self._invariants.committed)
        self._tasks = TaskSupervisor(self._cluster.clock)
        self._settled_after_s = 0.0

    async def go(self) -> Outcome:
        failure = ""
        try:
            await self._cluster.start()
            self._invariants.attach(self._cluster)
            await self._through_everything()
        except InvariantError as error:
            failure = str(error)
        cluster = self._cluster
        outcome = Outcome(
            seed=self._seed,
            scenario=self._name,
            trace_hash=self._trace.digest,
            lines=self._trace.lines,
            virtual_s=cluster.clock.monotonic(),
            settled_after_s=self._settled_after_s,
            workers=len(cluster.machines),
            instances=len(cluster.store.list("instance")),
            failure=failure,
            newest=self._trace.newest() if failure else (),
        )
        await self._tasks.aclose()
        await cluster.stop()
        return outcome

    async def _through_everything(self) -> None:
        cluster = self._cluster
        people = People(cluster, chance.stream(self._seed, "people"))
        await people.deploy_all()
        ends = cluster.clock.monotonic() + cluster.size.lasts_s
        life = self._tasks.spawn(people.go_on(), name="people")
        self._tasks.spawn(visit(cluster), name="visitors")
        troubles = self._let_loose(ends)
        await self._pass(lambda: cluster.clock.monotonic() < ends)
        await self._pass(lambda: not all(task.done() for task in troubles))
        life.cancel()
        for line in cluster.lines.values():
            line.heal()
        await people.calm_down()
        await self._settle()
        await self._restart_quietly()

    def _let_loose(self, ends: float) -> Sequence[asyncio.Task[None]]:
        rng = chance.stream(self._seed, "faults")
        trouble = Trouble(self._cluster, rng, {})
        return [
            self._tasks.spawn(self._recur(kind, fault, trouble, ends), name=f"fault.{kind}")
            for kind, fault in sorted(self._scenario.faults.items())
        ]

    async def _recur(self, kind: str, fault: Fault, trouble: Trouble, ends: float) -> None:
        rng: random.Random = chance.stream(self._seed, f"fault-{kind}")
        clock = self._cluster.clock
        while True:
            pause_s = rng.expovariate(1 / fault.every_s)
            if clock.monotonic() + pause_s >= ends:
                return
            await clock.sleep(pause_s)
            await FAULTS[kind](trouble, rng.uniform(*fault.lasts_s))

    async def _pass(self, going_on: Any) -> None:
        """Let time pass and look at everything once a second."""
        while going_on():
            await self._look()

    async def _look(self) -> None:
        await self._cluster.clock.sleep(CHECK_S)
        self._invariants.check()
        if self._defects:
            raise InvariantError(f"a defect was logged: {self._defects[0]}")

    async def _settle(self) -> None:
        clock = self._cluster.clock
        began = clock.monotonic()
        await self._pass(
            lambda: clock.monotonic() - began < self._scenario.settle_s and self._is_unsettled()
        )
        self._settled_after_s = clock.monotonic() - began
        rest = list(self._invariants.unsettled())
        if rest:
            raise InvariantError(f"not settled after {self._settled_after_s:.0f} s: {rest[:5]}")

    def _is_unsettled(self) -> bool:
        return next(self._invariants.unsettled(), None) is not None

    async def _restart_quietly(self) -> None:
        """A server that starts on a settled cluster has nothing to write but a measurement that
        could not be taken when it was tried before."""
        cluster = self._cluster
        await self._fall_silent()
        for starved in self._invariants.starved():
            raise InvariantError(starved)
        before = self._invariants.decided
        await cluster.kill_server()
        await cluster.start_server()
        ends = cluster.clock.monotonic() + QUIET_S
        await self._pass(lambda: cluster.clock.monotonic() < ends)
        written = self._invariants.decided - before
        if written:
            raise InvariantError(f"a restart in steady state wrote {written} times")

    async def _fall_silent(self) -> None:
        """Wait until nothing has been written for a while: what was refused may find room late."""
        invariants, clock = self._invariants, self._cluster.clock
        began = since = clock.monotonic()
        seen = invariants.written
        while clock.monotonic() - since < QUIET_S:
            if clock.monotonic() - began > self._scenario.settle_s:
                raise InvariantError(f"writes go on after everything settled: {seen}")
            await self._look()
            if invariants.written != seen or self._is_unsettled() or invariants.about_to_try():
                seen, since = invariants.written, clock.monotonic()


@contextmanager
def _defects() -> Generator[list[str], None, None]:
    """Silence the log and keep what it says of defects."""
    found: list[str] = []

    def judge(_logger: Any, _method: str, event: MutableMapping[str, Any]) -> Any:
        error = event.get("exc_info")
        wanted = event.get("event") in DEFECTS
        if wanted and isinstance(error, Exception) and not isinstance(error, AimsError):
            found.append(f"{event['event']} {event.get('task', '')}: {event.get('error', error)}")
        raise structlog.DropEvent

    before = structlog.get_config()
    structlog.configure(
        processors=[judge],
        wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR),
        cache_logger_on_first_use=False,
    )
    try:
        yield found
    finally:
        structlog.configure(**before)
