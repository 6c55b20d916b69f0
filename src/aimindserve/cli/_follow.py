"""Following the logs of several instances at once, over outages of their workers and of the server.

    roster ──(looks again and again)──▶ one follower per instance ──▶ Seam ──▶ show
       │                                   ▲ asks again after an outage
       └── lost: the silent stream is dropped

A stream that broke is asked for again with some of its past, and the Seam finds where it was left:
nothing is shown twice, and what was written meanwhile is not missed.
"""

from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import anyio
from anyio.abc import TaskGroup

from aimindserve.cli._columns import at
from aimindserve.client.objects import AnyObject, LogQuery
from aimindserve.core.errors import (
    AimsError,
    InternalError,
    NotFoundError,
    ThrottledError,
    UnavailableError,
    UpstreamError,
)

if TYPE_CHECKING:
    from aimindserve.client.aio import AsyncClient

PAUSE_FIRST_S = 0.5
PAUSE_MAX_S = 5.0
LOOK_S = 2.0
SETTLE_S = 1.0
"""By then the past has come; what is held back is shown."""
REMEMBERED = 50
PAST = 1000
"""How many lines of an outage are made up for."""
CUT = "[cut here: "
"""With this, behind an empty line, the server ends a log whose worker left in the middle of it."""
_OUTAGES = (UnavailableError, UpstreamError, InternalError, ThrottledError)


@dataclass(frozen=True, slots=True)
class Following:
    """What to follow, and whom to tell."""

    query: LogQuery
    deployment: str
    """Whose instances are meant, those that join too; empty when only the given ones are."""
    show: Callable[[str, str], None]
    """(instance, line)"""
    note: Callable[..., None]
    """(key of a text, its parameters)"""

    @property
    def grows(self) -> bool:
        """Whether instances may join: a run that was named is of those that are there."""
        return bool(self.deployment) and not self.query.run


def follow(
    connect: "Callable[[], AsyncClient]", found: Sequence[AnyObject], what: Following
) -> None:
    """Follow the logs of `found` and of what joins them, until there is nobody left to follow.

    Raises the first error that waiting does not mend, such as UnauthenticatedError.
    """
    followers = _Followers(connect, what)
    anyio.run(followers.run, found)
    if followers.failure is not None:
        raise followers.failure


class Seam:
    """Joins a log that is asked for again to what was shown of it. Pure.

    After `begin` lines are held back until the last ones that were shown come by; `give_up` says
    that they never will (another run, or too long ago), and that all is new.
    """

    def __init__(self) -> None:
        self._shown: deque[str] = deque(maxlen=REMEMBERED)
        self._held: list[str] | None = None

    @property
    def begun(self) -> bool:
        """Whether anything was shown yet."""
        return bool(self._shown)

    @property
    def holds(self) -> bool:
        """Whether lines are held back."""
        return self._held is not None

    def begin(self) -> None:
        """The log is sent again, from some way back."""
        self._held = [] if self._shown else None

    def feed(self, line: str) -> Sequence[str]:
        """The lines to show, now that `line` has come."""
        if self._held is None:
            self._shown.append(line)
            return [line]
        self._held.append(line)
        if line == self._shown[-1] and self._held[-len(self._shown) :] == list(self._shown):
            self._held = None
            return []
        return self.give_up() if len(self._held) >= PAST else []

    def give_up(self) -> Sequence[str]:
        """The lines held back, which are all new."""
        lines, self._held = self._held or [], None
        if lines:
            self._shown.clear()
            self._shown.extend(lines)
        return lines


@dataclass(slots=True)
class _One:
    """An instance that is followed."""

    name: str
    worker: str
    seam: Seam = field(default_factory=Seam)
    scope: anyio.CancelScope = field(default_factory=anyio.CancelScope)
    """Of the present stream."""
    opened: int = 0
    lost: bool = False
    silent: bool = False
    """Whether it was told that there is no log yet."""


