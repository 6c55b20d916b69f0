"""From exceptions to problem documents: the edge of the management API.

Deliberate errors are shown as they are; what the framework raises is put into our words; anything
else is a defect, logged with its request id and shown without details.
"""

from collections.abc import Mapping, Sequence
from typing import Any, cast

import pydantic
from fastapi import FastAPI, Request
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.responses import Response

from aimindserve.core.errors import (
    AimsError,
    ForbiddenError,
    InternalError,
    InvalidError,
    MethodError,
    NotFoundError,
)
from aimindserve.kit.log import get_logger
from aimindserve.server.answers import problem_answer

log = get_logger("server")

FIELDS_MAX = 20


def install(app: FastAPI) -> None:
    """Let `app` answer every exception with a problem document."""
    app.add_exception_handler(AimsError, _deliberate)
    app.add_exception_handler(HTTPException, _of_framework)
    app.add_exception_handler(ClientDisconnect, _gone)
    app.add_exception_handler(Exception, _defect)


def render(request: Request, error: AimsError) -> Response:
    """The answer for `error`, logged at the level its class asks for."""
    request_id = str(request.scope.get("aims.request_id", ""))
    path = request.scope["path"]
    if error.level in {"warning", "error"}:
        getattr(log, error.level)(
            "request.failed", code=error.code, error=error.message, path=path, request_id=request_id
        )
    return problem_answer(error, path=path, request_id=request_id)


def internal() -> InternalError:
    """What a caller sees of a defect."""
    return InternalError(
        "Something went wrong inside the server.",
        hint="The server's log has the details under this request_id.",
    )


def invalid(problems: Sequence[Mapping[str, Any]], root: str = "") -> InvalidError:
    """One error for all that pydantic found; `root` is where the checked value sits."""
    told = [
        {"field": _where(each.get("loc", ()), root), "message": str(each.get("msg", ""))}
        for each in problems[:FIELDS_MAX]
    ]
    first = told[0]
    more = f" ({len(problems) - 1} more)" if len(problems) > 1 else ""
    return InvalidError(
        f"{first['field']}: {_sentence(first['message'])}{more}",
        params={"fields": [each["field"] for each in told], "problems": told},
    )


def from_pydantic(error: pydantic.ValidationError, root: str = "") -> InvalidError:
    """`invalid` for a validation error of pydantic."""
    found = error.errors(include_url=False, include_context=False, include_input=False)
    return invalid(cast("list[Mapping[str, Any]]", found), root)


def _where(location: Any, root: str) -> str:
    words = [str(part) for part in location]
    return ".".join([root, *words] if root else words) or "body"


def _sentence(text: str) -> str:
    return text if text.endswith((".", "!", "?")) else f"{text}."


async def _deliberate(request: Request, error: Exception) -> Response:
    return render(request, cast("AimsError", error))


async def _gone(request: Request, _error: Exception) -> Response:
    """A client hung up while it was sending: a normal end, and nobody is left to read an answer."""
    log.debug("client.gone", path=request.scope["path"])
    return Response(status_code=400)


async def _of_framework(request: Request, error: Exception) -> Response:
    raised = cast("HTTPException", error)
    return render(request, _in_our_words(raised.status_code, request.scope["path"]))


async def _defect(request: Request, error: Exception) -> Response:
    # The frame around the application logs it with its trace.
    del error
    return render(request, internal())


def _in_our_words(status: int, path: str) -> AimsError:
    if status == 404:
        return no_such_path(path)
    if status == 405:
        return MethodError(f"{path} does not take this method.")
    if status in {401, 403}:
        return ForbiddenError("This is not allowed.")
    return InvalidError("The request is not one this path understands.")


def no_such_path(path: str) -> NotFoundError:
    """There is nothing at `path`."""
    return NotFoundError(
        f"There is nothing at {path[:200]}.", hint="The API is described at /docs."
    )
