"""Carrying out one action: the only place where a decision becomes I/O. Each ends in one event."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from aimindserve.core.errors import AimsError
from aimindserve.core.launch import Assignment
from aimindserve.core.reason import Reason
from aimindserve.core.report import FileObservation, FileState
from aimindserve.kit.clock import Clock
from aimindserve.kit.log import get_logger
from aimindserve.kit.secrets import new_secret
from aimindserve.runtimes.base import Exited, Handle, RunPlace, Runtime
from aimindserve.worker import classify
from aimindserve.worker.board import (
    Board,
    Checked,
    Event,
    Looked,
    NotStarted,
    NotStopped,
    Started,
    Stopped,
)
from aimindserve.worker.decide import Check, Start, Stop, Work
from aimindserve.worker.edges import Edges
from aimindserve.worker.launch import Bench, Launch, first_rank, prepare
from aimindserve.worker.life import Answer
from aimindserve.worker.observed import Health, Process
from aimindserve.worker.own_words import Reported, reported

log = get_logger("worker")

DRAIN_S = 30.0
"""How long answers under way may take when their engine is no longer wanted here."""
DRAIN_POLL_S = 0.1
REPORT_LINES = 4000
"""An engine tells what it allocates while it loads, and may talk a lot before it is ready."""


@dataclass(frozen=True, slots=True)
class Means:
    """What a performer works with."""

    edges: Edges
    runtime: Runtime
    board: Board
    bench: Callable[[], Bench]
    assignments: Callable[[], Mapping[str, Assignment]]
    """What is wanted now, by instance: to mask what users put into an engine's environment."""
    worker: Callable[[], str]
    oom_kills: Callable[[], int]
    """How many processes this system has killed for memory so far."""
    busy: Callable[[str], int]
    """Requests that the engine with this token is answering."""
    clock: Clock


