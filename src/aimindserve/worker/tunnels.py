"""The way from an instance's first process to those that it has on other workers.

    rank 0 ─▶ loopback port of ours ═▶ agent of the other worker (:10150, upgrade) ─▶ its process
                                        secret of this placement                      on loopback

Engines listen on loopback only, and what some of them speak among each other (llama.cpp's RPC)
knows no password; so the agents carry it, and every connection is let in by a secret that the
server gave to the workers of this one placement. This is the first worker's side; the other one is
`tunnel_door`.

A span is one such way: it has its port as long as the placement is wanted or its process lives, and
rank 0 does not start before every span of it leads to a process that is ready.
"""

import asyncio
import json
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, cast

from aimindserve.core.launch import Assignment, Peer
from aimindserve.core.reason import Reason
from aimindserve.kit.clock import Clock
from aimindserve.kit.log import get_logger
from aimindserve.kit.tasks import TaskSupervisor
from aimindserve.wire.dial import Knock, NotSwitchedError, ask, dial
from aimindserve.wire.origin import Origin
from aimindserve.wire.splice import End, splice
from aimindserve.worker.alarm import Alarm

log = get_logger("worker.tunnel")

PROTOCOL = b"aims-tunnel"
LOOPBACK = "127.0.0.1"
CONNECT_S = 5.0
ASK_S = 5.0
CLOSED_POLL_S = 0.5
"""How often is asked whether the other side is ready; as long as it is, every `OPEN_POLL_S`."""
OPEN_POLL_S = 5.0
CONNECTIONS_MAX = 4
"""Of one span at a time. llama.cpp has one; it may open the next before the last has ended."""

Place = tuple[str, str]
"""(instance, placement id)."""


@dataclass(frozen=True, slots=True)
class Ways:
    """What tunnels work with."""

    ports: tuple[int, int]
    """Inclusive; on loopback."""
    clock: Clock
    tasks: TaskSupervisor
    changed: Callable[[], None]
    """Called when an instance that waited may start, or must wait."""
    lost: Callable[[str, str, str], None]
    """(instance, placement id, worker): the other side ended a connection of rank 0."""


@dataclass(slots=True, eq=False)
class Span:
    """The way to one other worker of one placement."""

    instance: str
    placement: str
    peer: Peer
    secret: str = field(repr=False)
    bell: Alarm = field(repr=False)
    """Rung when what is known of the other side may be wrong."""
    port: int = 0
    reason: Reason | None = None
    """Why nothing starts yet; None when the other side is ready."""
    ends: "dict[End, None]" = field(default_factory=dict["End", None])
    listener: asyncio.Server | None = None
    task: "asyncio.Task[None] | None" = None

    @property
    def origin(self) -> Origin:
        return Origin(self.peer.host, self.peer.port)

    @property
    def knock(self) -> Knock:
        return Knock(f"/tunnel/{self.instance}", PROTOCOL, self.secret)

    def closed(self, detail: str) -> Reason:
        params = {"peer": self.peer.worker, "name": self.instance, "detail": detail}
        return Reason("rank_waiting", params)


