"""The generic machinery's type side: what a kind is and what one object of it looks like.

From one `Kind` come storage, list/get/create/replace/patch/delete/watch, OpenAPI, CLI columns and
permissions. This file knows no database, bus or web framework.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import cache
from typing import Any, Generic, TypeVar, cast, get_args

from pydantic import BaseModel, ConfigDict, Field
from pydantic.fields import FieldInfo

from aimindserve.core.secrecy import masked
from aimindserve.kit.clock import rfc3339


class Part(BaseModel):
    """A spec or a status: immutable, unknown fields are errors."""

    model_config = ConfigDict(extra="forbid", frozen=True)


S = TypeVar("S", bound=Part)
T = TypeVar("T", bound=Part)


def secret(default: str = "") -> Any:
    """A field that no API answer, log or client shows: only the store sees it, and the gateway if
    its kind names it in `gateway`."""
    return Field(default=default, json_schema_extra={"secret": True})


def environment() -> Any:
    """A field of variables, name to value, whose secrets (`core.secrecy`) every answer masks."""
    return Field(
        default_factory=dict,
        description="Values of secrets read as ********; sent back so, they stay as they are.",
        json_schema_extra={"environment": True},
    )


@dataclass(frozen=True, slots=True)
class Metadata:
    """What the store knows of an object, whatever its kind.

    `generation` counts changes of the spec, `revision` is the store's revision of the last change
    of anything, `id` tells this object from an earlier one of the same name.
    """

    name: str
    id: str
    labels: Mapping[str, str] = field(default_factory=dict[str, str])
    generation: int = 1
    revision: int = 0
    created_at: float = 0.0
    """Seconds since the epoch."""


@dataclass(frozen=True, slots=True)
class Resource(Generic[S, T]):
    """One object: what is wanted (`spec`) and what is so (`status`)."""

    kind: str
    metadata: Metadata
    spec: S
    status: T

    @property
    def name(self) -> str:
        """The object's name, unique among its kind."""
        return self.metadata.name

    def with_status(self, status: T) -> "Resource[S, T]":
        """The same object with another status."""
        return replace(self, status=status)


AnyResource = Resource[Any, Any]
Derive = Callable[[AnyResource, Callable[[str, str], "AnyResource | None"], float], dict[str, Any]]
"""(object, lookup(kind, name), now) -> fields shown inside `status` but stored nowhere."""


@dataclass(frozen=True, slots=True)
class Access:
    """Who may do what through the generic routes. Admins may do whatever somebody may."""

    read: str = "user"
    """user: any signed-in principal; admin; owner: the user in spec.user, and admins; none."""
    write: str = "admin"
    """user, admin, owner, none (only controllers and special routes write it)."""


@dataclass(frozen=True, slots=True)
class Kind(Generic[S, T]):
    """The declaration of one kind of resource."""

    name: str
    """Singular, as in `{"kind": "deployment"}`."""
    plural: str
    """As in `/api/v1/deployments`."""
    spec: type[S]
    status: type[T]
    title: str = ""
    """One sentence for the reference pages."""
    access: Access = Access()
    columns: tuple[tuple[str, str], ...] = ()
    """(header, dotted path) of the CLI's table."""
    creatable: bool = True
    """Whether the generic route may create it; kinds with a special way in say False."""
    owned: tuple[str, ...] = ()
    """Fields of the spec that only the server sets: shown, but refused in every request."""
    validate: Callable[[str, Any, "AnyResource | None"], None] | None = None
    """(name, new spec, old object or None): raises InvalidError for what types cannot say."""
    derive: Derive | None = None
    gateway: tuple[str, ...] = ()
    """Dotted paths of what a gateway needs to route and admit by, secrets included; it is told
    nothing else, and of kinds without any nothing at all. Inside a list: of each element."""

    def parse_spec(self, document: Any) -> S:
        """A spec from plain JSON data; raises pydantic's ValidationError."""
        return self.spec.model_validate(document)

    def parse_status(self, document: Any) -> T:
        """A status from plain JSON data as stored."""
        return self.status.model_validate(document)


