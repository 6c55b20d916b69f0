"""Users come in here: with a password, or with one made for them and shown once."""

from collections.abc import Iterable
from dataclasses import replace
from typing import Any, cast

import anyio.to_thread
import pydantic
from fastapi import Request
from starlette.responses import Response

from aimindserve.core.errors import InvalidError
from aimindserve.resources._all import kinds
from aimindserve.resources._kind import AnyResource
from aimindserve.resources.user import UserSpec
from aimindserve.server.answers import answer
from aimindserve.server.auth.bootstrap import forget_initial_password
from aimindserve.server.auth.passwords import check_new, generate
from aimindserve.server.body import read_model, read_object
from aimindserve.server.inputs import check_name, new_spec, read_input
from aimindserve.server.operations import Audience, Operation
from aimindserve.server.parameters import name_of
from aimindserve.server.services import Services
from aimindserve.store.base import Draft


def operations(services: Services) -> Iterable[Operation]:
    """What the generic routes cannot do for users."""
    routes = UserRoutes(services)
    yield Operation(
        "POST", "/api/v1/users", routes.create, Audience.ADMIN,
        "create_user", "Create a user", "users", 201, "NewUser", "CreatedUser",
    )  # fmt: skip
    yield Operation(
        "POST", "/api/v1/users/{name}/password", routes.reset_password, Audience.ADMIN,
        "reset_password", "Give a user another password", "users", 200,
        "PasswordReset", "PasswordWasReset",
    )  # fmt: skip


class PasswordReset(pydantic.BaseModel):
    """Another password for somebody else; one is made when none is given."""

    model_config = pydantic.ConfigDict(extra="forbid", frozen=True)

    password: str | None = None


class UserRoutes:
    """Making users and letting them in again."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._store = services.parts.store

    async def create(self, request: Request) -> Response:
        """A user. Without `password` one is made, answered once, and must be changed."""
        kind = kinds()["user"]
        document = await read_object(request)
        password = document.pop("password", None)
        wish = read_input(document, kind)
        name = wish.metadata.name
        check_name(name)
        spec = cast("UserSpec", new_spec(kind, name, wish.spec))
        changes, generated = await self._with_password(name, password)
        if "must_change_password" in wish.spec and not generated:
            changes.pop("must_change_password")
        made = await self._store.create(
            Draft("user", name, spec.model_copy(update=changes), labels=wish.metadata.labels or {})
        )
        self._services.audit.note(request, "create", ("user", name))
        shown = self._services.renderer.plain(made)
        headers = {"location": f"/api/v1/users/{name}"}
        return answer(shown | ({"password": generated} if generated else {}), 201, headers)

    async def reset_password(self, request: Request) -> Response:
        """Another password for `name`, who is signed out everywhere and must change it."""
        name = name_of(request)
        self._store.get("user", name)
        wish = await read_model(request, PasswordReset)
        changes, generated = await self._with_password(name, wish.password)
        changes["must_change_password"] = True

        def change(current: AnyResource) -> AnyResource:
            return replace(current, spec=current.spec.model_copy(update=changes))

        await self._store.update("user", name, change)
        await self._services.sessions.end_all(name)
        data_dir = self._services.parts.config.data_dir
        await anyio.to_thread.run_sync(forget_initial_password, data_dir, name)
        self._services.audit.note(request, "reset_password", ("user", name))
        return answer({"password": generated} if generated else {})

    async def _with_password(self, name: str, password: object) -> tuple[dict[str, Any], str]:
        """(what changes in the spec, the password that was made or nothing)."""
        if password is not None and not isinstance(password, str):
            raise InvalidError("The password is a text.", params={"fields": ["password"]})
        if password is not None:
            check_new(password, name)
        generated = "" if password is not None else generate()
        hashed = await self._services.passwords.hash(password or generated)
        return {"password_hash": hashed, "must_change_password": bool(generated)}, generated
