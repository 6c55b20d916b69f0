"""How a machine becomes a worker: with the join token it gets a name and credentials of its own.

The same machine (by the random id its agent keeps) comes back under its name with new credentials;
another machine that wants a taken name gets the next free one, unless the name was chosen by hand.
"""

import re
from dataclasses import dataclass, replace
from typing import cast

import pydantic

from aimindserve.core.errors import ExistsError, InvalidError, NotFoundError
from aimindserve.core.ids import NAME_RULE, is_name
from aimindserve.kit.secrets import keyed_hash, new_secret
from aimindserve.resources._kind import AnyResource
from aimindserve.resources.worker import WorkerSpec
from aimindserve.server.auth.principals import worker_credential
from aimindserve.server.inputs import check_labels
from aimindserve.server.objects import Worker, find_worker, workers
from aimindserve.store.base import Draft, Store

NAME_MAX = 63
TRIES_MAX = 1000
MACHINE_ID = re.compile(r"^[A-Za-z0-9._:-]{8,128}$")


class Registration(pydantic.BaseModel):
    """What a machine says when it joins."""

    model_config = pydantic.ConfigDict(extra="forbid", frozen=True)

    name: str = pydantic.Field(max_length=NAME_MAX)
    explicit_name: bool = False
    """Whether somebody chose the name, so that no other will do."""
    machine_id: str = pydantic.Field(pattern=MACHINE_ID.pattern)
    labels: dict[str, str] = pydantic.Field(default_factory=dict)
    version: str = pydantic.Field(default="", max_length=64)


@dataclass(frozen=True, slots=True)
class Registered:
    """What a worker gets: its name, what it presents to us, what a gateway presents to it."""

    name: str
    credential: str
    proxy_key: str


async def register(store: Store, pepper: bytes, wish: Registration) -> Registered:
    """Take the machine in; raises InvalidError, ExistsError and the store's errors."""
    if not is_name(wish.name):
        raise InvalidError(
            f"{wish.name!r} cannot be a worker's name: {NAME_RULE}.", params={"fields": ["name"]}
        )
    check_labels(wish.labels)
    known = _known(store, wish)
    if known is not None:
        renewed = await _renew(store, pepper, known.name, wish)
        if renewed is not None:
            return renewed
    return await _create(store, pepper, wish)


def _known(store: Store, wish: Registration) -> Worker | None:
    same = [each for each in workers(store) if each.spec.machine_id == wish.machine_id]
    named = [each for each in same if each.name == wish.name]
    if named:
        return named[0]
    return same[0] if same and not wish.explicit_name else None


async def _renew(store: Store, pepper: bytes, name: str, wish: Registration) -> Registered | None:
    registered = _credentials(name)

    def renew(current: AnyResource) -> AnyResource:
        spec = cast("WorkerSpec", current.spec)
        metadata = replace(current.metadata, labels={**current.metadata.labels, **wish.labels})
        changes = {
            "credential_hash": keyed_hash(pepper, registered.credential),
            "proxy_key": registered.proxy_key,
        }
        return replace(current, metadata=metadata, spec=spec.model_copy(update=changes))

    try:
        await store.update("worker", name, renew)
    except NotFoundError:
        return None  # removed in between: it joins as a new one
    return registered


async def _create(store: Store, pepper: bytes, wish: Registration) -> Registered:
    for number in range(1, TRIES_MAX):
        suffix = "" if number == 1 else f"-{number}"
        name = f"{wish.name[: NAME_MAX - len(suffix)]}{suffix}"
        if find_worker(store, name) is not None and not wish.explicit_name:
            continue
        registered = _credentials(name)
        spec = WorkerSpec(
            machine_id=wish.machine_id,
            credential_hash=keyed_hash(pepper, registered.credential),
            proxy_key=registered.proxy_key,
        )
        try:
            await store.create(Draft("worker", name, spec, labels=wish.labels))
        except ExistsError:
            if wish.explicit_name:
                raise ExistsError(
                    f"Another machine is registered as {name}.",
                    hint="Choose another --worker-name, or delete that worker first.",
                    params={"name": name},
                ) from None
            continue
        return registered
    raise ExistsError(f"Too many workers are called {wish.name}.", params={"name": wish.name})


def _credentials(name: str) -> Registered:
    return Registered(name, worker_credential(name, new_secret()), new_secret())
