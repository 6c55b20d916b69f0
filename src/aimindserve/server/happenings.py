"""`GET /api/v1/events` and `GET /api/v1/audit`: what happened, and who did what; newest first.

Both are read from records, one page at a time. Must not write any.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from datetime import datetime, timezone
from typing import Any

from fastapi import Request
from pydantic import Field, field_validator
from starlette.responses import Response

from aimindserve.core.happening import EVENTS, tell
from aimindserve.core.reason import Class
from aimindserve.kit.clock import rfc3339
from aimindserve.server.answers import answer
from aimindserve.server.operations import Audience, Operation
from aimindserve.server.parameters import QueryModel, read_query
from aimindserve.server.parts import RecordsRead
from aimindserve.server.query import PER_PAGE, PER_PAGE_MAX
from aimindserve.server.services import Services
from aimindserve.store.records.events import Event

OFFSET_PAGES_MAX = 2_000
WORD_MAX = 255
TAG = "history"


class _Page(QueryModel):
    """Which part of the history, and how much of it."""

    kind: str = Field(default="", max_length=WORD_MAX, description="Singular, as in `deployment`.")
    name: str = Field(default="", max_length=WORD_MAX, description="Of the object.")
    since: datetime | None = Field(default=None, description="From then on.")
    until: datetime | None = Field(default=None, description="Before then.")
    page: int = Field(default=1, ge=1, le=OFFSET_PAGES_MAX)
    per_page: int = Field(default=PER_PAGE, ge=1, le=PER_PAGE_MAX)

    @field_validator("since", "until")
    @classmethod
    def _utc(cls, moment: datetime | None) -> datetime | None:
        """A time without a zone is in UTC."""
        if moment is not None and moment.tzinfo is None:
            return moment.replace(tzinfo=timezone.utc)
        return moment


class EventsQuery(_Page):
    """Which events."""

    code: str = Field(
        default="", max_length=WORD_MAX, description="What happened, as in `restarted`."
    )
    reason: str = Field(default="", max_length=WORD_MAX, description="Code of the reason.")


class AuditQuery(_Page):
    """Which entries of the audit."""

    actor: str = Field(default="", max_length=WORD_MAX, description="Who did it.")
    action: str = Field(default="", max_length=WORD_MAX, description="As in `delete`, `login`.")
    outcome: str = Field(
        default="", max_length=WORD_MAX, description="`ok`, or the code of an error."
    )


def operations(services: Services) -> Iterable[Operation]:
    """The two histories."""
    parts = services.parts

    async def events(request: Request) -> Response:
        """Events, each with how often it happened and when last."""
        query = read_query(request, EventsQuery)
        where = {"code": query.code, "reason": query.reason}
        found, total = await _find(parts.events, query, where)
        return answer({"items": [_event(each) for each in found], "total": total})

    async def audit(request: Request) -> Response:
        """Requests that changed something, or tried to, and sign-ins."""
        query = read_query(request, AuditQuery)
        where = {"actor": query.actor, "action": query.action, "outcome": query.outcome}
        found, total = await _find(parts.records, query, where)
        items = [{**asdict(each), "time": rfc3339(each.time)} for each in found]
        return answer({"items": items, "total": total})

    yield Operation(
        "GET", "/api/v1/events", events, Audience.MEMBER,
        "list_events", "What happened, newest first", TAG,
        response="EventList", query=EventsQuery,
    )  # fmt: skip
    yield Operation(
        "GET", "/api/v1/audit", audit, Audience.ADMIN,
        "list_audit", "Who did what, newest first", TAG,
        response="AuditList", query=AuditQuery,
    )  # fmt: skip


async def _find(
    records: RecordsRead[Any] | None, query: _Page, where: Mapping[str, str]
) -> tuple[Sequence[Any], int]:
    """(the page, how many there are); nothing where no records are kept."""
    if records is None:
        return (), 0
    since = None if query.since is None else query.since.timestamp()
    before = None if query.until is None else query.until.timestamp()
    wanted = {**where, "kind": query.kind, "name": query.name}
    chosen = {column: word for column, word in wanted.items() if word}
    total = await records.count(since=since, before=before, **chosen)
    found = await records.query(
        since=since,
        before=before,
        limit=query.per_page,
        offset=(query.page - 1) * query.per_page,
        **chosen,
    )
    return found, total


def _event(event: Event) -> dict[str, Any]:
    row = EVENTS.get(event.code)
    return {
        "id": event.id,
        "time": rfc3339(event.time),
        "first_time": rfc3339(event.first_time),
        "count": event.count,
        "kind": event.kind,
        "name": event.name,
        "code": event.code,
        "class": (Class.WORKING if row is None else row.visual).value,
        "reason": event.reason,
        "params": dict(event.params),
        "message": tell(event.code, event.reason, event.params, "en"),
    }


def entries() -> Mapping[str, Mapping[str, Any]]:
    """Schemas of the answers' items, by name, for the OpenAPI document."""
    text, moment = {"type": "string"}, {"type": "string", "format": "date-time"}
    return {
        "Event": {
            "id": {**text, "description": "Stays the same while the event counts."},
            "time": {**moment, "description": "When it happened last."},
            "first_time": {**moment, "description": "When it happened first."},
            "count": {"type": "integer", "description": "How often."},
            "kind": text,
            "name": text,
            "code": {**text, "enum": sorted(EVENTS)},
            "class": {**text, "enum": [each.value for each in Class]},
            "reason": {**text, "description": "Code of the reason; empty where there is none."},
            "params": {"type": "object", "description": "The values in the sentence."},
            "message": {**text, "description": "In English."},
        },
        "AuditEntry": {
            "id": text,
            "time": moment,
            "actor": {**text, "description": "The user or worker; empty when nobody signed in."},
            "client": {**text, "description": "The address it came from."},
            "action": {**text, "description": "create, replace, delete, login, …"},
            "kind": text,
            "name": text,
            "outcome": {**text, "description": "`ok`, or the code of the error."},
        },
    }
