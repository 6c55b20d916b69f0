"""What happened, and who did what: questions to the server's history and its answers.

Must not know how requests are sent.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar, cast

from aimindserve.client.calls import API, Answer, Call
from aimindserve.client.objects import Document
from aimindserve.core.errors import UpstreamError
from aimindserve.core.happening import tell
from aimindserve.kit.clock import rfc3339

E = TypeVar("E")


@dataclass(frozen=True, slots=True)
class HistoryQuery:
    """Which part of the history; empty and None mean any. Times in seconds since the epoch."""

    kind: str = ""
    """Singular, as in `deployment`."""
    name: str = ""
    code: str = ""
    """Of events: what happened, as in `restarted`."""
    reason: str = ""
    """Of events: the code of the reason."""
    actor: str = ""
    """Of the audit: who did it."""
    action: str = ""
    """Of the audit: as in `delete` or `login`."""
    outcome: str = ""
    """Of the audit: `ok`, or the code of an error."""
    since: float | None = None
    until: float | None = None
    page: int = 1
    per_page: int = 100

    def query(self) -> dict[str, str]:
        """As the query of a URL."""
        words = {
            field: str(getattr(self, field))
            for field in ("kind", "name", "code", "reason", "actor", "action", "outcome")
        }
        found = {field: word for field, word in words.items() if word}
        found |= {"page": str(self.page), "per_page": str(self.per_page)}
        if self.since is not None:
            found["since"] = rfc3339(self.since)
        if self.until is not None:
            found["until"] = rfc3339(self.until)
        return found


ALL = HistoryQuery()


@dataclass(frozen=True, slots=True)
class EventEntry:
    """Something happened to an object, once or `count` times. `time` is the last of them, as RFC
    3339; `document` is what the server sent."""

    document: Document

    @property
    def id(self) -> str:
        """The same while the event counts."""
        return str(self.document.get("id") or "")

    @property
    def time(self) -> str:
        """When it happened last."""
        return str(self.document.get("time") or "")

    @property
    def count(self) -> int:
        """How often it happened."""
        return int(self.document.get("count") or 1)

    @property
    def target(self) -> str:
        """`kind/name` of the object."""
        return f"{self.document.get('kind')}/{self.document.get('name')}"

    @property
    def code(self) -> str:
        """What happened."""
        return str(self.document.get("code") or "")

    @property
    def reason(self) -> str:
        """The code of the reason, or empty."""
        return str(self.document.get("reason") or "")

    def message(self, language: str = "en") -> str:
        """The sentence in `language` (en or zh)."""
        params = cast("Mapping[str, Any]", self.document.get("params") or {})
        told = tell(self.code, self.reason, params, language)
        return str(self.document.get("message") or told) if told == self.code else told


@dataclass(frozen=True, slots=True)
class AuditEntry:
    """A request that changed something, or tried to."""

    time: str
    actor: str
    client: str
    action: str
    kind: str
    name: str
    outcome: str
    id: str = ""


@dataclass(frozen=True, slots=True)
class History(Generic[E]):
    """One page, newest first; `total` counts all that match."""

    items: Sequence[E]
    total: int

    def __iter__(self) -> Iterator[E]:
        return iter(self.items)

    def __len__(self) -> int:
        return len(self.items)


def events(query: HistoryQuery) -> Call[History[EventEntry]]:
    """One page of events."""
    return Call("GET", f"{API}/events", _page(EventEntry), query=query.query())


def audit(query: HistoryQuery) -> Call[History[AuditEntry]]:
    """One page of the audit; for administrators."""
    return Call("GET", f"{API}/audit", _page(_audit_entry), query=query.query())


def _audit_entry(document: Document) -> AuditEntry:
    fields = {name: str(document.get(name) or "") for name in AuditEntry.__slots__}
    return AuditEntry(**fields)


def _page(make: Callable[[Document], E]) -> Callable[[Answer], History[E]]:
    def decode(answer: Answer) -> History[E]:
        body: Any = answer.body
        if not isinstance(body, dict) or not isinstance(
            cast("Mapping[str, Any]", body).get("items"), list
        ):
            raise UpstreamError("The server's history has no items.")
        items = cast("list[Document]", body["items"])
        made = tuple(make(item) for item in items)
        return History(made, int(cast("Mapping[str, Any]", body).get("total") or len(made)))

    return decode
