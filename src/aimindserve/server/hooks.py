"""Rules of single kinds that types cannot say: workers in use, the last administrator."""

from collections.abc import Mapping
from typing import Any, cast

from fastapi import Request
from pydantic import Field

from aimindserve.core.errors import ConflictError, FitError, InvalidError, UnavailableError
from aimindserve.core.verdict import VERDICTS
from aimindserve.kit.clock import rfc3339
from aimindserve.resources._kind import AnyResource
from aimindserve.resources.user import UserSpec
from aimindserve.scheduler.whatif import WhatIf
from aimindserve.server.generic import Hooks
from aimindserve.server.objects import api_keys, is_active_admin, users
from aimindserve.server.parameters import QueryModel, read_query
from aimindserve.server.services import Services


def hooks(services: Services) -> Mapping[str, Hooks]:
    """What each kind adds to the generic routes."""
    return {
        "worker": _worker_hooks(services),
        "user": _user_hooks(services),
        "deployment": _deployment_hooks(services),
    }


class FitQuery(QueryModel):
    """On which condition a deployment is written."""

    fit: str = Field(
        default="",
        max_length=200,
        description="Verdicts of the preview, separated by commas: with any other nothing is"
        " written, and the answer (409) has the preview.",
    )


def _deployment_hooks(services: Services) -> Hooks:
    fits = services.parts.fits

    async def before(request: Request, name: str, spec: Any) -> None:
        accepted = read_query(request, FitQuery).fit
        if not accepted:
            return
        unknown = set(accepted.split(",")) - VERDICTS
        if unknown:
            raise InvalidError(
                f"{min(unknown)!r} is no verdict; there are: {', '.join(sorted(VERDICTS))}.",
                params={"fields": ["query.fit"]},
            )
        if fits is None:
            raise UnavailableError("Nothing is scheduled here.")
        replicas = max(spec.replicas, 1)
        seen = await fits.answer(spec, name=name, replicas=replicas, explain=True, what_if=WhatIf())
        if seen["verdict"] not in accepted.split(","):
            reason: Mapping[str, Any] = seen.get("reason") or {}
            message = f"{name}: the verdict is {seen['verdict']}. {reason.get('message', '')}"
            raise FitError(
                message.strip(),
                hint="Change it as params.fit says, or write it without ?fit= all the same.",
                params={"fit": {**seen, "at": rfc3339(seen["at"])}},
            )

    return Hooks(before=before, conditions=FitQuery)


def _worker_hooks(services: Services) -> Hooks:
    def refuse(worker: AnyResource, wanted: AnyResource | None, force: bool) -> None:
        if wanted is None and worker.status.ready and not force:
            raise ConflictError(
                f"The worker {worker.name} is connected and ready.",
                hint="Stop its agent first, or delete it anyway with ?force=true.",
                params={"kind": "worker", "name": worker.name},
            )

    async def after(worker: AnyResource, now: AnyResource | None) -> None:
        if now is None:
            services.parts.leases.forget(worker.name)
            services.telemetry.forget(worker.name)

    return Hooks(refuse, after)


def _user_hooks(services: Services) -> Hooks:
    def refuse(user: AnyResource, wanted: AnyResource | None, force: bool) -> None:
        del force
        stays = wanted is not None and is_active_admin(wanted.spec)
        if is_active_admin(user.spec) and not stays and not _other_admins(services, user.name):
            raise ConflictError(
                f"{user.name} is the only administrator left.",
                hint="Make somebody else an administrator first.",
                params={"kind": "user", "name": user.name},
            )

    async def after(user: AnyResource, now: AnyResource | None) -> None:
        if now is None:
            await _remove_keys(services, user.name)
        spec = None if now is None else cast("UserSpec", now.spec)
        if spec is None or spec.disabled or spec.role is not user.spec.role:
            await services.sessions.end_all(user.name)

    return Hooks(refuse, after)


def _other_admins(services: Services, name: str) -> bool:
    everybody = users(services.parts.store)
    return any(each.name != name and is_active_admin(each.spec) for each in everybody)


async def _remove_keys(services: Services, user: str) -> None:
    """A later user of the same name must not inherit them."""
    store = services.parts.store
    for key in [each.name for each in api_keys(store) if each.spec.user == user]:
        await store.delete("api-key", key)
