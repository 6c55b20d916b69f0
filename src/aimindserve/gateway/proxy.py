"""One inference request on its way: which model, which instance, there and back.

    Call: body ─▶ model ─▶ route ─▶ pick ─▶ worker ─▶ client
                             ▲        │ connection refused, nothing sent yet:
                             └────────┘ another instance, or wait for the only one

Plain calls from beginning to end; the one task there is waits for a worker's agent that is being
restarted. An upstream that may have begun to work is never asked twice.
"""

import asyncio
from dataclasses import dataclass

from aimindserve.core.errors import AimsError, UnavailableError, UpstreamError
from aimindserve.gateway.admit import Card
from aimindserve.gateway.ask import Ask, ask_form, ask_json
from aimindserve.gateway.config import BodyLimits
from aimindserve.gateway.endpoints import BodyKind, Endpoint
from aimindserve.gateway.meter import Meter, Tally, count
from aimindserve.gateway.pick import pick
from aimindserve.gateway.refusals import find_route, no_instance
from aimindserve.gateway.replies import error_reply, last_event
from aimindserve.gateway.table import Principal, Route, RoutingTable, Target
from aimindserve.gateway.usage import read_usage
from aimindserve.kit.clock import Clock
from aimindserve.kit.log import get_logger
from aimindserve.kit.tasks import TaskSupervisor
from aimindserve.wire.errors import Failure, UpstreamFailedError, WireError
from aimindserve.wire.headers import Field
from aimindserve.wire.server import Request
from aimindserve.wire.tap import Tap
from aimindserve.wire.upstream import Origin, Outgoing, Pool, Relay, RelayRules, Upload

log = get_logger("gateway")

RULES = RelayRules(
    frozenset(
        {
            b"set-cookie",
            b"server",
            b"x-request-id",
            b"access-control-allow-origin",
            b"access-control-allow-credentials",
            b"access-control-allow-methods",
            b"access-control-allow-headers",
            b"access-control-expose-headers",
            b"access-control-max-age",
        }
    )
)
"""An engine's cookies, its name and its opinion on who may read it stay inside."""

_FIRST_PAUSE_S = 0.1
_LONGEST_PAUSE_S = 1.0
_UNSEEN = frozenset({Failure.CONNECT, Failure.BUSY})
"""Failures after which no upstream can have seen the request."""
_NONE_TRIED = frozenset[str]()


@dataclass(slots=True)
class Proxy:
    """What all calls of one gateway share. `table` is swapped by the sync."""

    pool: Pool
    meter: Meter
    clock: Clock
    tasks: TaskSupervisor
    bodies: BodyLimits
    retry_window_s: float
    table: RoutingTable
    turn: int = 0


@dataclass(frozen=True, slots=True)
class Caller:
    """Who calls, and what of the request's head goes on to the worker."""

    principal: Principal
    card: Card
    request_id: str


