"""Why a request cannot be served, in words that say what can be done instead."""

import difflib
from collections.abc import Mapping

from aimindserve.core.errors import (
    InvalidError,
    NotFoundError,
    UnavailableError,
    UnsupportedError,
)
from aimindserve.gateway.admit import check_model
from aimindserve.gateway.endpoints import CAN, Endpoint
from aimindserve.gateway.table import Principal, Route


def find_route(
    model: object, endpoint: Endpoint, routes: Mapping[str, Route], principal: Principal
) -> Route:
    """The route that `model` names and `principal` may use on `endpoint`.

    Raises InvalidError, ForbiddenError, NotFoundError, UnsupportedError.
    """
    if not isinstance(model, str) or not model:
        raise InvalidError(
            "The request names no model.",
            hint="Give the name of one as 'model'; GET /v1/models lists them.",
            params={"param": "model"},
        )
    if principal.allowed_models:
        check_model(principal, model)
    route = routes.get(model)
    if route is None:
        raise _no_such_model(model, routes, principal)
    if route.categories and route.categories.isdisjoint(endpoint.categories):
        raise _cannot(route, endpoint)
    return route


def no_instance(route: Route) -> UnavailableError:
    """The model exists, and nothing serves it now."""
    return UnavailableError(
        f"The model {route.name!r} has no ready instance. {route.reason}".strip(),
        hint=f"See: aimindserve describe {route.name}",
        params={"param": "model", "model": route.name},
    )


def _no_such_model(model: str, routes: Mapping[str, Route], principal: Principal) -> NotFoundError:
    visible = [
        name for name in routes if not principal.allowed_models or name in principal.allowed_models
    ]
    near = difflib.get_close_matches(model[:100], visible, n=3, cutoff=0.5)
    hint = (
        f"There is: {', '.join(near)}."
        if near
        else "GET /v1/models lists the models there are."
        if visible
        else "Nothing is deployed yet; deploy a model with: aimindserve deploy"
    )
    return NotFoundError(
        f"There is no model {model[:100]!r}.", hint=hint, params={"param": "model"}
    )


def _cannot(route: Route, endpoint: Endpoint) -> UnsupportedError:
    can = " and ".join(CAN[category] for category in sorted(route.categories) if category in CAN)
    return UnsupportedError(
        f"The model {route.name!r} cannot {endpoint.purpose}; it can {can}.",
        hint="Choose another model; GET /v1/models lists them.",
        params={"param": "model", "model": route.name, "categories": sorted(route.categories)},
    )
