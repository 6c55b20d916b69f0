"""The way back in for an administrator who lost the password, with the server's own files in hand.

    a server runs on this directory ──▶ it is asked, through its own socket and with the credential
                                        that it left for its operator: the password counts at once
    none runs                       ──▶ its database is opened, which must be there already

Databases that several servers share are written beside them: they look for changes every second.
"""

import asyncio
import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, cast

from aimindserve.boot.handover import read_handover
from aimindserve.boot.places import Places, places_of
from aimindserve.boot.presence import present
from aimindserve.boot.settings import Settings, account, this_machine
from aimindserve.core.errors import (
    ConflictError,
    ForbiddenError,
    NotFoundError,
    UnavailableError,
)
from aimindserve.kit.clock import SystemClock
from aimindserve.kit.lockfile import LockFile
from aimindserve.resources.user import Role
from aimindserve.server.auth.bootstrap import forget_initial_password, reset_admin_password
from aimindserve.server.auth.passwords import Passwords
from aimindserve.server.auth.sessions import Sessions
from aimindserve.server.objects import users
from aimindserve.store.resources import ResourceStore
from aimindserve.store.urls import backing_for, masked

if TYPE_CHECKING:
    from aimindserve.client.sync import Client

UNIX = "unix://"


def new_admin_password(settings: Settings, user: str, *, database_given: bool = False) -> str:
    """Give `user` a random password that must be changed, end its sessions, let it in again if it
    was disabled; returns the password. `database_given`: the database was named, not assumed.

    Raises NotFoundError when there is no such user, or no database to look in; ConflictError when
    another server than the one that is meant would be changed; UnavailableError when the running
    server does not answer; ForbiddenError when the files belong to somebody else; and what opening
    the database raises.
    """
    places = places_of(settings)
    lock = LockFile(places.lock)
    try:
        # Held while we work, so that no server starts on what is being changed.
        holder = lock.take() if places.run_dir.is_dir() else None
        try:
            if holder is None:
                return asyncio.run(_in_database(settings, places, user))
            return _ask(settings if database_given else None, places, user, holder)
        finally:
            lock.release()
    except PermissionError as error:
        raise ForbiddenError(
            f"{account()} may not use {error.filename or places.data_dir}.",
            hint="Run this as the user that the server runs as.",
        ) from error


async def _in_database(settings: Settings, places: Places, user: str) -> str:
    clock, url = SystemClock(), settings.server.database_url
    store = ResourceStore(backing_for(url, create=False), clock)
    try:
        await store.open()
    except NotFoundError as error:
        others = [
            f"One runs here with: --data-dir {each.data_dir}" for each in present(this_machine())
        ]
        hint = (
            "Name the server's data directory with --data-dir, its database with --database-url, "
            "or a running server with --server-url."
        )
        hint = "\n".join([hint, *others])
        raise NotFoundError(error.message, hint=hint, params=error.params) from error
    try:
        found = users(store)
        if user not in {each.name for each in found}:
            admins = [each.name for each in found if each.spec.role is Role.ADMIN]
            raise _no_user(user, masked(url), admins)
        # Ending sessions needs no pepper, and making one here would lock out a server's own keys.
        sessions = Sessions(store, clock, b"")
        password = await reset_admin_password(store, Passwords(), sessions, user=user)
        forget_initial_password(places.data_dir, user)
    finally:
        await store.close()
    return password


def _ask(wanted: Settings | None, places: Places, user: str, holder: int) -> str:
    """Let the server do it that runs as process `holder`."""
    running, there = _running(places, holder)
    if running.worker_only:
        raise ConflictError(
            f"A worker runs on {places.data_dir} (process {holder}), not a server.",
            hint="Do this on the server, or name it with --server-url.",
        )
    used = running.server.database_url
    if wanted is not None and wanted.server.database_url != used:
        raise ConflictError(
            f"The server on {places.data_dir} (process {holder}) uses the database {masked(used)}, "
            f"not {masked(wanted.server.database_url)}.",
            hint="Leave out --database-url to change that server's, or name another directory.",
        )
    try:
        with _client(there) as client:
            admins = [each.name for each in client.users.all() if each.spec.role == "admin"]
            try:
                password = client.reset_password(user)
            except NotFoundError as error:
                raise _no_user(user, masked(used), admins) from error
            client.users.patch(user, {"spec": {"disabled": False}})
    except UnavailableError as error:
        raise UnavailableError(
            f"The server on {places.data_dir} (process {holder}) does not answer.",
            hint="Try again in a moment; or stop it, and this command works without it.",
            params=error.params,
        ) from error
    return cast("str", password)


def _running(places: Places, holder: int) -> tuple[Settings, Places]:
    try:
        return read_handover(places.handover)
    except (FileNotFoundError, json.JSONDecodeError) as error:
        raise UnavailableError(
            f"Process {holder} is just starting or stopping a server on {places.data_dir}.",
            hint="Try again in a moment.",
        ) from error


def _client(places: Places) -> "Client":
    """A client of the control plane itself: no gateway, no TLS, no port in between."""
    from aimindserve.client.quick import httpx
    from aimindserve.client.sync import Client

    try:
        credential = places.operator_credential.read_text(encoding="utf-8").strip()
    except FileNotFoundError as error:
        raise UnavailableError("The server has left no credential for its operator.") from error
    options: dict[str, Any] = {}
    url = places.control_url
    if url.startswith(UNIX):
        options["transport"] = httpx.HTTPTransport(uds=url.removeprefix(UNIX))
        url = "http://localhost"
    return Client(url, api_key=credential, **options)


def _no_user(user: str, where: str, admins: Sequence[str]) -> NotFoundError:
    known = f"Administrators are: {', '.join(admins)}; choose with --user." if admins else ""
    return NotFoundError(
        f"There is no user called {user!r} in {where}.",
        hint=known or "The first start makes one; until then there is no password to reset.",
        params={"kind": "user", "name": user},
    )
