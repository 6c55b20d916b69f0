"""The first administrator, and the way back in for one who forgot the password.

A fresh installation has no default password: it is the one given in the settings, or a random one
in a file that only the server's own user can read, and which must be changed at the first sign-in.
An account that exists is never touched.
"""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import cast

from aimindserve.kit.log import get_logger
from aimindserve.kit.secrets import read_or_create
from aimindserve.resources._kind import AnyResource
from aimindserve.resources.user import Role, UserSpec
from aimindserve.server.auth.passwords import Passwords, generate, is_weak
from aimindserve.server.auth.sessions import Sessions
from aimindserve.server.objects import users
from aimindserve.store.base import Draft, Store

log = get_logger("bootstrap")

ADMIN = "admin"
PASSWORD_FILE = "initial_admin_password"  # noqa: S105 - a file's name, no password


@dataclass(frozen=True, slots=True)
class Bootstrap:
    """What was done at start."""

    created: bool
    password_file: Path | None = None
    """Where a generated password waits to be read."""


async def bootstrap_admin(
    store: Store, passwords: Passwords, data_dir: Path, given: str | None
) -> Bootstrap:
    """Make the first administrator when there is none; raises OSError when the file cannot be
    written, and the store's errors."""
    if any(user.spec.role is Role.ADMIN for user in users(store)):
        waiting = data_dir / PASSWORD_FILE
        return Bootstrap(created=False, password_file=waiting if waiting.exists() else None)
    if given and is_weak(given, ADMIN):
        log.warning("bootstrap.weak", advice="the given administrator password is easily guessed")
    path = None if given else data_dir / PASSWORD_FILE
    password = given or read_or_create(data_dir / PASSWORD_FILE, generate())
    spec = UserSpec(
        role=Role.ADMIN,
        full_name="Administrator",
        must_change_password=not given,
        password_hash=await passwords.hash(password),
    )
    await store.create(Draft("user", ADMIN, spec))
    log.info("bootstrap.created", user=ADMIN, file=str(path) if path else None)
    return Bootstrap(created=True, password_file=path)


async def reset_admin_password(
    store: Store,
    passwords: Passwords,
    sessions: Sessions,
    *,
    password: str | None = None,
    user: str = ADMIN,
) -> str:
    """Give `user` the new `password`, or a random one that must be changed; sign it out everywhere
    and let it in again if it was disabled. Returns the password. Raises NotFoundError."""
    chosen = password or generate()
    hashed = await passwords.hash(chosen)

    def renew(current: AnyResource) -> AnyResource:
        spec = cast("UserSpec", current.spec)
        changes = {
            "password_hash": hashed,
            "must_change_password": password is None,
            "disabled": False,
        }
        return replace(current, spec=spec.model_copy(update=changes))

    await store.update("user", user, renew)
    await sessions.end_all(user)
    return chosen


def forget_initial_password(data_dir: Path, user: str) -> None:
    """Remove the file with the generated password once it is no longer the password."""
    if user == ADMIN:
        (data_dir / PASSWORD_FILE).unlink(missing_ok=True)
