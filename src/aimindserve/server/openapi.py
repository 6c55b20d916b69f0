"""The OpenAPI document: paths from the operations, schemas from the types, made when first asked.

Parameters come from the endpoints' signatures, which also check them; nothing is written twice.
"""

from collections.abc import Iterable
from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from starlette.responses import Response

from aimindserve.server.answers import PROBLEM
from aimindserve.server.operations import Audience, Operation
from aimindserve.server.parameters import described

API_VERSION = "1"
REF = "#/components/schemas/"
DESCRIPTION = """\
Everything aiMindServe manages: deployments, instances, workers, model files, users and keys.

Objects have `metadata`, `spec` (what is wanted) and `status` (what is so). Lists come in pages;
`GET /api/v1/watch` follows changes. A replace carries the revision that was read and answers 409
when the object has changed since; `PATCH` is a JSON merge patch. Errors are problem documents
(RFC 9457) with a stable `code`."""

_FOR = {
    Audience.PUBLIC: "Anybody.",
    Audience.MEMBER: "Any signed-in user.",
    Audience.SELF: "Any signed-in user, also before the first password was changed.",
    Audience.ADMIN: "Administrators.",
    Audience.WORKER: "The worker itself, with its own credential.",
    Audience.JOIN: "Whoever holds the join token.",
}
_SECURITY = {
    "bearer": {"type": "http", "scheme": "bearer", "description": "An API key."},
    "apiKey": {"type": "apiKey", "in": "header", "name": "x-api-key"},
    "session": {"type": "apiKey", "in": "cookie", "name": "aims_session"},
}


def add(app: FastAPI, operation: Operation) -> None:
    """Make `operation` a route of `app`, documented."""
    sentence = (operation.endpoint.__doc__ or "").strip()
    app.add_api_route(
        operation.path,
        operation.endpoint,
        methods=[operation.method],
        name=operation.operation_id,
        operation_id=operation.operation_id,
        summary=operation.summary,
        description=f"{' '.join(sentence.split())}\n\nFor: {_FOR[operation.audience]}",
        tags=[operation.tag],
        status_code=operation.status,
        response_model=None,
        response_class=Response,
        responses=_responses(operation),
        openapi_extra=_extra(operation),
        include_in_schema=operation.shown,
    )


def document(routes: Iterable[Any], operations: Iterable[Operation]) -> dict[str, Any]:
    """The whole document of these routes, which were made of these operations."""
    from aimindserve.server.schemas import clean, components  # slow to make, and seldom asked for

    made = get_openapi(
        title="aiMindServe", version=API_VERSION, description=DESCRIPTION, routes=list(routes)
    )
    for operation in operations:
        found = described(operation.path, operation.query)
        if operation.shown and found:
            made["paths"][operation.path][operation.method.lower()]["parameters"] = found
    made["components"] = {"schemas": components(), "securitySchemes": _SECURITY}
    made["security"] = [{name: []} for name in _SECURITY]
    made["paths"] = {path: clean(made["paths"][path]) for path in sorted(made["paths"])}
    return made


def ref(name: str) -> dict[str, Any]:
    """A reference to a schema."""
    return {"$ref": f"{REF}{name}"}


def _responses(operation: Operation) -> dict[int | str, dict[str, Any]]:
    good: dict[str, Any] = {"description": "Done."}
    if operation.response is not None:
        good["content"] = {operation.media_type: {"schema": ref(operation.response)}}
    elif operation.status != 204:
        good["content"] = {operation.media_type: {"schema": {"type": "string"}}}
    refusal = {
        "description": "Refused, or failed.",
        "content": {PROBLEM: {"schema": ref("Problem")}},
    }
    return {operation.status: good, "default": refusal}


def _extra(operation: Operation) -> dict[str, Any]:
    extra: dict[str, Any] = {}
    if operation.request is not None:
        media = (
            "application/merge-patch+json" if operation.method == "PATCH" else "application/json"
        )
        schema = {"schema": ref(operation.request)}
        extra["requestBody"] = {"required": True, "content": {media: schema}}
    if operation.audience is Audience.PUBLIC:
        extra["security"] = []
    return extra
