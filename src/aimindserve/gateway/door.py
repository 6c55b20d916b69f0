"""The front door: looks at a request's head and decides who answers it.

/healthz /readyz /version   here, without credential
OPTIONS (preflight)         here, when CORS is on
/v1/…  /v1-openai/…         inference: a Call (models: from the table)
everything else             the control plane
"""

import itertools
import re
from collections.abc import Callable, Coroutine
from typing import Any

from aimindserve import __version__
from aimindserve.core.errors import AimsError, MethodError, NotFoundError
from aimindserve.gateway.admit import Card, Doorkeeper, read_card
from aimindserve.gateway.cors import Cors
from aimindserve.gateway.endpoints import ENDPOINTS
from aimindserve.gateway.listing import answer_models
from aimindserve.gateway.portal import Portal
from aimindserve.gateway.proxy import Call, Caller, Proxy
from aimindserve.gateway.replies import error_reply, is_inference, json_reply
from aimindserve.kit.clock import Clock
from aimindserve.kit.secrets import new_id
from aimindserve.wire.server import Reply, Request

_REQUEST_ID = re.compile(rb"[A-Za-z0-9._-]{1,64}")
_MODELS = ("/v1/models", "/v1-openai/models")
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
        clock: Clock,
        readiness: Readiness,
    ) -> None:
        self._proxy = proxy
        self._portal = portal
        self._keeper = keeper
        self._cors = cors
        self._clock = clock
        self._open = {
            "/healthz": lambda: json_reply({"status": "ok"}),
            "/version": lambda: json_reply({"version": __version__}),
            "/readyz": lambda: _readyz(readiness()),
        }
        self._id_prefix = new_id()
        self._ids = itertools.count(1)

    def __call__(self, request: Request) -> Coroutine[Any, Any, None] | None:
        """Answer `request`, or return the coroutine that does."""
        path = request.path
        card = read_card(request.headers)
        request_id = self._request_id(card.request_id)
        request.extra = b"x-request-id: %b\r\n" % request_id.encode()
        if card.origin and self._cors.enabled:
            request.extra += self._cors.fields(card.origin)
            preflight = self._cors.preflight(request, card.origin)
            if preflight is not None:
                request.reply(preflight)
                return None
        try:
            if path in ENDPOINTS or is_inference(path):
                self._infer(request, card, request_id)
                return None
            if path in self._open:
                _only(request, "GET", "HEAD")
                request.reply(self._open[path]())
                return None
        except AimsError as error:
            if not request.started:
                request.reply(error_reply(error, path, request_id))
            return None
        return self._portal.carry(request, card, request_id)

    def _infer(self, request: Request, card: Card, request_id: str) -> None:
        proxy, path = self._proxy, request.path
        principal = self._keeper.admit(card, request.peer, proxy.table, self._clock.now())
        endpoint = ENDPOINTS.get(path)
        if endpoint is not None:
            _only(request, "POST")
            Call(proxy, request, endpoint, Caller(principal, card, request_id)).start()
        elif path.startswith(_MODELS):
            _only(request, "GET", "HEAD")
            request.reply(answer_models(path, proxy.table, principal))
        else:
            raise NotFoundError(
                f"There is no {path[:100]}.",
                hint=f"There are: {', '.join(path for path in ENDPOINTS if path[:4] == '/v1/')}.",
            )

    def _request_id(self, given: bytes) -> str:
        if given and _REQUEST_ID.fullmatch(given):
            return given.decode()
        return f"{self._id_prefix}-{next(self._ids):x}"


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
