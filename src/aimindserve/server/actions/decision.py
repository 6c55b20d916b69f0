"""`GET /api/v1/instances/<name>/decision`: why an instance is where it is, or why nowhere yet."""

import asyncio
from collections.abc import Iterable, Mapping
from typing import Any

from fastapi import Request
from pydantic import Field
from starlette.responses import Response

from aimindserve.core.errors import NotFoundError
from aimindserve.scheduler.replay import encode, replay
from aimindserve.server.answers import answer
from aimindserve.server.operations import Audience, Operation
from aimindserve.server.parameters import QueryModel, name_of, read_query
from aimindserve.server.services import Services

BESIDE = frozenset({"decided_at", "question"})
"""What stands beside a decision's record: when it was made, and what was asked."""


class DecisionQuery(QueryModel):
    """How much of it."""

    changes: bool = Field(
        default=False, description="Also try which changes would make a waiting instance fit."
    )
    replay: bool = Field(
        default=False, description="Also decide again what was asked then, and compare the bytes."
    )


def operations(services: Services) -> Iterable[Operation]:
    """The decision of one instance."""

    async def decision(request: Request) -> Response:
        """Every worker's answer the last time a place for this instance was looked for."""
        name, query = name_of(request), read_query(request, DecisionQuery)
        services.parts.store.get("instance", name)
        found = await services.parts.decisions.find(name)
        if found is None:
            raise NotFoundError(
                f"No decision about {name} is kept.",
                hint="The newest ones are kept; a new one is made when the instance waits.",
                params={"kind": "decision", "name": name},
            )
        document = dict(found)
        if query.replay:
            document["replay"] = await _replayed(services, name, found)
        if query.changes and services.parts.fits is not None:
            document["changes"] = list(await services.parts.fits.changes(name))
        return answer(document)

    yield Operation(
        "GET", "/api/v1/instances/{name}/decision", decision, Audience.MEMBER,
        "get_decision", "Why an instance is where it is", "instances", response="Decision",
        query=DecisionQuery,
    )  # fmt: skip


async def _replayed(services: Services, name: str, kept: Mapping[str, Any]) -> dict[str, Any]:
    """Whether the same question gives the same bytes now; `same` is null when the question is not
    kept any more."""
    digest = str(kept.get("question") or "")
    question = await services.parts.decisions.question(digest)
    if question is None:
        return {"same": None, "question_bytes": 0}
    made = (await asyncio.to_thread(replay, question)).get(name)
    decision = {key: value for key, value in kept.items() if key not in BESIDE}
    return {"same": made == encode(decision), "question_bytes": len(question)}
