"""One inference request on its way: which model, which instance, there and back.

    Call: body ─▶ model ─▶ route ─▶ pick ─▶ worker ─▶ client
                             ▲        │ connection refused, nothing sent yet:
                             └────────┘ another instance, or wait for the only one

Plain calls from beginning to end; the one task there is waits for a worker's agent that is being
restarted. A request that an upstream may have begun to work on is not repeated, but for one case:
the agent under it went away before a byte came back, once.
"""

from dataclasses import dataclass

from aimindserve.core.errors import AimsError, UnavailableError, UpstreamError
from aimindserve.gateway.ask import ask_form, ask_json, model_in
from aimindserve.gateway.config import BodyLimits
from aimindserve.gateway.endpoints import BodyKind
from aimindserve.gateway.meter import Meter, Tally, count
from aimindserve.gateway.pick import pick
from aimindserve.gateway.refusals import no_instance
from aimindserve.gateway.replies import error_reply, last_event
from aimindserve.gateway.table import Route, RoutingTable, Target
from aimindserve.gateway.tries import Tries
from aimindserve.gateway.usage import read_usage, usage_of
from aimindserve.gateway.visit import Visit
from aimindserve.kit.clock import Clock
from aimindserve.kit.log import get_logger
from aimindserve.kit.tasks import TaskSupervisor
from aimindserve.wire.errors import Failure, UpstreamFailedError, WireError
from aimindserve.wire.server import Request
from aimindserve.wire.tap import Tap
from aimindserve.wire.upstream import Head, Pool, Relay, RelayRules, Upload

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

_UNSEEN = frozenset({Failure.CONNECT, Failure.BUSY})
"""Failures after which no upstream can have seen the request."""
_WORKER_SAYS = frozenset({401, 404, 503})
"""Answers of a worker that its engine has not seen the request: our key is not known, the instance
is not here (any more), or is not ready (any more)."""
_SOURCE = b"x-aims-error-source"
_JSON = BodyKind.JSON


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


