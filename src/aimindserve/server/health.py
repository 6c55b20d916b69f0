"""Is it alive, is it ready, which version: for anybody, and never by asking the database."""

from collections.abc import Iterable

from fastapi import Request
from starlette.responses import Response

from aimindserve.core.errors import UnavailableError
from aimindserve.server.answers import answer
from aimindserve.server.operations import Audience, Operation
from aimindserve.server.services import Services

TAG = "health"


def operations(services: Services) -> Iterable[Operation]:
    """The three public questions."""

    async def healthz(request: Request) -> Response:
        """The process answers."""
        del request
        return answer({"status": "ok"})

    async def readyz(request: Request) -> Response:
        """Everything it needs has been started."""
        del request
        if not services.parts.is_ready():
            raise UnavailableError("The server is still starting.", params={"retry_after_s": 1})
        return answer({"status": "ok"})

    async def version(request: Request) -> Response:
        """The version of this program."""
        del request
        return answer({"version": services.parts.config.version})

    for path, endpoint, summary, schema in (
        ("/healthz", healthz, "Whether the process answers", "Health"),
        ("/readyz", readyz, "Whether it can be used", "Health"),
        ("/version", version, "Which version it is", "Version"),
    ):
        yield Operation(
            "GET", path, endpoint, Audience.PUBLIC, endpoint.__name__, summary, TAG, response=schema
        )