class Tunnels:
    """All spans of the instances that this worker leads."""

    def __init__(self, ways: Ways) -> None:
        self._ways = ways
        self._spans: dict[Place, dict[str, Span]] = {}

    def want(self, led: Sequence[Assignment], alive: Collection[Place]) -> None:
        """Have a span to every peer of the instances in `led`, and of others only while their
        process is `alive`: answers under way still need it."""
        wanted = {(each.instance, each.placement.id): each for each in led}
        for place in [each for each in self._spans if each not in wanted and each not in alive]:
            for span in self._spans.pop(place).values():
                self._close(span)
        for place, assignment in wanted.items():
            spans = self._spans.setdefault(place, {})
            for peer in assignment.peers:
                known = spans.get(peer.worker)
                if known is None:
                    spans[peer.worker] = self._open(assignment, peer)
                    if place in alive:  # an agent before this one carried what it said
                        self._ways.lost(*place, peer.worker)
                else:
                    known.peer, known.secret = peer, assignment.tunnel_secret

    def ports_of(self, assignment: Assignment) -> tuple[tuple[str, int], ...]:
        """(worker, port on loopback), in the order of the ranks."""
        spans = self._spans.get((assignment.instance, assignment.placement.id), {})
        return tuple((span.peer.worker, span.port) for span in spans.values() if span.port)

    def held(self) -> Mapping[str, Reason]:
        """Instance -> why its first process must not be started now."""
        return {
            instance: span.reason
            for (instance, _), spans in self._spans.items()
            for span in reversed(spans.values())
            if span.reason is not None
        }

    def close(self) -> None:
        """Let go of everything."""
        for spans in self._spans.values():
            for span in spans.values():
                self._close(span)
        self._spans.clear()

    def _open(self, assignment: Assignment, peer: Peer) -> Span:
        ways = self._ways
        span = Span(
            instance=assignment.instance,
            placement=assignment.placement.id,
            peer=peer,
            secret=assignment.tunnel_secret,
            bell=Alarm(ways.clock, ways.tasks, "worker.tunnel"),
        )
        span.reason = span.closed("it has not been asked yet")
        span.task = ways.tasks.keep_running(lambda: self._keep(span), name="worker.tunnel")
        return span

    def _close(self, span: Span) -> None:
        if span.task is not None:
            span.task.cancel()
        if span.listener is not None:
            span.listener.close()
        for end in list(span.ends):
            end.close()
        log.info("tunnel.closed", instance=span.instance, worker=span.peer.worker)

    async def _keep(self, span: Span) -> None:
        """Listen, then ask again and again whether the other side is ready."""
        while span.listener is None:
            await self._listen(span)
            if span.listener is None:
                await self._ways.clock.sleep(CLOSED_POLL_S)
        log.info("tunnel.open", instance=span.instance, worker=span.peer.worker, port=span.port)
        while True:
            span.bell.quiet()
            self._learn(span, await _state(span))
            await span.bell.wait(CLOSED_POLL_S if span.reason else OPEN_POLL_S)

    async def _listen(self, span: Span) -> None:
        first, last = self._ways.ports
        used = {one.port for spans in self._spans.values() for one in spans.values()}
        loop = asyncio.get_running_loop()
        for port in range(first, last + 1):
            if port in used:
                continue
            span.port = port
            try:
                span.listener = await loop.create_server(
                    lambda: self._accept(span), LOOPBACK, port, backlog=CONNECTIONS_MAX
                )
            except OSError:
                continue
            return
        span.port = 0
        detail = f"no port of {first}-{last} is free here (--rpc-server-port-range)"
        self._learn(span, span.closed(detail))

    def _doubt(self, span: Span, detail: str) -> None:
        """Nothing is started until the other side has been asked again."""
        self._learn(span, span.closed(detail))
        span.bell.ring()

    def _learn(self, span: Span, reason: Reason | None) -> None:
        if span.reason != reason:
            span.reason = reason
            self._ways.changed()

    def _accept(self, span: Span) -> End:
        """A connection of rank 0."""
        near = End(lambda end: span.ends.pop(end, None))
        if len(span.ends) >= 2 * CONNECTIONS_MAX:
            log.warning("tunnel.busy", instance=span.instance, worker=span.peer.worker)
            self._ways.tasks.spawn(_refuse(near), name="worker.tunnel.refuse")
            return near
        span.ends[near] = None
        self._ways.tasks.spawn(self._carry(span, near), name="worker.tunnel.dial")
        return near

    async def _carry(self, span: Span, near: End) -> None:
        far = End(
            on_close=lambda end: span.ends.pop(end, None),
            on_end=lambda end: self._ended(span, near, end),
        )
        try:
            await asyncio.wait_for(dial(span.origin, span.knock, far), CONNECT_S)
        except (OSError, asyncio.TimeoutError, NotSwitchedError) as error:
            log.warning(
                "tunnel.refused",
                instance=span.instance,
                worker=span.peer.worker,
                error=_told(error),
            )
            near.close(at_once=True)
            self._doubt(span, _told(error))
            return
        span.ends[far] = None
        splice(near, far)

    def _ended(self, span: Span, near: End, far: End) -> None:
        """The other side ended. It may have been asked to by rank 0, or by us."""
        if not far.closing and not near.ended:
            log.warning("tunnel.lost", instance=span.instance, worker=span.peer.worker)
            self._doubt(span, "its process ended a connection")
            self._ways.lost(span.instance, span.placement, span.peer.worker)


async def _refuse(near: End) -> None:
    near.close(at_once=True)


async def _state(span: Span) -> Reason | None:
    """None when the process of the other worker is ready, else why it is not."""
    if not span.peer.port:
        return span.closed("it has not said where it listens")
    try:
        status, body = await asyncio.wait_for(ask(span.origin, span.knock), ASK_S)
    except (OSError, asyncio.TimeoutError) as error:
        return span.closed(f"{span.origin} does not answer: {_told(error)}")
    return None if status == 204 else span.closed(_sentence(status, body))


def _sentence(status: int, body: bytes) -> str:
    """What the other agent said, in its own words."""
    try:
        document: Any = json.loads(body)
    except ValueError:
        document = None
    said: Any = None
    if isinstance(document, dict):
        error: Any = cast("dict[str, Any]", document).get("error")
        if isinstance(error, dict):
            said = cast("dict[str, Any]", error).get("message")
    return str(said or f"its agent answered {status}").rstrip(".")[:300]


def _told(error: BaseException) -> str:
    if isinstance(error, NotSwitchedError):
        return _sentence(error.status, error.body)
    return str(error) or type(error).__name__
