"""Where the connections of an instance's first process come in, on each of its other workers.

    GET /tunnel/<instance>                         204: its process here is ready; 503: not yet
    GET /tunnel/<instance>, upgrade: aims-tunnel   101: bytes go to the process and back

Whoever asks must present the secret of the placement, which the server gave to its workers alone; a
gateway's key opens nothing here, and this secret opens nothing else. The other side is `tunnels`.
"""

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from aimindserve.core.errors import UnauthenticatedError, UnavailableError
from aimindserve.core.launch import Assignment
from aimindserve.kit.clock import Clock
from aimindserve.kit.log import get_logger
from aimindserve.kit.secrets import same
from aimindserve.wire.request import Request
from aimindserve.wire.splice import End, splice
from aimindserve.worker.observed import Health, Process, belongs
from aimindserve.worker.traffic import Traffic
from aimindserve.worker.tunnels import CONNECTIONS_MAX, LOOPBACK, PROTOCOL

log = get_logger("worker.tunnel")

PREFIX = "/tunnel/"
CONNECT_S = 3.0
QUIET_S = 3.0


@dataclass(frozen=True, slots=True)
class DoorParts:
    """What the door works with."""

    assignments: Callable[[], Mapping[str, Assignment]]
    """What is wanted here now, by instance."""
    processes: Callable[[], Mapping[str, Process]]
    trouble: Callable[[str], str]
    """Why an instance's process is not ready, as the server is told it; empty: nothing to tell."""
    suspect: Callable[[str], None]
    """Tells that the process with this token ended a connection, or took none."""
    traffic: Traffic
    clock: Clock


class Watch:
    """Whether anything has been moving on a connection of late. Whoever computes for an answer says
    something with every token; who says nothing for so long only keeps the connection."""

    def __init__(self, clock: Clock, asking: End) -> None:
        self._clock = clock
        self._asking = asking
        self._seen = 0
        self._since = clock.monotonic()

    def busy(self) -> bool:
        """As far as is known from one question to the next."""
        now = self._clock.monotonic()
        if self._asking.taken != self._seen:
            self._seen, self._since = self._asking.taken, now
        return now - self._since < QUIET_S


class Door:
    """Lets connections in."""

    def __init__(self, parts: DoorParts) -> None:
        self._parts = parts
        self._open: dict[str, dict[End, None]] = {}
        """Instance -> connections that go on."""

    async def handle(self, request: Request) -> None:
        """One request for `/tunnel/…`. Raises AimsError for what must not or cannot be."""
        assignment = self._admit(request)
        process = self._process(assignment)
        if request.header(b"upgrade") != PROTOCOL:
            request.respond(204)
            return
        ends = self._open.setdefault(assignment.instance, {})
        if len(ends) >= 2 * CONNECTIONS_MAX:
            raise UnavailableError(f"{assignment.instance} has {len(ends) // 2} connections here.")
        await self._join(request, process, ends)

    def close(self) -> None:
        """End every connection."""
        for ends in list(self._open.values()):
            for end in list(ends):
                end.close()

    def _admit(self, request: Request) -> Assignment:
        """The assignment whose secret was presented. A name nobody knows and a wrong secret are
        answered alike: who has no secret learns nothing."""
        assignment = self._parts.assignments().get(request.path.removeprefix(PREFIX))
        given = [value for name, value in request.headers if name == b"authorization"]
        presented = given[0].decode("latin-1") if len(given) == 1 else ""
        secret = "" if assignment is None else assignment.tunnel_secret
        # The first worker has the secret too, and nobody comes to it.
        known = assignment is not None and not assignment.peers
        if not same(presented, f"Bearer {secret}") or not secret or not known:
            raise UnauthenticatedError("The secret of this placement is missing or wrong.")
        assert assignment is not None  # noqa: S101 - `known` says so
        return assignment

    def _process(self, assignment: Assignment) -> Process:
        for process in self._parts.processes().values():
            free = not process.stopping and process.gone is None
            if belongs(process, assignment) and free and _is_well(process):
                return process
        trouble = self._parts.trouble(assignment.instance)
        raise UnavailableError(trouble or f"The process of {assignment.instance} is not ready.")

    async def _join(self, request: Request, process: Process, ends: dict[End, None]) -> None:
        token, traffic = process.token, self._parts.traffic

        def closed(end: End) -> None:
            ends.pop(end, None)
            traffic.leave(token, watch.busy)

        def ended(end: End) -> None:
            if not end.closing and not far.ended:
                self._parts.suspect(token)

        far = End(lambda end: ends.pop(end, None))
        watch = Watch(self._parts.clock, far)
        loop = asyncio.get_running_loop()
        try:
            _, near = await asyncio.wait_for(
                loop.create_connection(lambda: End(closed, ended), LOOPBACK, process.handle.port),
                CONNECT_S,
            )
        except (OSError, asyncio.TimeoutError) as error:
            self._parts.suspect(token)
            raise UnavailableError("The process takes no connection right now.") from error
        traffic.join(token, watch.busy)
        ends[near] = ends[far] = None
        if not request.switch(PROTOCOL, far):
            ends.pop(far)
            near.close(at_once=True)
            request.abort()
            return
        splice(near, far)
        log.debug("tunnel.joined", instance=process.handle.instance, peer=request.peer)


def _is_well(process: Process) -> bool:
    """Whether it is ready beyond doubt: suspected ones were not looked at since, and one missed
    check may be the first of a process that is just ending."""
    known = process.checked is not None and not process.misses
    return known and process.health is Health.READY