class _Followers:
    """The followers of one command."""

    def __init__(self, connect: "Callable[[], AsyncClient]", what: Following) -> None:
        self._connect = connect
        self._what = what
        self._known: dict[str, _One] = {}
        self._away: set[str] = set()
        self.failure: Exception | None = None

    async def run(self, found: Sequence[AnyObject]) -> None:
        async with self._connect() as client, anyio.create_task_group() as group:
            for each in found:
                self._take(client, group, each)
            group.start_soon(self._guarded, group, self._roster, client, group)

    async def _guarded(
        self, group: TaskGroup, work: Callable[..., Awaitable[None]], *parts: object
    ) -> None:
        """A task group would wrap the error that ends it: it is kept aside instead."""
        try:
            await work(*parts)
        except (AimsError, OSError) as error:
            self.failure = self.failure or error
            group.cancel_scope.cancel()

    def _take(self, client: "AsyncClient", group: TaskGroup, found: AnyObject) -> None:
        one = _One(found.name, worker_of(found), lost=found.phase == "lost")
        self._known[one.name] = one
        group.start_soon(self._guarded, group, self._follow, client, group, one)

    async def _roster(self, client: "AsyncClient", group: TaskGroup) -> None:
        """Take in new instances, and drop streams of lost ones: those say nothing for ever."""
        while self._known or await self._expected(client):
            await anyio.sleep(LOOK_S)
            try:
                found = [each async for each in client.instances.all()]
            except _OUTAGES:
                continue
            for each in found:
                if each.name in self._known:
                    self._look_at(self._known[each.name], each)
                elif (
                    self._what.grows
                    and at(each.document, "spec.deployment") == self._what.deployment
                ):
                    self._take(client, group, each)
        group.cancel_scope.cancel()

    def _look_at(self, one: _One, found: AnyObject) -> None:
        lost = found.phase == "lost"
        if lost and not one.lost:
            one.scope.cancel()
        one.worker, one.lost = worker_of(found) or one.worker, lost

    async def _expected(self, client: "AsyncClient") -> bool:
        """Whether instances may still come."""
        if not self._what.grows:
            return False
        try:
            await client.deployments.get(self._what.deployment)
        except NotFoundError:
            return False
        except _OUTAGES:
            return True
        return True

    async def _follow(self, client: "AsyncClient", group: TaskGroup, one: _One) -> None:
        pause_s = PAUSE_FIRST_S
        while True:
            try:
                came = await self._read(client, group, one)
                pause_s = PAUSE_FIRST_S if came else pause_s
                if self._what.query.run:
                    break
            except NotFoundError as error:
                if error.params.get("kind") == "instance":
                    self._what.note("logs_gone", name=one.name)
                    break
                if self._what.query.run:
                    raise
                if not one.silent:
                    one.silent = True
                    self._what.note("logs_not_yet", name=one.name)
            except _OUTAGES as error:
                self._miss(str(error.params.get("server") or one.worker or one.name))
            await anyio.sleep(pause_s)
            pause_s = min(pause_s * 2, PAUSE_MAX_S)
        del self._known[one.name]

    async def _read(self, client: "AsyncClient", group: TaskGroup, one: _One) -> bool:
        """Show what comes until the stream ends; whether anything came that was new."""
        query, came = self._what.query, False
        one.seam.begin()
        one.opened += 1
        if one.seam.begun:
            query = replace(query, tail=PAST)
        with anyio.CancelScope() as one.scope:
            first = True
            async for line in whole(client.logs(one.name, query)):
                if first:
                    first = False
                    self._meet(one, client.server_url)
                    group.start_soon(self._guarded, group, self._settle, one, one.opened)
                came = self._print(one, one.seam.feed(line)) or came
        return self._print(one, one.seam.give_up()) or came

    async def _settle(self, one: _One, opened: int) -> None:
        await anyio.sleep(SETTLE_S)
        if one.opened == opened and one.seam.holds:
            self._print(one, one.seam.give_up())

    def _print(self, one: _One, lines: Sequence[str]) -> bool:
        for line in lines:
            self._what.show(one.name, line)
        return bool(lines)

    def _miss(self, who: str) -> None:
        if who not in self._away:
            self._away.add(who)
            self._what.note("logs_away", who=who)

    def _meet(self, one: _One, server: str) -> None:
        one.silent = False
        for who in (server, one.worker):
            if who in self._away:
                self._away.discard(who)
                self._what.note("logs_back", who=who)


async def whole(lines: AsyncIterator[str]) -> AsyncIterator[str]:
    """The lines of a log without what the server says at the end of one that broke."""
    blank = False
    async for line in lines:
        if line.startswith(CUT):
            return
        if blank:
            yield ""
        blank = not line
        if line:
            yield line
    if blank:
        yield ""


def worker_of(found: AnyObject) -> str:
    """Where an instance was placed; empty while it was not."""
    return str(at(found.document, "status.placement.ranks.0.worker") or "")
