"""Every request of the API as a value, and how to read its answer: shared by both clients.

    Call("GET", "/api/v1/deployments/x", decode=…)   what to send, what the answer becomes

Must not know how requests are sent, waited for or repeated.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, is_dataclass
from typing import Any, Generic, TypeVar, cast
from urllib.parse import quote

from aimindserve.client.objects import (
    API_KEY,
    USER,
    Document,
    KindOf,
    Login,
    LogQuery,
    NewKey,
    NewUser,
    Object,
    Page,
)
from aimindserve.core.errors import UpstreamError

R = TypeVar("R")
S = TypeVar("S")
T = TypeVar("T")

API = "/api/v1"
COOKIE = "aims_session"
PER_PAGE = 500
FIT_TIMEOUT_S = 60.0
MERGE_PATCH = "application/merge-patch+json"


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back: the decoded body, and the cookies that were set."""

    body: Any
    cookies: Mapping[str, str] = field(default_factory=dict[str, str])


@dataclass(frozen=True, slots=True)
class Call(Generic[R]):
    """One request. `body` is sent as JSON unless None; `decode` makes the result of the answer."""

    method: str
    path: str
    decode: Callable[[Answer], R]
    query: Mapping[str, str] = field(default_factory=dict[str, str])
    body: Any = None
    content_type: str = "application/json"
    timeout_s: float | None = None
    """Instead of the client's own limit, for answers that take long."""


@dataclass(frozen=True, slots=True)
class Listing:
    """What to list: one page, and only objects that match."""

    page: int = 1
    per_page: int = PER_PAGE
    search: str | None = None
    labels: Mapping[str, str] = field(default_factory=dict[str, str])
    sort: str | None = None

    def query(self) -> dict[str, str]:
        """As the query of a URL."""
        found = {"page": str(self.page), "per_page": str(self.per_page)}
        if self.search:
            found["search"] = self.search
        if self.labels:
            found["label"] = ",".join(f"{name}={value}" for name, value in self.labels.items())
        if self.sort:
            found["sort"] = self.sort
        return found


FIRST_PAGE = Listing()


@dataclass(frozen=True, slots=True)
class Calls(Generic[S, T]):
    """The requests of one kind."""

    of: KindOf[S, T]

    def list(self, listing: Listing = FIRST_PAGE) -> Call[Page[S, T]]:
        """One page of objects."""
        return Call("GET", self._path(), self._page, query=listing.query())

    def get(self, name: str) -> Call[Object[S, T]]:
        """One object."""
        return Call("GET", self._path(name), self._object)

    def create(
        self, name: str, spec: Any, labels: Mapping[str, str], fit: str = ""
    ) -> Call[Object[S, T]]:
        """A new object; `spec` is the typed spec or plain data. `fit`: verdicts of the preview with
        which a deployment is written."""
        body = {
            "kind": self.of.name,
            "metadata": {"name": name, "labels": dict(labels)},
            "spec": plain(spec),
        }
        query = {"fit": fit} if fit else {}
        return Call("POST", self._path(), self._object, body=body, query=query)

    def replace(self, document: Document) -> Call[Object[S, T]]:
        """The whole object anew; its revision says what it replaces."""
        name = str(document["metadata"]["name"])
        body = {key: value for key, value in document.items() if key != "status"}
        return Call("PUT", self._path(name), self._object, body=body)

    def patch(self, name: str, patch: Document) -> Call[Object[S, T]]:
        """A JSON merge patch (RFC 7396): what is named changes, null removes."""
        return Call("PATCH", self._path(name), self._object, body=patch, content_type=MERGE_PATCH)

    def delete(self, name: str, revision: int | None = None, *, force: bool = False) -> Call[None]:
        """Remove the object, only at `revision` when one is given; `force`: also one in use."""
        query = {} if revision is None else {"revision": str(revision)}
        if force:
            query["force"] = "true"
        return Call("DELETE", self._path(name), _nothing, query=query)

    def _path(self, name: str | None = None) -> str:
        path = f"{API}/{self.of.plural}"
        return path if name is None else f"{path}/{quote(name, safe='')}"

    def _object(self, answer: Answer) -> Object[S, T]:
        return Object(self.of, _document(answer.body))

    def _page(self, answer: Answer) -> Page[S, T]:
        body = _mapping(answer.body)
        found = body.get("items")
        if not isinstance(found, list):
            raise UpstreamError("The server's list has no items.")
        items = tuple(Object(self.of, _document(item)) for item in cast("list[Any]", found))
        return Page(items, int(body.get("revision") or 0), int(body.get("total") or len(items)))


