"""The outermost layer: a request id, security headers, and an answer whatever happens inside.

What the guard refuses becomes a problem document here; what nobody expected becomes `internal`,
with its trace in the log and nothing of it in the answer.
"""

import re
from collections.abc import Callable

from starlette.datastructures import MutableHeaders
from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from aimindserve.core.errors import AimsError
from aimindserve.kit.log import get_logger
from aimindserve.kit.secrets import new_id
from aimindserve.server.errors import internal, render

log = get_logger("server")

REQUEST_ID = re.compile(r"^[A-Za-z0-9._-]{1,64}\Z")

CSP_API = "default-src 'none'; frame-ancestors 'none'"
HSTS = "max-age=31536000"


class Frame:
    """The ASGI application the HTTP server talks to."""

    def __init__(self, app: ASGIApp, ids: Callable[[], str] = new_id) -> None:
        self._app = app
        self._ids = ids

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer the request, always."""
        if scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1008})
            return
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request_id, secure = _read(scope, self._ids)
        scope["aims.request_id"] = request_id
        started = False

        async def send_framed(message: Message) -> None:
            nonlocal started
            if message["type"] == "http.response.start":
                started = True
                _add_headers(message, request_id, scope["path"], secure=secure)
            await send(message)

        request = Request(scope)
        try:
            await self._app(scope, receive, send_framed)
        except AimsError as error:
            if not started:
                await render(request, error)(scope, receive, send_framed)
        except Exception as error:
            # Supervision point: the last one to see a defect.
            log.error("request.crashed", path=scope["path"], request_id=request_id, exc_info=error)
            if not started:
                await render(request, internal())(scope, receive, send_framed)


def _read(scope: Scope, ids: Callable[[], str]) -> tuple[str, bool]:
    found, secure = "", False
    for name, value in scope["headers"]:
        if name == b"x-request-id" and not found:
            text = value.decode("latin-1")
            found = text if REQUEST_ID.match(text) else ""
        elif name == b"x-aims-scheme":
            secure = value == b"https"
    return found or ids(), secure


def _add_headers(message: Message, request_id: str, path: str, *, secure: bool) -> None:
    headers = MutableHeaders(scope=message)
    headers["x-request-id"] = request_id
    headers["x-content-type-options"] = "nosniff"
    headers["referrer-policy"] = "no-referrer"
    headers["x-frame-options"] = "DENY"
    headers["cross-origin-resource-policy"] = "same-origin"
    headers.setdefault("content-security-policy", CSP_API)
    if path.startswith("/api/"):
        headers.setdefault("cache-control", "no-store")
    if secure:
        headers["strict-transport-security"] = HSTS
