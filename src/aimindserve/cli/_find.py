"""Finding what a NAME on the command line means, with the nearest name when there is none."""

from difflib import get_close_matches
from typing import TYPE_CHECKING, Any

from aimindserve.cli._invocation import Invocation
from aimindserve.cli._words import words
from aimindserve.client.objects import AnyObject, Deployment, Instance
from aimindserve.core.errors import AimsError, NotFoundError

if TYPE_CHECKING:
    from aimindserve.client.collection import Collection
    from aimindserve.client.sync import Client

_LISTS = {"deployment": "ls", "instance": "ps", "worker": "workers", "api-key": "keys"}


def find(here: Invocation, collection: "Collection[Any, Any]", name: str) -> AnyObject:
    """One object by name. Raises NotFoundError with the nearest names."""
    try:
        return collection.get(name)
    except NotFoundError as error:
        kind = collection.calls.of.name
        raise missing(here, kind, name, [one.name for one in collection.all()]) from error


def find_either(here: Invocation, client: "Client", name: str) -> Deployment | Instance:
    """The deployment of that name, or else the instance. Raises NotFoundError."""
    try:
        return client.deployments.get(name)
    except NotFoundError:
        pass
    try:
        return client.instances.get(name)
    except NotFoundError as error:
        names = [one.name for one in client.deployments.all()]
        names += [one.name for one in client.instances.all()]
        raise missing(here, "deployment", name, names) from error


def instances_of(client: "Client", deployment: str) -> list[Instance]:
    """The instances of a deployment, by name."""
    found = client.instances.all()
    return [one for one in found if one.document["spec"].get("deployment") == deployment]


def missing(here: Invocation, kind: str, name: str, names: list[str]) -> NotFoundError:
    """The error for a name that is not there, with the nearest one that is."""
    near = get_close_matches(name, names, n=1)
    if near:
        hint = here.text("did_you_mean", name=near[0])
    else:
        hint = here.text("see_all", command=f"aimindserve {_LISTS.get(kind, 'get ' + kind)}")
    return NotFoundError(
        words("There is no {kind} called {name!r}.", kind=here.text(f"kind_{kind}"), name=name),
        hint=hint,
        params={"kind": kind, "name": name},
    )


def quietly(collection: "Collection[Any, Any]", name: str) -> AnyObject | None:
    """The object, or None for whatever reason: for extras nobody waits for."""
    try:
        return collection.get(name)
    except AimsError:
        return None