def decision(instance: str, *, changes: bool = False) -> Call[Document]:
    """The scheduler's newest decision about an instance: every worker's reasons; with `changes`
    also what would make it fit, tried out on the spot."""
    path = f"{API}/instances/{quote(instance, safe='')}/decision"
    return Call("GET", path, _whole, {"changes": "true"} if changes else {})


def fit(question: Mapping[str, Any]) -> Call[Document]:
    """Would it fit? `question` as `POST /api/v1/fit` takes it."""
    return Call("POST", f"{API}/fit", _whole, body=dict(question), timeout_s=FIT_TIMEOUT_S)


def logs(instance: str, query: LogQuery) -> Call[None]:
    """The log of an instance; its answer is text and is streamed, not decoded."""
    path = f"{API}/instances/{quote(instance, safe='')}/logs"
    return Call("GET", path, _nothing, query=query.parameters())


def login(username: str, password: str) -> Call[Login]:
    """Open a session."""
    body = {"username": username, "password": password}
    return Call("POST", f"{API}/auth/login", _login, body=body)


def logout() -> Call[None]:
    """End the session that the request carries."""
    return Call("POST", f"{API}/auth/logout", _nothing, body={})


def me() -> Call[Document]:
    """Who the server takes the caller for."""
    return Call("GET", f"{API}/auth/me", _whole)


def change_password(current: str, new: str) -> Call[str | None]:
    """Another password for the caller; the answer may open a new session."""
    body = {"current_password": current, "new_password": new}
    return Call(
        "POST", f"{API}/auth/password", lambda answer: answer.cookies.get(COOKIE), body=body
    )


def create_key(fields: Document) -> Call[NewKey]:
    """A new API key; the answer holds the secret, this once."""
    return Call("POST", f"{API}/api-keys", _new_key, body=fields)


def create_user(
    name: str, password: str | None, spec: Document, labels: Mapping[str, str]
) -> Call[NewUser]:
    """A new user; without a password the server makes one and tells it this once."""
    body: dict[str, Any] = {
        "metadata": {"name": name, "labels": dict(labels)},
        "spec": dict(spec),
    }
    if password is not None:
        body["password"] = password
    return Call("POST", f"{API}/users", _new_user, body=body)


def reset_password(user: str, password: str | None) -> Call[str | None]:
    """Another password for somebody else; the one the server made, when none was given."""
    body = {} if password is None else {"password": password}
    return Call("POST", f"{API}/users/{quote(user, safe='')}/password", _password, body=body)


def version() -> Call[Document]:
    """The server's version; needs no credential."""
    return Call("GET", "/version", _whole, timeout_s=5.0)


def models() -> Call[Document]:
    """The models that can be asked, as OpenAI lists them."""
    return Call("GET", "/v1/models", _whole)


def chat(model: str, messages: Sequence[Document], options: Document) -> Call[Document]:
    """A chat completion; `options` are passed on as they are."""
    body = {**options, "model": model, "messages": [dict(message) for message in messages]}
    return Call("POST", "/v1/chat/completions", _whole, body=body, timeout_s=600.0)


def plain(value: Any) -> Any:
    """A typed spec as plain data; plain data stays as it is."""
    return asdict(value) if is_dataclass(value) and not isinstance(value, type) else value


def encode(body: Any) -> bytes:
    """The bytes of a JSON body."""
    return json.dumps(body, ensure_ascii=False, separators=(",", ":")).encode()


def _whole(answer: Answer) -> Document:
    return _mapping(answer.body)


def _nothing(_answer: Answer) -> None:
    return None


def _login(answer: Answer) -> Login:
    session = answer.cookies.get(COOKIE)
    if not session:
        raise UpstreamError("The server accepted the password but opened no session.")
    return Login(session, _mapping(answer.body or {}))


def _new_key(answer: Answer) -> NewKey:
    body = dict(_mapping(answer.body))
    key = body.pop("key", None)
    if not isinstance(key, str):
        raise UpstreamError("The server made a key but did not tell it.")
    return NewKey(key, Object(API_KEY, _document(body)))


def _new_user(answer: Answer) -> NewUser:
    body = dict(_mapping(answer.body))
    password = body.pop("password", None)
    return NewUser(Object(USER, _document(body)), password)


def _password(answer: Answer) -> str | None:
    found = _mapping(answer.body).get("password")
    return None if found is None else str(found)


def _document(value: Any) -> Document:
    document = _mapping(value)
    if not isinstance(document.get("metadata"), dict):
        raise UpstreamError("The server sent an object without metadata.")
    return document


def _mapping(value: Any) -> Mapping[str, Any]:
    if not isinstance(value, dict):
        raise UpstreamError("The server's answer is not a JSON object.")
    return cast("dict[str, Any]", value)
