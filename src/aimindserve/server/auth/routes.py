"""Signing in and out, who am I, another password."""

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import anyio.to_thread
import pydantic
from fastapi import Request
from starlette.responses import Response

from aimindserve.core.errors import AimsError, ForbiddenError, InvalidError
from aimindserve.resources._kind import AnyResource
from aimindserve.server.answers import answer, empty
from aimindserve.server.audit import client_of
from aimindserve.server.auth.bootstrap import forget_initial_password
from aimindserve.server.auth.origin import require_no_foreign_page
from aimindserve.server.auth.passwords import LENGTH_MAX, check_new
from aimindserve.server.auth.principals import COOKIE, PrincipalKind, cookies, headers_of, refused
from aimindserve.server.auth.sessions import ABSOLUTE_S
from aimindserve.server.body import read_model
from aimindserve.server.objects import User, find_user
from aimindserve.server.operations import Audience, Operation
from aimindserve.server.services import Services, principal_of

TAG = "sign-in"


class Login(pydantic.BaseModel):
    """Who signs in."""

    model_config = pydantic.ConfigDict(extra="forbid", frozen=True)

    username: str = pydantic.Field(min_length=1, max_length=63)
    password: str = pydantic.Field(min_length=1, max_length=LENGTH_MAX)


class PasswordChange(pydantic.BaseModel):
    """One's own next password."""

    model_config = pydantic.ConfigDict(extra="forbid", frozen=True)

    current_password: str = pydantic.Field(min_length=1, max_length=LENGTH_MAX)
    new_password: str = pydantic.Field(min_length=1, max_length=LENGTH_MAX)


def operations(services: Services) -> Iterable[Operation]:
    """The routes under /api/v1/auth."""
    routes = AuthRoutes(services)
    yield Operation(
        "POST", "/api/v1/auth/login", routes.login, Audience.PUBLIC,
        "login", "Sign in with a password", TAG, request="Login", response="Me",
    )  # fmt: skip
    yield Operation(
        "POST", "/api/v1/auth/logout", routes.logout, Audience.SELF,
        "logout", "End the session", TAG, 204,
    )  # fmt: skip
    yield Operation(
        "GET", "/api/v1/auth/me", routes.me, Audience.SELF,
        "me", "Who the server takes the caller for", TAG, response="Me",
    )  # fmt: skip
    yield Operation(
        "POST", "/api/v1/auth/password", routes.password, Audience.SELF,
        "change_password", "Change one's own password", TAG,
        request="PasswordChange", response="Me",
    )  # fmt: skip


class AuthRoutes:
    """What people do with their password."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._store = services.parts.store

    async def login(self, request: Request) -> Response:
        """Answers with who signed in and sets the session cookie; an earlier session of the same
        browser ends."""
        headers = headers_of(request.scope["headers"])
        require_no_foreign_page(headers, self._services.parts.config.trusted_origins)
        wish = await read_model(request, Login)
        try:
            user = await self._check(wish.username, wish.password, client_of(request))
        except AimsError as error:
            self._services.audit.note(request, "login", ("user", wish.username), outcome=error.code)
            raise
        for token in cookies(headers.get("cookie", "")):
            earlier = self._services.sessions.find(token)
            if earlier is not None:
                await self._services.sessions.end(earlier.name)
        token = await self._services.sessions.start(user.name)
        self._services.audit.note(request, "login", ("user", user.name))
        response = answer(_me(user, PrincipalKind.USER))
        self._set_cookie(request, response, token)
        return response

    async def logout(self, request: Request) -> Response:
        """The session's cookie is worth nothing from now on."""
        principal = principal_of(request)
        if principal.session:
            await self._services.sessions.end(principal.session)
            self._services.audit.note(request, "logout", ("user", principal.name))
        response = empty()
        response.delete_cookie(COOKIE, path="/", httponly=True, samesite="lax")
        return response

    async def me(self, request: Request) -> Response:
        """Name, role, and with what one is signed in."""
        principal = principal_of(request)
        user = find_user(self._store, principal.name)
        if user is None or principal.kind is PrincipalKind.LOCALHOST:
            shown = {
                "name": principal.name,
                "role": None if principal.role is None else principal.role.value,
                "full_name": "",
                "must_change_password": False,
                "signed_in_with": principal.kind.value,
                "key": "",
            }
            return answer(shown)
        return answer(_me(user, principal.kind, principal.key))

    async def password(self, request: Request) -> Response:
        """A new password for oneself; every other session ends and this one gets a new cookie."""
        principal = principal_of(request)
        if principal.kind is not PrincipalKind.USER:
            raise ForbiddenError(
                "A password is changed by whoever signed in with it.",
                hint="Sign in first: POST /api/v1/auth/login",
            )
        wish = await read_model(request, PasswordChange)
        user = await self._check(
            principal.name, wish.current_password, client_of(request), wrong=_wrong_current
        )
        if wish.new_password == wish.current_password:
            raise InvalidError(
                "The new password is the old one.", params={"fields": ["new_password"]}
            )
        check_new(wish.new_password, user.name)
        await self._store_password(user.name, wish.new_password)
        await self._services.sessions.end_all(user.name)
        token = await self._services.sessions.start(user.name)
        data_dir = self._services.parts.config.data_dir
        await anyio.to_thread.run_sync(forget_initial_password, data_dir, user.name)
        self._services.audit.note(request, "change_password", ("user", user.name))
        response = answer(_me(self._services.verifier.user(user.name), PrincipalKind.USER))
        self._set_cookie(request, response, token)
        return response

    async def _check(self, name: str, password: str, client: str, wrong: Any = None) -> User:
        """The user, if the password is right; a right one of a disabled user is wrong too."""
        throttle = self._services.throttle
        throttle.admit(name, client)
        user = find_user(self._store, name)
        known = None if user is None or user.spec.disabled else user.spec.password_hash
        kept = await self._services.passwords.verify(known or None, password)
        if kept is None or user is None:
            raise wrong() if wrong is not None else refused("The user name or password is wrong.")
        throttle.succeeded(name, client)
        if kept != user.spec.password_hash:
            await self._keep_hash(name, user.spec.password_hash, kept)
        return user

    async def _keep_hash(self, name: str, old: str, new: str) -> None:
        def rehash(current: AnyResource) -> AnyResource | None:
            if current.spec.password_hash != old:
                return None
            return replace(current, spec=current.spec.model_copy(update={"password_hash": new}))

        await self._store.update("user", name, rehash)

    async def _store_password(self, name: str, password: str) -> None:
        hashed = await self._services.passwords.hash(password)
        changes = {"password_hash": hashed, "must_change_password": False}

        def change(current: AnyResource) -> AnyResource:
            return replace(current, spec=current.spec.model_copy(update=changes))

        await self._store.update("user", name, change)

    def _set_cookie(self, request: Request, response: Response, token: str) -> None:
        secure = (
            self._services.parts.config.secure_cookies
            or request.headers.get("x-aims-scheme") == "https"
        )
        response.set_cookie(
            COOKIE,
            token,
            max_age=int(ABSOLUTE_S),
            path="/",
            secure=secure,
            httponly=True,
            samesite="lax",
        )


def _wrong_current() -> AimsError:
    return InvalidError("The current password is wrong.", params={"fields": ["current_password"]})


def _me(user: User, kind: PrincipalKind, key: str = "") -> dict[str, Any]:
    return {
        "name": user.name,
        "role": user.spec.role.value,
        "full_name": user.spec.full_name,
        "must_change_password": user.spec.must_change_password,
        "signed_in_with": kind.value,
        "key": key,
    }
