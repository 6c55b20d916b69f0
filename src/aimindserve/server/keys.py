"""API keys come in here: made, shown once, kept as a hash."""

import re
from collections.abc import Iterable

import pydantic
from fastapi import Request
from starlette.responses import Response

from aimindserve.core.errors import ExistsError, ForbiddenError, InvalidError, ThrottledError
from aimindserve.core.ids import is_name
from aimindserve.kit.secrets import keyed_hash, new_api_key
from aimindserve.resources.api_key import ApiKeySpec
from aimindserve.resources.user import Role
from aimindserve.server.answers import answer
from aimindserve.server.auth.principals import Principal
from aimindserve.server.body import read_model
from aimindserve.server.inputs import check_labels, check_name
from aimindserve.server.objects import api_keys, find_api_key, find_user
from aimindserve.server.operations import Audience, Operation
from aimindserve.server.services import Services, principal_of
from aimindserve.store.base import Draft

PER_USER_MAX = 1000
LIFE_MAX_S = 100 * 365 * 86400.0
MODELS_MAX = 200
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")


class NewKey(pydantic.BaseModel):
    """What a key is wanted for. Neither `expires_in_s` nor `expires_at` (seconds since the epoch):
    it never expires."""

    model_config = pydantic.ConfigDict(extra="forbid", frozen=True)

    name: str | None = None
    description: str = pydantic.Field(default="", max_length=200)
    expires_in_s: float | None = pydantic.Field(default=None, gt=0, le=LIFE_MAX_S)
    expires_at: float | None = pydantic.Field(default=None, gt=0, le=4e10)
    allowed_models: tuple[str, ...] = pydantic.Field(default=(), max_length=MODELS_MAX)
    user: str | None = None
    """Whose key; only administrators may name somebody else."""
    labels: dict[str, str] = pydantic.Field(default_factory=dict)


def operations(services: Services) -> Iterable[Operation]:
    """What the generic routes cannot do for keys."""
    yield Operation(
        "POST", "/api/v1/api-keys", KeyRoutes(services).create, Audience.MEMBER,
        "create_api_key", "Create an API key", "api-keys", 201, "NewApiKey", "CreatedApiKey",
    )  # fmt: skip


class KeyRoutes:
    """Making keys."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._store = services.parts.store

    async def create(self, request: Request) -> Response:
        """A key; `key` in the answer is shown this once and kept nowhere."""
        principal = principal_of(request)
        if not principal.is_person:
            raise ForbiddenError("Keys belong to users.")
        wish = await read_model(request, NewKey)
        owner = self._owner(principal, wish)
        expires_at = self._expiry(principal, wish)
        self._check(owner, wish)
        key, prefix = new_api_key()
        spec = ApiKeySpec(
            user=owner,
            description=wish.description,
            prefix=prefix,
            expires_at=expires_at,
            allowed_models=wish.allowed_models,
            key_hash=keyed_hash(self._services.parts.config.pepper, key),
        )
        name = wish.name or f"key-{prefix.rpartition('_')[2]}"
        made = await self._store.create(Draft("api-key", name, spec, labels=wish.labels))
        self._services.audit.note(request, "create", ("api-key", name))
        shown = self._services.renderer.plain(made)
        headers = {"location": f"/api/v1/api-keys/{name}"}
        return answer(shown | {"key": key}, 201, headers)

    def _owner(self, principal: Principal, wish: NewKey) -> str:
        owner = wish.user or principal.name
        if owner != principal.name and not principal.is_admin:
            raise ForbiddenError("Only administrators may make keys for other users.")
        user = find_user(self._store, owner)
        if user is None:
            raise InvalidError(f"There is no user {owner[:80]!r}.", params={"fields": ["user"]})
        if principal.key and owner != principal.name and user.spec.role is Role.ADMIN:
            raise ForbiddenError("A key cannot make keys for another administrator.")
        return owner

    def _expiry(self, principal: Principal, wish: NewKey) -> float | None:
        now = self._services.parts.clock.now()
        if wish.expires_in_s is not None and wish.expires_at is not None:
            raise InvalidError(
                "Give expires_in_s or expires_at, not both.",
                params={"fields": ["expires_in_s", "expires_at"]},
            )
        wanted = now + wish.expires_in_s if wish.expires_in_s is not None else wish.expires_at
        if wanted is not None and wanted <= now:
            raise InvalidError("expires_at is past.", params={"fields": ["expires_at"]})
        limit = principal.key_expires_at
        if limit is not None and (wanted is None or wanted > limit):
            raise ForbiddenError(
                "A key cannot make a key that outlives it.",
                hint="Sign in with a password, or give an earlier expiry.",
            )
        return wanted

    def _check(self, owner: str, wish: NewKey) -> None:
        if wish.name is not None:
            check_name(wish.name)
            if find_api_key(self._store, wish.name) is not None:
                raise ExistsError(
                    f"The name {wish.name} is taken.", params={"kind": "api-key", "name": wish.name}
                )
        check_labels(wish.labels)
        if _CONTROL.search(wish.description):
            raise InvalidError(
                "The description holds control characters.", params={"fields": ["description"]}
            )
        wrong = [model for model in wish.allowed_models if not is_name(model)]
        if wrong:
            raise InvalidError(
                f"{wrong[0][:80]!r} is no model's name.", params={"fields": ["allowed_models"]}
            )
        own = sum(1 for each in api_keys(self._store) if each.spec.user == owner)
        if own >= PER_USER_MAX:
            raise ThrottledError(
                f"{owner} has {PER_USER_MAX} keys, which is all one user may have.",
                hint="Delete keys that are no longer used.",
                params={"retry_after_s": 60},
            )
