"""Telling the server: the whole picture, at once when something that matters changed, and else as
often as the server asked for."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, replace
from platform import python_version

import anyio

from aimindserve import __version__
from aimindserve.core.errors import AimsError, NotFoundError, UnauthenticatedError
from aimindserve.core.launch import DesiredSet
from aimindserve.core.report import InstanceObservation, Presence, Report, WorkerObservation
from aimindserve.kit.clock import Clock
from aimindserve.kit.log import get_logger
from aimindserve.worker import told
from aimindserve.worker.alarm import Alarm
from aimindserve.worker.backoff import Backoff
from aimindserve.worker.board import Board
from aimindserve.worker.config import WorkerConfig
from aimindserve.worker.link import Identity, ServerLink
from aimindserve.worker.membership import Membership
from aimindserve.worker.observed import Moment, Observed
from aimindserve.worker.survey import Survey

log = get_logger("worker")

INTERVAL_S = 10.0
TOGETHER_S = 0.02
"""Changes this close together go into one report."""
FAREWELL_S = 2.0
"""How long each of the last two reports may take: without a server the end must not wait for it."""


@dataclass(frozen=True, slots=True)
class Telling:
    """What a report is made of, and who hears it."""

    config: WorkerConfig
    link: ServerLink
    clock: Clock
    membership: Membership
    board: Board
    survey: Survey
    jitter: Callable[[], float]
    address: Callable[[], str]
    """Under which the server reaches this worker."""
    offered: Callable[[], tuple[tuple[str, tuple[str, ...]], ...]]
    """Engines that can be started here, with their versions."""


class Teller:
    """Makes reports and sends them."""

    def __init__(self, means: Telling, bell: Alarm) -> None:
        self._means = means
        self._bell = bell
        self._desired: DesiredSet | None = None
        self._before: dict[str, InstanceObservation] = {}
        self._seen: tuple[told.Instances, told.Files] = ((), ())
        self._sent: tuple[told.Instances, told.Files] | None = None
        self._presence = Presence.HERE
        self._turn = asyncio.Lock()
        """One report at a time: an older one that arrives last would be believed."""
        self._port = means.config.port
        self._metrics_port = means.config.metrics_port if means.config.metrics else 0

    @property
    def address(self) -> str:
        """Under which the server reaches this worker."""
        return self._means.address()

    def ports(self, port: int, metrics_port: int) -> None:
        """Where the worker really listens; 0 for no metrics."""
        self._port, self._metrics_port = port, metrics_port

    def trouble(self, instance: str) -> str:
        """Why an instance does not run here, as was told last; empty when there is nothing."""
        seen = self._before.get(instance)
        return "" if seen is None or seen.reason is None else seen.reason.message

    def look(self, desired: DesiredSet | None, around: Observed | None = None) -> None:
        """Something may have changed; report at once if the server must know. `around`: what was
        known a moment ago besides what is on the board, if somebody looked."""
        means = self._means
        now = Moment(means.clock.monotonic(), means.clock.now())
        around = around or Observed()
        observed = replace(
            means.board.snapshot(), taken=around.taken, held=around.held, worker=around.worker
        )
        name = means.membership.identity.name if means.membership.identity else means.config.name
        own = told.instances(name, desired, observed, self._before, now)
        changed_set = desired is not self._desired
        self._desired = desired
        self._before = dict(own)
        self._seen = (own, told.files(desired, observed))
        if changed_set or told.essence(self._seen) != self._sent:
            self._bell.ring()

    async def run(self) -> None:
        """Report until the agent leaves."""
        means = self._means
        pauses = Backoff(means.jitter)
        while self._presence is Presence.HERE:
            identity = await means.membership.join()
            try:
                pause_s = await self._send(identity)
                pauses.reset()
            except (UnauthenticatedError, NotFoundError):
                await means.membership.rejoin(identity)
                pause_s = pauses.next_s()
            except AimsError as error:
                log.warning("report.failed", error=error.message)
                await means.clock.sleep(pauses.next_s())
                continue
            await self._bell.wait(pause_s)
            await means.clock.sleep(TOGETHER_S)

    async def leave(self) -> None:
        """The agent is about to end and takes its engines along: say so, if the server listens.
        Once it knows, nobody is sent to them any more."""
        self._presence = Presence.LEAVING
        self._seen = (told.ending(tuple(self._before.items())), self._seen[1])
        await self._last_words()

    async def left(self) -> None:
        """Every engine has ended: say so, if the server listens. The last report of this life."""
        self._presence = Presence.LEFT
        self._seen = ((), self._seen[1])
        await self._last_words()

    async def _last_words(self) -> None:
        identity = self._means.membership.identity
        if identity is None or not self._means.survey.done:
            return  # it ends before it has said anything
        with anyio.move_on_after(FAREWELL_S):
            try:
                await self._send(identity)
            except AimsError as error:
                log.info("report.failed", error=error.message)

    async def _send(self, identity: Identity) -> float:
        async with self._turn:
            self._bell.quiet()
            seen = self._seen
            self._sent = told.essence(seen)
            try:
                ack = await self._means.link.report(identity, self._report(seen))
            except BaseException:
                self._sent = None
                raise
        return ack.interval_s if ack.interval_s > 0 else INTERVAL_S

    def _report(self, seen: tuple[told.Instances, told.Files]) -> Report:
        means = self._means
        config = means.config
        return Report(
            desired_revision=0 if self._desired is None else self._desired.revision,
            worker=WorkerObservation(
                version=__version__,
                host=means.address(),
                port=self._port,
                metrics_port=self._metrics_port,
                inventory=means.survey.inventory,
                usage=means.survey.usage,
                reserved=config.reserved,
                service_ports=config.service_port_range,
                python=python_version(),
                backends=means.offered(),
                presence=self._presence,
            ),
            instances=seen[0],
            files=seen[1],
        )