class Performer:
    """Does what was decided."""

    def __init__(self, means: Means) -> None:
        self._means = means
        self._edges = means.edges
        self._runtime = means.runtime
        self._ooms: dict[str, int] = {}

    async def perform(self, action: Work) -> Event:
        """Carry out `action`. Expected failures are events; anything else is raised."""
        if isinstance(action, Start):
            return await self._start(action)
        if isinstance(action, Stop):
            return await self._stop(action)
        if isinstance(action, Check):
            return await self._check(action)
        worker = self._means.worker()
        before = self._means.board.files.get(action.model)
        return Looked(action, await self._edges.files.look(worker, action.model, before))

    async def _start(self, action: Start) -> Event:
        wanted = action.assignment
        bench = self._means.bench()
        whom = classify.Whom(bench.worker, wanted.instance)
        place = self._place(action, bench)
        try:
            launch = prepare(wanted, self._file(wanted), action.port, place, bench)
            handle = await self._runtime.start(launch.spec, place)
        except AimsError as error:
            self._edges.logs.drop_run(wanted.instance, action.run)
            reason = classify.refusal(error, wanted.backend, whom)
            log.warning("engine.refused", instance=wanted.instance, reason=reason.code)
            return NotStarted(action, reason)
        self._ooms[handle.token] = self._means.oom_kills()
        self._say_started(action, handle, launch)
        return Started(action, handle, launch.probe, launch.spec.stop_grace_s)

    def _place(self, action: Start, bench: Bench) -> RunPlace:
        wanted = action.assignment
        run_dir, log_path = self._edges.logs.place(wanted.instance, action.run)
        return RunPlace(
            instance=wanted.instance,
            instance_id=wanted.instance_id,
            placement_id=wanted.placement.id,
            rank=first_rank(wanted, bench.worker),
            run=action.run,
            run_dir=run_dir,
            log_path=log_path,
            secret=new_secret(),
            home_dir=self._edges.logs.home(wanted.instance),
        )

    def _file(self, wanted: Assignment) -> FileObservation:
        seen = self._means.board.files.get(wanted.model)
        return FileObservation(FileState.MISSING) if seen is None else seen.observation

    def _say_started(self, action: Start, handle: Handle, launch: Launch) -> None:
        log.info(
            "engine.started",
            instance=handle.instance,
            backend=action.assignment.backend,
            pid=handle.pid,
            port=handle.port,
            run=handle.run,
            program=launch.spec.argv[0] if launch.spec.argv else "",
        )

    async def _stop(self, action: Stop) -> Event:
        handle = action.process.handle
        if action.failure is None and action.grace_s > 0:
            await self._drain(handle)
        try:
            await self._runtime.stop(handle, action.grace_s)
        except AimsError as error:
            log.error("engine.not_stopped", instance=handle.instance, error=error.message)
            return NotStopped(action)
        failure = action.failure
        if failure is not None and not failure.evidence:
            failure = replace(failure, evidence=classify.evidence(await self._last_lines(handle)))
        self._edges.logs.drop_run(handle.instance, handle.run)
        self._ooms.pop(handle.token, None)
        code = failure.code if failure is not None else "not wanted"
        log.info("engine.stopped", instance=handle.instance, pid=handle.pid, because=code)
        return Stopped(action, failure)

    async def _drain(self, handle: Handle) -> None:
        """Let answers under way finish: nobody sends new requests to a stopping engine."""
        clock = self._means.clock
        deadline = clock.monotonic() + DRAIN_S
        while self._means.busy(handle.token) and clock.monotonic() < deadline:
            await clock.sleep(DRAIN_POLL_S)

    async def _check(self, action: Check) -> Event:
        process = action.process
        handle = process.handle
        alive = await self._runtime.observe(handle)
        if isinstance(alive, Exited):
            return Checked(action, gone=await self._ended(handle, alive))
        confirm = process.health is not Health.READY
        answer: Answer = await self._edges.prober.ask(handle, process.probe, confirm=confirm)
        return Checked(
            action,
            answer=answer,
            log_bytes=self._edges.logs.size(handle.log_path),
            alive=alive,
            reported=await self._reported(process, answer),
        )

    async def _reported(self, process: Process, answer: Answer) -> Reported | None:
        """What the engine says of its memory, read once, when it has loaded."""
        if answer is not Answer.READY or process.reported is not None:
            return None
        head = await self._edges.logs.first_lines(process.handle.log_path, REPORT_LINES)
        return reported(head)

    async def _ended(self, handle: Handle, exit_: Exited) -> Reason:
        lines = await self._last_lines(handle, classify.LINES_READ)
        whom = classify.Whom(self._means.worker(), handle.instance, self._devices(handle))
        before = self._ooms.get(handle.token)
        kills = 0 if before is None else self._means.oom_kills() - before
        reason = classify.ended(exit_, lines, whom, oom_kills=kills)
        log.warning(
            "engine.ended",
            instance=handle.instance,
            pid=handle.pid,
            run=handle.run,
            reason=reason.code,
            status=classify.status(exit_),
        )
        return reason

    def _devices(self, handle: Handle) -> tuple[str, ...]:
        """The devices here that the placement of this very process claims."""
        wanted = self._means.assignments().get(handle.instance)
        if wanted is None or wanted.placement.id != handle.placement_id:
            return ()
        here = (rank for rank in wanted.placement.ranks if rank.worker == self._means.worker())
        return tuple(dict.fromkeys(str(claim.device) for rank in here for claim in rank.claims))

    async def _last_lines(self, handle: Handle, count: int = classify.EVIDENCE_LINES) -> list[str]:
        lines = await self._edges.logs.last_lines(handle.log_path, count)
        secrets = [handle.secret]
        wanted = self._means.assignments().get(handle.instance)
        if wanted is not None:
            secrets.extend(value for _, value in wanted.options.env)
        return [classify.masked(line, secrets) for line in lines]
