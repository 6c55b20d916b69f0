"""The models a caller may use, in OpenAI's list shape, from the table."""

from typing import Any
from urllib.parse import unquote

from aimindserve.core.errors import NotFoundError
from aimindserve.gateway.replies import json_reply
from aimindserve.gateway.table import Principal, Route, RoutingTable
from aimindserve.kit.clock import parse_rfc3339
from aimindserve.wire.server import Reply


def answer_models(path: str, table: RoutingTable, principal: Principal) -> Reply:
    """The answer to `/v1/models` and `/v1/models/<name>`. Raises NotFoundError."""
    allowed = principal.allowed_models
    routes = [table.routes[name] for name in sorted(table.routes) if not allowed or name in allowed]
    _, _, name = path.partition("/models")
    if name in ("", "/"):
        return json_reply({"object": "list", "data": [_model(route) for route in routes]})
    wanted = unquote(name[1:])
    for route in routes:
        if route.name == wanted and name.startswith("/"):
            return json_reply(_model(route))
    raise NotFoundError(
        f"There is no model {wanted[:100]!r}.", hint="GET /v1/models lists the models there are."
    )


def _model(route: Route) -> dict[str, Any]:
    model: dict[str, Any] = {
        "id": route.name,
        "object": "model",
        "created": _epoch(route.created_at),
        "owned_by": "aimindserve",
        "ready": bool(route.groups),
        "categories": sorted(route.categories),
    }
    if route.context_length:
        model["max_model_len"] = route.context_length
    return model


def _epoch(text: str) -> int:
    try:
        return int(parse_rfc3339(text))
    except ValueError:
        return 0