class Call:
    """One inference request. Answers it, whatever happens."""

    __slots__ = (
        "_ask",
        "_caller",
        "_deadline",
        "_endpoint",
        "_pause_s",
        "_proxy",
        "_relay",
        "_request",
        "_route",
        "_stream",
        "_tally",
        "_tap",
        "_target",
        "_tried",
        "_waiting",
    )

    def __init__(self, proxy: Proxy, request: Request, endpoint: Endpoint, caller: Caller) -> None:
        self._proxy = proxy
        self._request = request
        self._endpoint = endpoint
        self._caller = caller
        self._ask: Ask | None = None
        self._route: Route | None = None
        self._target: Target | None = None
        self._tally: Tally | None = None
        self._relay: Relay | None = None
        self._tap: Tap | None = None
        self._stream = False
        self._tried = _NONE_TRIED
        self._deadline: float | None = None
        self._pause_s = _FIRST_PAUSE_S
        self._waiting: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin. Raises AimsError for what the head tells; all later errors become answers."""
        body, bodies = self._request.body, self._proxy.bodies
        if self._endpoint.body is BodyKind.JSON:
            ask_json(body, bodies, self._asked, self._refuse)
        else:
            ask_form(body, self._caller.card.content_type, bodies, self._asked, self._refuse)

    # From the model to a request under way

    def _asked(self, ask: Ask) -> None:
        proxy, principal = self._proxy, self._caller.principal
        try:
            route = find_route(ask.model, self._endpoint, proxy.table.routes, principal)
        except AimsError as error:
            self._refuse(error)
            return
        self._ask = ask
        self._tally = proxy.meter.tally(principal.name, route.name)
        self._tally.requests += 1
        self._relay = Relay(self._request, proxy.pool, self, RULES)
        self._send(route, ask, self._relay)

    def _send(self, route: Route, ask: Ask, relay: Relay) -> None:
        proxy = self._proxy
        self._route = route
        proxy.turn += 1
        target = pick(route, proxy.meter.in_flight, proxy.turn, self._tried)
        if target is None:
            self._no_target(route)
            return
        self._target = target
        proxy.meter.begin(target.instance)
        body = self._request.body
        length = len(ask.body) if ask.body is not None else body.length
        outgoing = Outgoing(self._head(target, length), ask.body)
        exchange = relay.send(Origin(target.host, target.port), outgoing)
        if ask.body is None:
            chunked = length is None
            Upload(exchange, body, self._upload_broke, chunked=chunked, first=ask.first)

    def _head(self, target: Target, length: int | None) -> bytes:
        card, query, line = self._caller.card, self._request.query, self._endpoint.line
        if query:
            line = f"POST {self._endpoint.path}?{query} HTTP/1.1\r\n".encode("ascii")
        return b"%b%bx-request-id: %b\r\ncontent-type: %b\r\n%b%b\r\n" % (
            line,
            target.head,
            self._caller.request_id.encode(),
            card.content_type or b"application/json",
            b"accept: %b\r\n" % card.accept if card.accept else b"",
            b"transfer-encoding: chunked\r\n"
            if length is None
            else b"content-length: %d\r\n" % length,
        )

    def _upload_broke(self, error: WireError) -> None:
        """The client's body ended early; its connection answers for itself."""
        log.debug("upload.broke", error=str(error))
        self._release()

    # Another try: only while no upstream can have seen the request

    def _no_target(self, route: Route) -> None:
        if not self._tried:
            self._refuse(no_instance(route))
            return
        now = self._proxy.clock.monotonic()
        if self._deadline is None:
            self._deadline = now + self._proxy.retry_window_s
        if now + self._pause_s <= self._deadline:
            self._waiting = self._proxy.tasks.spawn(self._retry_later(), name="gateway.retry")
            return
        self._refuse(
            UnavailableError(
                f"The workers that serve {route.name!r} refuse connections.",
                hint="Try again soon; see: aimindserve workers",
            )
        )

    async def _retry_later(self) -> None:
        pause_s, self._pause_s = self._pause_s, min(self._pause_s * 2, _LONGEST_PAUSE_S)
        await self._proxy.clock.sleep(pause_s)
        self._waiting = None
        self._tried = _NONE_TRIED
        route, ask, relay = self._route, self._ask, self._relay
        if route is not None and ask is not None and relay is not None and not self._request.ended:
            self._send(self._proxy.table.routes.get(route.name, route), ask, relay)

    # What the relay tells

    def relay_head(self, status: int, headers: list[Field]) -> int | None:
        for name, value in headers:
            lower = name.lower()
            if lower == b"content-type":
                self._stream = value.startswith(b"text/event-stream")
            elif status == 401 and lower == b"x-aims-error-source" and value == b"worker":
                self._release()
                self._refuse(_KEY_REFUSED)
                return None
        if status < 300:
            self._tap = Tap()
        elif status >= 500 and self._tally is not None:
            self._tally.failures += 1
        return 0 if self._stream else self._proxy.bodies.held_answer_bytes

    def relay_data(self, data: bytes) -> None:
        if self._tap is not None:
            self._tap.feed(data)

    def relay_done(self) -> None:
        self._release()
        if self._tap is not None and self._tally is not None:
            count(self._tally, read_usage(self._tap))

    def relay_cancelled(self) -> None:
        self._release()
        if self._tally is not None:
            self._tally.cancelled += 1
        if self._waiting is not None:
            self._waiting.cancel()

    def relay_failed(self, error: UpstreamFailedError) -> None:
        target, route, ask, relay = self._target, self._route, self._ask, self._relay
        self._release()
        self._proxy.meter.failed(error.kind.value)
        log.warning("upstream.failed", kind=error.kind.value, detail=error.detail)
        if self._request.started:
            self._break_off(error)
        elif error.kind not in _UNSEEN or not (target and route and ask and relay):
            self._refuse(UpstreamError(f"The worker did not answer properly: {error.detail}."))
        else:
            self._proxy.meter.retries += 1
            self._tried |= {target.instance}
            self._send(route, ask, relay)

    def _break_off(self, error: UpstreamFailedError) -> None:
        """The client has part of the answer already: say so if that can be said, then close."""
        request, tap = self._request, self._tap
        if self._tally is not None:
            self._tally.failures += 1
        if not (self._stream and request.open_ended):
            request.abort()
            return
        why = UpstreamError(f"The answer broke off: {error.detail}.")
        gap = b"" if tap is None or tap.ends_with(b"\n\n") else b"\n\n"
        request.keep_alive = False
        end = last_event(why, request.path, self._caller.request_id)
        request.send(gap + end, ended=True)

    def _refuse(self, error: AimsError) -> None:
        request = self._request
        if self._tally is not None and error.status >= 500:
            self._tally.failures += 1
        if not request.started and not request.ended:
            request.reply(error_reply(error, request.path, self._caller.request_id))

    def _release(self) -> None:
        target, self._target = self._target, None
        if target is not None:
            self._proxy.meter.end(target.instance)


_KEY_REFUSED = UpstreamError(
    "The worker did not accept the gateway's key.",
    hint="This passes when the worker has registered again.",
)
