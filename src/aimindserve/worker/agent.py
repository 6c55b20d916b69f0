"""The worker agent: sync -> decide -> perform -> report, for ever.

It never acts on the desired set before it has received one in this life: engines that outlived an
agent run on until the server says what is wanted. Without the server it goes on with the last set.
Deciding is `decide`, doing is `perform`, telling is `tell`; this file only turns the wheel.
"""

import asyncio
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace

from aimindserve.accelerators.base import Accelerator, Host
from aimindserve.backends.base import Backend
from aimindserve.core.errors import AimsError
from aimindserve.core.launch import Assignment, DesiredSet
from aimindserve.core.reason import Reason
from aimindserve.kit.clock import Clock
from aimindserve.kit.log import get_logger
from aimindserve.kit.tasks import TaskSupervisor
from aimindserve.runtimes.base import Handle, Runtime
from aimindserve.sources.base import Source
from aimindserve.worker.alarm import Alarm
from aimindserve.worker.board import (
    Board,
    Checked,
    Event,
    Looked,
    NotStarted,
    NotStopped,
    Stopped,
)
from aimindserve.worker.config import WorkerConfig
from aimindserve.worker.decide import (
    Action,
    Check,
    Forget,
    Start,
    Stop,
    Work,
    attend,
    decide,
    may_start,
    next_time,
)
from aimindserve.worker.edges import Edges
from aimindserve.worker.follow import follow
from aimindserve.worker.installations import offered
from aimindserve.worker.launch import Bench
from aimindserve.worker.link import ServerLink
from aimindserve.worker.measured import engines
from aimindserve.worker.membership import Membership
from aimindserve.worker.metrics import Picture
from aimindserve.worker.observed import FileSeen, Health, Moment, Observed, Process
from aimindserve.worker.pacer import Pacer
from aimindserve.worker.perform import DRAIN_POLL_S, DRAIN_S, Means, Performer
from aimindserve.worker.recall import kept_courses, recall
from aimindserve.worker.serving import Listeners, Serving
from aimindserve.worker.state import AgentState
from aimindserve.worker.survey import Survey
from aimindserve.worker.tell import Teller, Telling
from aimindserve.worker.traffic import Traffic
from aimindserve.worker.tunnel_door import Door, DoorParts
from aimindserve.worker.tunnels import Place, Tunnels, Ways

log = get_logger("worker")

IDLE_S = 5.0
"""At the latest after this long everything is looked at again: ports become free unannounced."""
TIDY_S = 5.0
ROUTED_S = 0.2
"""How long after the server knows that this worker leaves requests may still come: what it tells is
in every gateway's table within some tens of milliseconds."""
_ASKED = frozenset({Health.READY, Health.SICK})


