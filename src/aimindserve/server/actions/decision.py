"""`GET /api/v1/instances/<name>/decision`: why an instance is where it is, or why nowhere yet."""

from collections.abc import Iterable

from fastapi import Request
from starlette.responses import Response

from aimindserve.core.errors import NotFoundError
from aimindserve.server.answers import answer
from aimindserve.server.operations import Audience, Operation
from aimindserve.server.parameters import name_of
from aimindserve.server.services import Services


def operations(services: Services) -> Iterable[Operation]:
    """The decision of one instance."""

    async def decision(request: Request) -> Response:
        """Every worker's answer the last time a place for this instance was looked for."""
        name = name_of(request)
        services.parts.store.get("instance", name)
        found = services.parts.decisions.get(name)
        if found is None:
            raise NotFoundError(
                f"No decision about {name} is kept.",
                hint="Decisions are kept in memory; a new one is made when the instance waits.",
                params={"kind": "decision", "name": name},
            )
        return answer(dict(found))

    yield Operation(
        "GET", "/api/v1/instances/{name}/decision", decision, Audience.MEMBER,
        "get_decision", "Why an instance is where it is", "instances", response="Decision",
    )  # fmt: skip
