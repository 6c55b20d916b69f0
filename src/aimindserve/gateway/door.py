"""The front door: looks at a request's head and decides who answers it.

/healthz /readyz /version   here, without credential
OPTIONS (preflight)         here, when CORS is on
/v1/…  /v1-openai/…         inference: a Call (models: from the table)
everything else             the control plane
"""

from collections.abc import Callable, Coroutine
from typing import Any

from aimindserve import __version__
from aimindserve.core.errors import (
    AimsError,
    MethodError,
    NotFoundError,
    ThrottledError,
    UnauthenticatedError,
)
from aimindserve.gateway.admit import Doorkeeper, carries_credential
from aimindserve.gateway.cors import Cors
from aimindserve.gateway.endpoints import ENDPOINTS
from aimindserve.gateway.listing import answer_models
from aimindserve.gateway.misses import Misses
from aimindserve.gateway.portal import Portal
from aimindserve.gateway.proxy import Call, Proxy
from aimindserve.gateway.replies import error_reply, is_inference, json_reply
from aimindserve.gateway.request_ids import RequestIds
from aimindserve.gateway.table import Principal, RoutingTable
from aimindserve.gateway.visit import Visit
from aimindserve.wire.server import Reply, Request

_MODELS = ("/v1/models", "/v1-openai/models")
SECOND_LOOK_S = 0.5
SECOND_LOOK_TICK_S = 0.02
SECOND_LOOKS_MAX = 64
"""Requests with an unknown credential that may wait at the same time; further ones are refused."""
Readiness = Callable[[], str]
"""Why the gateway is not ready, as a sentence; empty when it is."""


class Door:
    """The handler of the gateway's server."""

    def __init__(
        self,
        proxy: Proxy,
        portal: Portal,
        keeper: Doorkeeper,
        cors: Cors,
        readiness: Readiness,
        ids: RequestIds,
    ) -> None:
        self._proxy = proxy
        self._portal = portal
        self._keeper = keeper
        self._cors = cors
        self._clock = proxy.clock
        self._open = {
            "/healthz": lambda: json_reply({"status": "ok"}),
            "/version": lambda: json_reply({"version": __version__}),
            "/readyz": lambda: _readyz(readiness()),
        }
        self._ids = ids
        self._looking = 0
        self._misses = Misses(proxy.clock)

    def __call__(self, request: Request) -> Coroutine[Any, Any, None] | None:
        """Answer `request`, or return the coroutine that does."""
        request_id = self._ids.give(request)
        if self._cors.enabled and b"origin" in request.index and self._cors.answer(request):
            return None
        try:
            return self._answer(request, request_id)
        except UnauthenticatedError as error:
            self._not_known(request, error, request_id)
        except AimsError as error:
            _refuse(request, error, request_id)
        return None

    def _answer(self, request: Request, request_id: bytes) -> Coroutine[Any, Any, None] | None:
        head, proxy = request.head, self._proxy
        visit = head.note
        if not (isinstance(visit, Visit) and visit.holds(proxy.table)):
            endpoint = ENDPOINTS.get(head.path)
            if endpoint is None:
                return self._others(request, request_id)
            principal = self._keeper.admit(request, proxy.table, self._clock)
            _only(request, "POST")
            visit = head.note = Visit(head, endpoint, principal, self._keeper.key_hash(request))
        Call(proxy, request, visit, request_id).start()
        return None

    def _not_known(self, request: Request, error: UnauthenticatedError, request_id: bytes) -> None:
        """Refuse, but for a credential that deserves a second look."""
        if carries_credential(request):
            try:
                self._misses.add(request.peer)
            except ThrottledError as throttled:
                _refuse(request, throttled, request_id)
                return
            if self._looking < SECOND_LOOKS_MAX:
                later = self._second_look(request, request_id)
                self._proxy.tasks.spawn(later, name="gateway.second_look")
                return
        _refuse(request, error, request_id)

    async def _second_look(self, request: Request, request_id: bytes) -> None:
        """A key that was made a moment ago may still be on its way into the table. For all others
        the pause slows down whoever guesses."""
        self._looking += 1
        try:
            if await self._until_known(request):
                self._misses.take_back(request.peer)
            if not request.ended:
                self._answer(request, request_id)
        except AimsError as error:
            _refuse(request, error, request_id)
        finally:
            self._looking -= 1

    async def _until_known(self, request: Request) -> bool:
        table, until = self._proxy.table, self._clock.monotonic() + SECOND_LOOK_S
        while not request.ended and self._clock.monotonic() < until:
            await self._clock.sleep(SECOND_LOOK_TICK_S)
            if self._proxy.table is not table:
                table = self._proxy.table
                if self._keeper.knows(request, table, self._clock):
                    return True
        return False

    def _others(self, request: Request, request_id: bytes) -> Coroutine[Any, Any, None] | None:
        path, table = request.path, self._proxy.table
        if is_inference(path):
            _list_models(request, table, self._keeper.admit(request, table, self._clock))
        elif path in self._open:
            _only(request, "GET", "HEAD")
            request.reply(self._open[path]())
        else:
            return self._portal.carry(request, request_id)
        return None


def _refuse(request: Request, error: AimsError, request_id: bytes) -> None:
    if not request.started:
        request.reply(error_reply(error, request.path, request_id))


def _list_models(request: Request, table: RoutingTable, principal: Principal) -> None:
    path = request.path
    if not (path in _MODELS or path.startswith(tuple(f"{each}/" for each in _MODELS))):
        prefix = path[: path.find("/", 1) + 1]
        known = [f"{prefix}models", *(each for each in ENDPOINTS if each.startswith(prefix))]
        raise NotFoundError(f"There is no {path[:100]}.", hint=f"There are: {', '.join(known)}.")
    _only(request, "GET", "HEAD")
    request.reply(answer_models(path, table, principal))


def _only(request: Request, *methods: str) -> None:
    if request.method not in methods:
        allow = ", ".join(methods)
        raise MethodError(
            f"{request.path} does not take {request.method}.",
            hint=f"Use {allow}.",
            params={"allow": allow},
        )


def _readyz(why_not: str) -> Reply:
    if why_not:
        return json_reply({"status": "not ready", "reason": why_not}, 503)
    return json_reply({"status": "ready"})