class Agent:
    """One worker of a cluster. `await run()` until cancelled."""

    def __init__(  # noqa: PLR0913, PLR0917 - a composition root hands in every part by name
        self,
        config: WorkerConfig,
        link: ServerLink,
        runtime: Runtime,
        backends: Mapping[str, Backend],
        accelerators: Mapping[str, Accelerator],
        sources: Mapping[str, Source],
        clock: Clock,
        host: Host,
        *,
        edges: Edges | None = None,
    ) -> None:
        if edges is None:
            from aimindserve.worker.machine import real_edges

            edges = real_edges(config, accelerators, sources, host, runtime)
        self._config = config
        self._clock = clock
        self._runtime = runtime
        self._backends = backends
        self._accelerators = accelerators
        self._edges = edges
        self._tasks = TaskSupervisor(clock)
        self._alarm = Alarm(clock, self._tasks, "worker.step")
        self._desired: DesiredSet | None = None
        self.traffic = Traffic()
        self.board = Board(config.service_port_range)
        self.pacer = Pacer(self.board, self.traffic, edges.meter, clock)
        self.survey = Survey(
            edges.machine,
            clock,
            lambda: engines(self._living(), self.traffic.handed),
        )
        self._ended: set[str] = set()
        """Tokens of engines that have just been stopped, as long as the board still shows them."""
        self.membership = Membership(config, link, clock, edges.jitter)
        self._link = link
        self._teller = Teller(
            Telling(
                config=config,
                link=link,
                clock=clock,
                membership=self.membership,
                board=self.board,
                survey=self.survey,
                jitter=edges.jitter,
                address=lambda: config.ip or edges.machine.address(config.server_url),
                offered=lambda: offered(backends, self.survey.installations),
            ),
            Alarm(clock, self._tasks, "worker.report"),
        )
        self._performer = Performer(
            Means(
                edges=edges,
                runtime=runtime,
                board=self.board,
                bench=self._bench,
                assignments=self._assignments,
                worker=lambda: self.name,
                oom_kills=edges.machine.oom_kills,
                busy=self.traffic.count,
                clock=clock,
            )
        )
        self._tunnels = Tunnels(
            Ways(
                ports=config.tunnel_port_range,
                clock=clock,
                tasks=self._tasks,
                changed=self._alarm.ring,
                lost=self._lost,
            )
        )
        self.listeners = Listeners(
            Serving(
                config=config,
                clock=clock,
                key=self._proxy_key,
                processes=lambda: self.board.processes,
                going=self.board.going,
                suspect=self.suspect,
                traffic=self.traffic,
                shelf=edges.logs,
                picture=self._picture,
                door=Door(
                    DoorParts(
                        assignments=self._assignments,
                        processes=lambda: self.board.processes,
                        trouble=self._teller.trouble,
                        suspect=self.suspect,
                        traffic=self.traffic,
                        clock=clock,
                    )
                ),
            )
        )

    @property
    def name(self) -> str:
        """What the server calls this worker; the wished name before it has said so."""
        identity = self.membership.identity
        return self._config.name if identity is None else identity.name

    @property
    def desired(self) -> DesiredSet | None:
        """The set acted upon; None until one was received in this life."""
        return self._desired

    async def run(self) -> None:
        """Work until cancelled; then end in order.

        Raises ConflictError when another agent uses the same directory, UnauthenticatedError or
        ExistsError when this machine may not join, OSError when a port is taken.
        """
        self._edges.memory.lock()
        orderly = False
        try:
            await self._recall()
            await self.membership.join()
            await self._greet()
            await self._listen()
            await self.survey.refresh(self.name)
            await self._work()
        except asyncio.CancelledError:
            orderly = True
            raise
        finally:
            await self._end(stop_engines=orderly and self._config.stop_engines_on_exit)

    def suspect(self, token: str) -> None:
        """A process did not answer a request: check it now instead of at its next turn."""
        self.board.suspect(token)
        self._alarm.ring()

    async def _work(self) -> None:
        keep = self._tasks.keep_running
        keep(self._follow, name="worker.follow")
        keep(self._teller.run, name="worker.report")
        keep(lambda: self.survey.watch(self.name), name="worker.survey")
        keep(self.pacer.watch, name="worker.pace")
        keep(self._tidy, name="worker.tidy")
        while True:
            pause_s = self._step()
            await self._alarm.wait(pause_s)

    def _step(self) -> float:
        """Start everything that is due; how long until something may be due again."""
        now = self._clock.monotonic()
        self._tunnels.want(self._led(), self._alive())
        observed = self._observe(now)
        actions: tuple[Action, ...]
        if self._desired is None:
            actions = attend(observed, now)
        else:
            actions = decide(self._desired, observed, now)
        for action in actions:
            self.board.mark(action)
            name = f"worker.{type(action).__name__.lower()}"
            if isinstance(action, Forget):
                self._tasks.spawn(self._edges.logs.forget(action.instance), name=name)
            else:
                self._tasks.spawn(self._do(action), name=name)
        self._teller.look(self._desired, observed)
        due = next_time(self._desired, self.board.snapshot(), now)
        return IDLE_S if due is None else min(IDLE_S, due - now)

    def _observe(self, now: float) -> Observed:
        held = self._tunnels.held()
        observed = replace(self.board.snapshot(), held=held, worker=self.name)
        wanted = () if self._desired is None else self._desired.instances
        if any(may_start(assignment, observed, now) for assignment in wanted):
            first, last = self._config.service_port_range
            return replace(observed, taken=self._edges.ports.taken(first, last))
        return observed

    def _led(self) -> Sequence[Assignment]:
        """Instances with processes on other workers that this one must reach."""
        if not self._config.serve or self._desired is None:
            return ()
        return [each for each in self._desired.instances if each.peers and self._tunnelled(each)]

    def _tunnelled(self, assignment: Assignment) -> bool:
        backend = self._backends.get(assignment.placement.backend or assignment.backend)
        return getattr(backend, "tunnelled", False)

    def _alive(self) -> Collection[Place]:
        handles = (process.handle for process in self.board.processes.values())
        return {(handle.instance, handle.placement_id) for handle in handles}

    def _lost(self, instance: str, placement: str, worker: str) -> None:
        self.board.lose(
            instance, placement, Reason("rank_lost", {"peer": worker, "name": instance})
        )
        self._alarm.ring()

    async def _do(self, action: Work) -> None:
        # Supervision point: a defect while performing must not leave its instance marked as busy
        # for ever, so every action ends in an event.
        try:
            if isinstance(action, Start):
                await self._persist()
            event = await self._performer.perform(action)
        except Exception as error:
            log.error("action.failed", action=type(action).__name__, exc_info=error)
            event = _broken(action, error)
        if isinstance(event, Stopped):
            await self._measure_without(event.action.process.token)
        now = Moment(self._clock.monotonic(), self._clock.now())
        self.board.apply(event, now, self._edges.jitter())
        if not isinstance(event, (Checked, Looked)):
            await self._persist()
        self._alarm.ring()

    async def _measure_without(self, token: str) -> None:
        """Nobody hears that an engine is gone before memory was measured without it: its device's
        memory would be promised while a driver still clears it."""
        self.traffic.forget(token)
        self._ended.add(token)
        try:
            await self.survey.refresh(self.name)
        finally:
            self._ended.discard(token)

    def _living(self) -> Sequence[Process]:
        return [one for one in self.board.processes.values() if one.token not in self._ended]

    async def _follow(self) -> None:
        await follow(self._link, self.membership, self._clock, self._edges.jitter, self._receive)

    def _receive(self, desired: DesiredSet) -> None:
        self._desired = desired
        self._alarm.ring()

    async def _greet(self) -> None:
        """Check adopted engines before the first report: who was ready still is, without a gap."""
        actions = attend(self.board.snapshot(), self._clock.monotonic())
        for action in actions:
            self.board.mark(action)
        await asyncio.gather(*(self._do(action) for action in actions))

    async def _listen(self) -> None:
        if self._config.serve:
            await self.listeners.start()
            self._teller.ports(self.listeners.port, self.listeners.metrics_port)

    async def _tidy(self) -> None:
        while True:
            await self._clock.sleep(TIDY_S)
            living = [(p.handle.instance, p.handle.run) for p in self.board.processes.values()]
            await self._edges.logs.tidy(living)

    async def _recall(self) -> None:
        """Take up what an agent before this one left: who we are, and which engines live."""
        state = self._edges.memory.load()
        self.membership.machine_id = state.machine_id
        self.membership.identity = state.identity
        self.membership.keep = self._persist
        now = Moment(self._clock.monotonic(), self._clock.now())
        recall(self.board, state, await self._runtime.recover(), now)
        living = [(p.handle.instance, p.handle.run) for p in self.board.processes.values()]
        await self._edges.logs.sweep(living, [*self.board.courses])
        for process in self.board.processes.values():
            log.info("engine.adopted", instance=process.handle.instance, pid=process.handle.pid)

    async def _persist(self, *, stopped: bool = False) -> None:
        """Save what must be known after this life; `stopped`: every engine was ended on purpose."""
        courses = kept_courses(self.board)
        if stopped:
            courses = {name: replace(kept, alive=False) for name, kept in courses.items()}
        state = AgentState(
            machine_id=self.membership.machine_id,
            identity=self.membership.identity,
            courses=courses,
        )
        try:
            await self._edges.memory.save(state)
        except OSError as error:
            # A full disk must not stop the work. Processes have records of their own; what is lost
            # when the agent dies now are run numbers.
            log.error("state.not_saved", error=str(error))

    async def _end(self, *, stop_engines: bool) -> None:
        stop_engines = stop_engines and self.membership.identity is not None
        if stop_engines:
            await self._teller.leave()
            await self._drain()
        await self._tasks.aclose()
        self._tunnels.close()
        if stop_engines:
            all_ended = await self._stop_all()
            # Else the next agent would take engines that were ended on purpose for crashed ones.
            await self._persist(stopped=True)
            if all_ended:
                await self._teller.left()
        await self.listeners.stop()
        self._edges.memory.unlock()

    async def _drain(self) -> None:
        """Let requests finish: those under way, and those that gateways send before they know."""
        tokens = [token for token, one in self.board.processes.items() if one.health in _ASKED]
        if not tokens:
            return
        await self._clock.sleep(ROUTED_S)
        deadline = self._clock.monotonic() + DRAIN_S
        while any(map(self.traffic.count, tokens)) and self._clock.monotonic() < deadline:
            await self._clock.sleep(DRAIN_POLL_S)

    async def _stop_all(self) -> bool:
        """End every engine of ours, also one whose start was under way a moment ago; whether
        nothing of them is left."""
        handles = {handle.token: handle for handle in await self._runtime.recover()}
        handles.update((p.token, p.handle) for p in self.board.processes.values())
        graces = {p.token: p.grace_s for p in self.board.processes.values()}
        ends = (self._finish(handle, graces.get(token, 10.0)) for token, handle in handles.items())
        all_ended = True
        for result in await asyncio.gather(*ends, return_exceptions=True):
            if isinstance(result, AimsError):
                all_ended = False
                log.error("engine.not_stopped", error=result.message)
            elif isinstance(result, BaseException):
                raise result
        return all_ended

    async def _finish(self, handle: Handle, grace_s: float) -> None:
        await self._runtime.stop(handle, grace_s)
        self._edges.logs.drop_run(handle.instance, handle.run)

    def _bench(self) -> Bench:
        return Bench(
            worker=self.name,
            backends=self._backends,
            accelerators=self._accelerators,
            devices=self.survey.devices,
            cpu_count=self.survey.inventory.cpu_count,
            installations=tuple(self.survey.installations),
            tunnels=self._tunnels.ports_of,
        )

    def _proxy_key(self) -> str:
        identity = self.membership.identity
        return "" if identity is None else identity.proxy_key

    def _picture(self) -> Picture:
        return Picture(
            worker=self.name,
            address=self._teller.address,
            inventory=self.survey.inventory,
            usage=self.survey.usage,
            processes=tuple(self.board.processes.values()),
            traffic=self.traffic.count,
            now_epoch=self._clock.now(),
        )

    def _assignments(self) -> Mapping[str, Assignment]:
        wanted = () if self._desired is None else self._desired.instances
        return {assignment.instance: assignment for assignment in wanted}


def _broken(action: Work, error: Exception) -> Event:
    """The event that ends an action which failed in a way nobody foresaw."""
    reason = Reason("launch_failed", {"detail": repr(error)})
    if isinstance(action, Start):
        return NotStarted(action, reason)
    if isinstance(action, Stop):
        return NotStopped(action)
    if isinstance(action, Check):
        return Checked(action)
    return Looked(action, FileSeen())