class Call:
    """One inference request. Answers it, whatever happens."""

    __slots__ = (
        "_body",
        "_first",
        "_proxy",
        "_request",
        "_request_id",
        "_route",
        "_status",
        "_stream",
        "_tally",
        "_tap",
        "_target",
        "_tries",
        "_visit",
    )

    def __init__(self, proxy: Proxy, request: Request, visit: Visit, request_id: bytes) -> None:
        self._proxy = proxy
        self._request = request
        self._visit = visit
        self._request_id = request_id
        self._body: bytes | None = None
        self._first = b""
        self._status = 0
        self._route: Route | None = None
        self._target: Target | None = None
        self._tally: Tally | None = None
        self._tap: Tap | None = None
        self._stream = False
        self._tries: Tries | None = None

    def start(self) -> None:
        """Begin. Raises AimsError for what the head tells, or the body that came with it; all
        later errors become answers."""
        body, bodies = self._request.body, self._proxy.bodies
        if self._visit.endpoint.body is not _JSON:
            ask_form(body, self._request.index.get(b"content-type", b""), bodies, self)
        elif body.complete and body.size <= bodies.json_bytes:
            data = body.take()
            self.asked(model_in(data), data, b"")
        else:
            ask_json(body, bodies.json_bytes, self)

    # From the model to a request under way

    def asked(self, model: object, body: bytes | None, first: bytes) -> None:
        """The body was read far enough to know the model (Asker)."""
        proxy = self._proxy
        try:
            route, tally = self._visit.find(model, proxy.table, proxy.meter)
        except AimsError as error:
            self.refuse(error)
            return
        self._route = route
        self._body = body
        self._first = first
        self._tally = tally
        tally.requests += 1
        self._send(route, Relay(self._request, proxy.pool, self, RULES))

    def _send(self, route: Route, relay: Relay) -> None:
        proxy, body, tries = self._proxy, self._body, self._tries
        target = route.only
        if target is None or tries is not None:
            proxy.turn += 1
            tried = frozenset[str]() if tries is None else tries.tried
            target = pick(route, proxy.meter.in_flight, proxy.turn, tried)
        if target is None:
            self._no_target(route, relay)
            return
        self._target = target
        proxy.meter.begin(target.instance)
        if body is not None:
            head = self._visit.onward(target, self._request_id, len(body))
            relay.send(target.origin, head, body)
            return
        coming = self._request.body
        head = self._visit.onward(target, self._request_id, coming.length)
        exchange = relay.send(target.origin, head, None)
        chunked = coming.length is None
        Upload(exchange, coming, self._upload_broke, chunked=chunked, first=self._first)

    def _upload_broke(self, error: WireError) -> None:
        """The client's body ended early; its connection answers for itself."""
        log.debug("upload.broke", error=str(error))
        self._release()

    # Another try: only while no upstream can have seen the request

    def _no_target(self, route: Route, relay: Relay) -> None:
        proxy, tries = self._proxy, self._tries
        if tries is None or not tries.tried:
            self.refuse(no_instance(route))
            return
        pause_s = tries.next_pause_s(proxy.clock.monotonic(), proxy.retry_window_s)
        if pause_s is not None:
            later = self._retry_later(route.name, relay, tries, pause_s)
            tries.waiting = proxy.tasks.spawn(later, name="gateway.retry")
            return
        self.refuse(
            UnavailableError(
                f"No worker that serves {route.name!r} takes requests at the moment.",
                hint="Try again soon; see: aimindserve workers",
            )
        )

    async def _retry_later(self, name: str, relay: Relay, tries: Tries, pause_s: float) -> None:
        await self._proxy.clock.sleep(pause_s)
        tries.waiting = None
        tries.tried = frozenset()
        route = self._proxy.table.routes.get(name, self._route)
        if route is not None and not self._request.ended:
            self._route = route
            self._send(route, relay)

    # What the relay tells (Owner)

    def relay_head(self, head: Head) -> int | None:
        index, status = head.index, head.status
        self._status = status
        worker_says = status in _WORKER_SAYS and index.get(_SOURCE) == b"worker"
        if worker_says and self._declined(status):
            return None
        if index.get(b"content-type", b"").startswith(b"text/event-stream"):
            self._stream = True
            return 0
        return self._proxy.bodies.held_answer_bytes

    def _declined(self, status: int) -> bool:
        """The worker itself answered, not the engine. Whether that is not for the client."""
        target, route = self._target, self._route
        if status == 401:
            self._release()
            self.refuse(_KEY_REFUSED)
            return True
        if target is None or route is None or self._body is None:
            return False
        self._release()
        self._try_another(target, route)
        return True

    def _try_another(self, target: Target, route: Route) -> None:
        self._proxy.meter.retries += 1
        tries = self._tries = self._tries or Tries()
        tries.tried |= {target.instance}
        self._send(route, Relay(self._request, self._proxy.pool, self, RULES))

    def relay_data(self, data: bytes) -> None:
        tap = self._tap
        if tap is None:
            tap = self._tap = Tap()
        tap.feed(data)

    def relay_done(self, last: bytes) -> None:
        self._release()
        tally, tap = self._tally, self._tap
        if tally is None:
            return
        if self._status >= 300:
            tally.failures += self._status >= 500
        elif tap is None:
            count(tally, usage_of(last))
        else:
            tap.feed(last)
            count(tally, read_usage(tap))

    def relay_cancelled(self) -> None:
        self._release()
        if self._tally is not None:
            self._tally.cancelled += 1
        if self._tries is not None and self._tries.waiting is not None:
            self._tries.waiting.cancel()

    def relay_failed(self, error: UpstreamFailedError) -> None:
        target, route = self._target, self._route
        self._release()
        self._proxy.meter.failed(error.kind.value)
        log.warning("upstream.failed", kind=error.kind.value, detail=error.detail)
        if self._request.started:
            self._break_off(error)
        elif target is None or route is None or not self._may_repeat(error.kind):
            self.refuse(UpstreamError(f"The worker did not answer properly: {error.detail}."))
        else:
            self._try_another(target, route)

    def _may_repeat(self, kind: Failure) -> bool:
        """Whether the request may be sent again: nobody saw it, or, once, the worker's agent went
        away under it. An engine that dies is told by its agent and not repeated: the same request
        could end the next one too."""
        if kind in _UNSEEN:
            return True
        tries = self._tries = self._tries or Tries()
        again = kind is Failure.LOST and self._body is not None and not tries.repeated
        tries.repeated = tries.repeated or again
        return again

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
        end = last_event(why, request.path, self._request_id)
        request.send(gap + end, True)

    def refuse(self, error: AimsError) -> None:
        """Answer with `error` (Asker)."""
        request = self._request
        if self._tally is not None and error.status >= 500:
            self._tally.failures += 1
        if not request.started and not request.ended:
            request.reply(error_reply(error, request.path, self._request_id))

    def _release(self) -> None:
        target, self._target = self._target, None
        if target is not None:
            self._proxy.meter.end(target.instance)


_KEY_REFUSED = UpstreamError(
    "The worker did not accept the gateway's key.",
    hint="This passes when the worker has registered again.",
)
