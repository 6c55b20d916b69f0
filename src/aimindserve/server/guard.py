"""Nobody passes without being known and allowed: before routing, before any body is read.

    path in canonical form? ─▶ operation declared? ─▶ who is it? ─▶ may they? ─▶ the application

Pure ASGI, so that a request that is refused costs a few dictionary look-ups and nothing of it is
parsed. A path that was not declared answers 401 to strangers: they cannot map the API.
"""

from collections.abc import Mapping
from typing import Any

from starlette.types import ASGIApp, Receive, Scope, Send

from aimindserve.core.errors import MethodError, UnauthenticatedError
from aimindserve.server.auth import policy
from aimindserve.server.auth.origin import is_trusted_localhost, require_own_pages
from aimindserve.server.auth.principals import (
    Carrier,
    Principal,
    PrincipalKind,
    extract,
    headers_of,
    refused,
)
from aimindserve.server.errors import no_such_path
from aimindserve.server.operations import Audience, Operation, Table
from aimindserve.server.services import Services
from aimindserve.server.web import Site

CLIENT_MAX = 64
NOTHING: tuple[Operation | None, Mapping[str, str]] = (None, {})


class Guard:
    """The ASGI application around the routes."""

    def __init__(self, app: ASGIApp, table: Table, services: Services, site: Site) -> None:
        self._app = app
        self._table = table
        self._services = services
        self._site = site

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let the request through, or raise what the frame turns into an answer."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        path, method = scope["path"], scope["method"]
        canonical = is_canonical(scope)
        operation, values = self._table.find(method, path) if canonical else NOTHING
        if operation is not None and operation.audience is Audience.PUBLIC:
            await self._app(scope, receive, send)
            return
        if operation is None and canonical and self._site.serves(method, path):
            await self._site(scope, receive, send)
            return
        joins = operation is not None and operation.audience is Audience.JOIN
        identify = self._joining if joins else self._authenticate
        principal = await identify(method, scope["headers"])
        if principal is None:
            raise policy.no_credential()
        scope["aims.principal"] = principal
        if operation is None:
            raise self._nothing_there(principal, path if canonical else "")
        self._admit(principal, operation, values)
        await self._app(scope, receive, send)

    def _admit(self, principal: Principal, operation: Operation, values: Mapping[str, str]) -> None:
        policy.enter(principal, operation.audience, values.get("name"))

    def _nothing_there(self, principal: Principal, path: str) -> Exception:
        # Whoever reaches nothing at all learns nothing about what exists, either.
        policy.enter(principal, _everywhere(principal), principal.name)
        allowed = self._table.methods(path) if path else ()
        if allowed:
            return MethodError(
                f"{path} takes {', '.join(allowed)}.", params={"allowed": list(allowed)}
            )
        return no_such_path(path or "that path")

    async def _joining(self, method: str, raw: Any) -> Principal | None:
        """As `_authenticate`, for a machine that wants to become a worker: a wrong credential is a
        wrong join token, and an address that tries many has to wait."""
        throttle = self._services.throttle
        client = headers_of(raw).get("x-aims-client", "")[:CLIENT_MAX]
        throttle.admit_join(client)
        try:
            return await self._authenticate(method, raw)
        except UnauthenticatedError as error:
            throttle.wrong_join(client)
            raise policy.wrong_join_token() from error

    async def _authenticate(self, method: str, raw: Any) -> Principal | None:
        headers = headers_of(raw)
        config = self._services.parts.config
        credential = extract(raw)
        if credential is None:
            trusted = config.trust_localhost and is_trusted_localhost(method, headers)
            return self._services.verifier.localhost() if trusted else None
        if credential.carrier is Carrier.BEARER:
            return self._services.verifier.bearer(credential.secret)
        if credential.carrier is Carrier.API_KEY:
            return self._services.verifier.api_key(credential.secret)
        principal = await self._session(credential.secret)
        require_own_pages(method, headers, config.trusted_origins)
        return principal

    async def _session(self, token: str) -> Principal:
        session = self._services.sessions.find(token)
        if session is None:
            raise refused("The session has ended.")
        user = self._services.verifier.user(session.spec.user)
        await self._services.sessions.touch(session)
        return Principal(
            PrincipalKind.USER,
            user.name,
            role=user.spec.role,
            session=session.name,
            must_change_password=user.spec.must_change_password,
        )


def _everywhere(principal: Principal) -> Audience:
    """The audience that this kind of party belongs to anyway."""
    if principal.kind is PrincipalKind.WORKER:
        return Audience.WORKER
    return Audience.JOIN if principal.kind is PrincipalKind.JOIN else Audience.MEMBER


def is_canonical(scope: Scope) -> bool:
    """Whether the path is written the one way we accept: no escapes, no empty or dot segments, no
    parameters. Names need no escapes, so nobody honest is refused."""
    raw: bytes = scope.get("raw_path") or scope["path"].encode()
    raw = raw.split(b"?", 1)[0]
    if not raw.startswith(b"/") or any(mark in raw for mark in (b"%", b";", b"\\", b"//")):
        return False
    return not any(word in {b".", b".."} for word in raw.split(b"/")) and raw.isascii()