def dump(part: Part) -> dict[str, Any]:
    """Plain JSON data of a spec or status, secrets included: for the store."""
    return part.model_dump(mode="json")


def document(
    kind: Kind[Any, Any],
    resource: AnyResource,
    *,
    derived: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """The object as the API shows it. Secrets of an engine's environment are for nobody either:
    workers get them with what they must run, not as objects."""
    spec = resource.spec.model_dump(mode="json", exclude=set(secret_fields(kind.spec)))
    for path in environments(kind.spec):
        change_at(spec, path, masked)
    status = resource.status.model_dump(mode="json", exclude=set(secret_fields(kind.status)))
    return _whole(kind, resource.metadata, spec, {**status, **(derived or {})})


def gateway_document(
    kind: Kind[Any, Any], resource: AnyResource, *, derived: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """Of the object what a gateway needs, and nothing else."""
    spec = resource.spec.model_dump(mode="json")
    status = {**resource.status.model_dump(mode="json"), **(derived or {})}
    whole = _whole(kind, resource.metadata, spec, status)
    return cast("dict[str, Any]", _only(whole, _tree(kind.gateway)))


def _whole(
    kind: Kind[Any, Any], meta: Metadata, spec: dict[str, Any], status: dict[str, Any]
) -> dict[str, Any]:
    return {
        "kind": kind.name,
        "metadata": {
            "name": meta.name,
            "id": meta.id,
            "labels": dict(meta.labels),
            "generation": meta.generation,
            "revision": meta.revision,
            "created_at": rfc3339(meta.created_at),
        },
        "spec": spec,
        "status": status,
    }


@cache
def _tree(paths: tuple[str, ...]) -> Mapping[str, Any]:
    """The paths as nested names; an empty mapping stands for everything below."""
    tree: dict[str, Any] = {}
    for path in paths:
        level = tree
        for name in path.split("."):
            level = level.setdefault(name, {})
    return tree


def _only(value: Any, tree: Mapping[str, Any]) -> Any:
    if not tree:
        return value
    if isinstance(value, list):
        return [_only(each, tree) for each in cast("list[Any]", value)]
    if not isinstance(value, dict):
        return value
    found = cast("dict[str, Any]", value)
    return {name: _only(found[name], below) for name, below in tree.items() if name in found}


def secret_fields(part: type[Part]) -> frozenset[str]:
    """Names of the fields of `part` declared with `secret()`."""
    return frozenset(name for name, info in part.model_fields.items() if _is_secret(info))


@cache
def environments(part: type[Part]) -> tuple[tuple[str, ...], ...]:
    """Where in `part` fields declared with `environment()` are, as paths of names, also in parts
    inside it."""
    found: list[tuple[str, ...]] = []
    for name, info in part.model_fields.items():
        if cast("object", info.json_schema_extra) == {"environment": True}:
            found.append((name,))
            continue
        inner = [each for each in (info.annotation, *get_args(info.annotation)) if _is_part(each)]
        found += [(name, *path) for each in inner for path in environments(each)]
    return tuple(found)


def change_at(
    document: dict[str, Any], path: tuple[str, ...], change: Callable[[Any], Any]
) -> None:
    """Put what `change` makes of it in the place of what is at `path`, if there is anything."""
    first, *below = path
    if first not in document:
        return
    if not below:
        document[first] = change(document[first])
    elif isinstance(document[first], dict):
        change_at(cast("dict[str, Any]", document[first]), tuple(below), change)


def _is_part(annotation: Any) -> bool:
    return isinstance(annotation, type) and issubclass(annotation, Part)


def _is_secret(info: FieldInfo) -> bool:
    extra = cast("object", info.json_schema_extra)
    return extra == {"secret": True}
