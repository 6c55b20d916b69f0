"""Who may do what: the one place that decides it.

`enter` decides about operations before anything of a request's body is read, `may_read` and
`may_write` about kinds and single objects. What somebody may not read does not exist for them.
"""

from typing import Any

from aimindserve.core.errors import (
    ForbiddenError,
    NotFoundError,
    PasswordChangeError,
    UnauthenticatedError,
)
from aimindserve.resources._kind import AnyResource, Kind
from aimindserve.server.auth.principals import Principal, PrincipalKind, refused
from aimindserve.server.operations import Audience


def enter(principal: Principal | None, audience: Audience, worker: str | None = None) -> None:
    """Return when `principal` may use an operation for `audience` (on `worker`, if it names one);
    raise UnauthenticatedError, ForbiddenError or NotFoundError otherwise."""
    if audience is Audience.PUBLIC:
        return
    if principal is None:
        raise no_credential()
    if principal.inference_only:
        raise ForbiddenError("This API key is limited to certain models and reaches nothing else.")
    if principal.kind is PrincipalKind.JOIN:
        _join(audience)
    elif principal.kind is PrincipalKind.WORKER:
        _worker(principal, audience, worker)
    elif principal.kind is PrincipalKind.GATEWAY:
        if audience is not Audience.MEMBER:
            raise ForbiddenError("This is not for gateways.")
    else:
        _person(principal, audience)


def may_read(principal: Principal, kind: Kind[Any, Any], resource: AnyResource) -> bool:
    """Whether `principal` may see this object at all."""
    if kind.access.read == "owner" and not principal.is_admin and not _is_gateway(principal):
        return getattr(resource.spec, "user", None) == principal.name
    return may_list(principal, kind)


def may_list(principal: Principal, kind: Kind[Any, Any]) -> bool:
    """Whether `principal` may see objects of this kind, some or all."""
    if _is_gateway(principal):
        return True
    if not principal.is_person or kind.access.read == "none":
        return False
    return principal.is_admin or kind.access.read in {"user", "owner"}


def require_write(principal: Principal, kind: Kind[Any, Any], resource: AnyResource) -> None:
    """Raise unless `principal` may change or remove this object, which it may read."""
    if not principal.is_person:
        raise ForbiddenError("This needs a user.")
    if principal.is_admin:
        return
    own = getattr(resource.spec, "user", None) == principal.name
    if kind.access.write == "user" or (kind.access.write == "owner" and own):
        return
    raise only_admins()


def only_admins() -> ForbiddenError:
    """The refusal for what only administrators may do."""
    return ForbiddenError(
        "Only administrators may do this.", hint="Ask one, or sign in as one: aimindserve login"
    )


def no_credential() -> UnauthenticatedError:
    """The refusal for a request without any credential."""
    return refused("This needs a credential.")


def wrong_join_token() -> UnauthenticatedError:
    """The refusal for a machine that wants to become a worker with a wrong token."""
    return UnauthenticatedError(
        "The join token is wrong.",
        hint="Give with --token what is in <data-dir>/token on the server.",
    )


def _person(principal: Principal, audience: Audience) -> None:
    if audience in {Audience.WORKER, Audience.JOIN}:
        raise ForbiddenError("This is for workers, with a credential of their own.")
    if audience is Audience.SELF:
        return
    if principal.must_change_password:
        raise PasswordChangeError(
            "The first password must be changed before anything else.",
            hint="Sign in with: aimindserve login, which asks for another; or"
            " POST /api/v1/auth/password with current_password and new_password.",
        )
    if audience is Audience.ADMIN and not principal.is_admin:
        raise only_admins()


def _worker(principal: Principal, audience: Audience, worker: str | None) -> None:
    if audience is not Audience.WORKER:
        raise ForbiddenError("This is not for workers.")
    if worker != principal.name:
        raise NotFoundError("There is no such worker for this credential.")


def _join(audience: Audience) -> None:
    if audience is not Audience.JOIN:
        raise ForbiddenError("The join token is only good for registering a worker.")


def _is_gateway(principal: Principal) -> bool:
    return principal.kind is PrincipalKind.GATEWAY
