"""One API object as a client holds it: the document as it came, and a typed view of it.

The view is made when asked for: a program that only prints documents never pays for it.
"""

import importlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Generic, TypeAlias, TypeVar

from aimindserve.core.errors import UpstreamError

if TYPE_CHECKING:
    from aimindserve.client import types

S = TypeVar("S")
T = TypeVar("T")
Document = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class KindOf(Generic[S, T]):
    """A kind as clients know it: its words in paths and documents, and the names of its types."""

    name: str
    plural: str
    spec_name: str = ""
    status_name: str = "Nothing"

    @property
    def spec(self) -> type[S]:
        """The class of its specs."""
        return _type(self.spec_name)

    @property
    def status(self) -> type[T]:
        """The class of its statuses."""
        return _type(self.status_name)


DEPLOYMENT: "KindOf[types.DeploymentSpec, types.DeploymentStatus]" = KindOf(
    "deployment", "deployments", "DeploymentSpec", "DeploymentStatus"
)
INSTANCE: "KindOf[types.InstanceSpec, types.InstanceStatus]" = KindOf(
    "instance", "instances", "InstanceSpec", "InstanceStatus"
)
WORKER: "KindOf[types.WorkerSpec, types.WorkerStatus]" = KindOf(
    "worker", "workers", "WorkerSpec", "WorkerStatus"
)
MODEL_FILE: "KindOf[types.ModelFileSpec, types.ModelFileStatus]" = KindOf(
    "model-file", "model-files", "ModelFileSpec", "ModelFileStatus"
)
ESTIMATE: "KindOf[types.EstimateSpec, types.EstimateStatus]" = KindOf(
    "estimate", "estimates", "EstimateSpec", "EstimateStatus"
)
ROUTE: "KindOf[types.RouteSpec, types.RouteStatus]" = KindOf(
    "route", "routes", "RouteSpec", "RouteStatus"
)
USER: "KindOf[types.UserSpec, types.Nothing]" = KindOf("user", "users", "UserSpec")
API_KEY: "KindOf[types.ApiKeySpec, types.Nothing]" = KindOf("api-key", "api-keys", "ApiKeySpec")

KINDS: Mapping[str, KindOf[Any, Any]] = {
    kind.name: kind
    for kind in (DEPLOYMENT, INSTANCE, WORKER, MODEL_FILE, ESTIMATE, ROUTE, USER, API_KEY)
}


@dataclass(frozen=True, slots=True)
class Object(Generic[S, T]):
    """One object. `document` is exactly what the server sent."""

    of: KindOf[S, T]
    document: Document

    @property
    def name(self) -> str:
        """Its name, unique among its kind."""
        return str(self.metadata["name"])

    @property
    def metadata(self) -> Mapping[str, Any]:
        """name, id, labels, generation, revision, created_at."""
        found: Mapping[str, Any] = self.document["metadata"]
        return found

    @property
    def labels(self) -> Mapping[str, str]:
        """Its labels."""
        found: Mapping[str, str] = self.metadata.get("labels") or {}
        return found

    @property
    def revision(self) -> int:
        """The revision of its last change; a replace must carry it."""
        return int(self.metadata["revision"])

    @property
    def phase(self) -> str:
        """The derived one-word state, empty for kinds that have none."""
        status: Mapping[str, Any] = self.document.get("status") or {}
        return str(status.get("phase") or "")

    @property
    def spec(self) -> S:
        """What is wanted, typed."""
        return convert(self.document.get("spec") or {}, self.of.spec)

    @property
    def status(self) -> T:
        """What is so, typed."""
        return convert(self.document.get("status") or {}, self.of.status)


AnyObject = Object[Any, Any]
if TYPE_CHECKING:
    Deployment: TypeAlias = Object[types.DeploymentSpec, types.DeploymentStatus]
    Instance: TypeAlias = Object[types.InstanceSpec, types.InstanceStatus]
    Worker: TypeAlias = Object[types.WorkerSpec, types.WorkerStatus]
else:  # naming the types would load them
    Deployment = Instance = Worker = Object


@dataclass(frozen=True, slots=True)
class Page(Generic[S, T]):
    """A part of a list. `total` counts the whole; a watch may begin at `revision`."""

    items: Sequence[Object[S, T]]
    revision: int
    total: int

    def __iter__(self) -> Iterator[Object[S, T]]:
        return iter(self.items)

    def __len__(self) -> int:
        return len(self.items)


@dataclass(frozen=True, slots=True)
class Event:
    """One message of a watch.

    `type`: ADDED, MODIFIED and DELETED carry `object`; BOOKMARK says that everything up to
    `revision` has come; RESYNC says to forget what is known, for everything comes again as ADDED;
    IDLE says only that nothing came for a while.
    """

    type: str
    revision: int = 0
    object: AnyObject | None = None


@dataclass(frozen=True, slots=True)
class NewKey:
    """An API key just made. `key` is shown this once and never again."""

    key: str
    object: "Object[types.ApiKeySpec, types.Nothing]"


@dataclass(frozen=True, slots=True)
class NewUser:
    """A user just made. `password` is set only when the server made it; it is told this once."""

    object: "Object[types.UserSpec, types.Nothing]"
    password: str | None = None


@dataclass(frozen=True, slots=True)
class Login:
    """A session just opened; `session` is the value of the cookie."""

    session: str
    user: Document = field(default_factory=dict[str, Any])


@dataclass(frozen=True, slots=True)
class LogQuery:
    """Which lines of an instance's log: the last `tail`, of run `run` ("previous" or a number),
    those with `text` in them, and with `follow` the coming ones too. `worker`: of an instance on
    several workers, the process on this one; else the first."""

    tail: int | None = None
    follow: bool = False
    run: str | None = None
    text: str | None = None
    worker: str | None = None

    def parameters(self) -> dict[str, str]:
        """As the query of a URL."""
        pairs = {
            "tail": None if self.tail is None else str(self.tail),
            "follow": "1" if self.follow else None,
            "run": self.run,
            "q": self.text,
            "worker": self.worker,
        }
        return {name: value for name, value in pairs.items() if value is not None}


def convert(value: Any, into: type[S]) -> S:
    """Plain JSON data as a value of the dataclass `into`; fields it does not know are passed over.

    Raises UpstreamError when the data does not fit: the server speaks another version.
    """
    import msgspec

    try:
        return msgspec.convert(value, into)
    except msgspec.ValidationError as error:
        raise UpstreamError(
            f"The server sent a {into.__name__} this client cannot read: {error}.",
            hint="Compare versions: aimindserve version, and GET /version of the server.",
        ) from error


def _type(name: str) -> Any:
    """A class of `types`, or plain data for kinds this client does not know."""
    types = importlib.import_module("aimindserve.client.types")
    return getattr(types, name) if name else dict[str, Any]


def known(document: Document) -> AnyObject:
    """The object of any kind; kinds of newer servers get open types."""
    name = str(document.get("kind") or "")
    kind = KINDS.get(name) or KindOf[Any, Any](name, f"{name}s", "", "")
    return Object(kind, document)
