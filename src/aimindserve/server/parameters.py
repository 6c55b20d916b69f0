"""Query parameters: one model checks them and describes them.

The web framework could read them from signatures, but that costs a third of a second at start and
passes over misspelt names in silence.
"""

from typing import Any, TypeVar, get_origin

import pydantic
from fastapi import Request

from aimindserve.core.errors import InvalidError
from aimindserve.server.errors import from_pydantic


class QueryModel(pydantic.BaseModel):
    """The parameters of one operation; unknown ones are refused. All have defaults."""

    model_config = pydantic.ConfigDict(extra="forbid", frozen=True)


Query = TypeVar("Query", bound=QueryModel)


def read_query(request: Request, model: type[Query]) -> Query:
    """The query of `request`; raises InvalidError naming the parameters that are wrong."""
    values: dict[str, Any] = {}
    for name, value in request.query_params.multi_items():
        if name in model.model_fields and _is_list(model, name):
            values.setdefault(name, []).append(value)
        elif name in values:
            raise InvalidError(
                f"The parameter {name[:40]} is given twice.", params={"fields": [f"query.{name}"]}
            )
        else:
            values[name] = value
    try:
        return model.model_validate(values)
    except pydantic.ValidationError as error:
        raise from_pydantic(error, "query") from error


def name_of(request: Request) -> str:
    """The object that the path names."""
    return str(request.path_params["name"])


def described(path: str, model: type[QueryModel] | None) -> list[dict[str, Any]]:
    """The parameters of an operation for the OpenAPI document."""
    names = [word[1:-1] for word in path.split("/") if word.startswith("{")]
    found: list[dict[str, Any]] = [
        {"name": name, "in": "path", "required": True, "schema": {"type": "string"}}
        for name in names
    ]
    for name, schema in _properties(model).items():
        told = {key: value for key, value in schema.items() if key not in {"title", "description"}}
        parameter = {"name": name, "in": "query", "required": False, "schema": told}
        if "description" in schema:
            parameter["description"] = schema["description"]
        found.append(parameter)
    return found


def _properties(model: type[QueryModel] | None) -> dict[str, dict[str, Any]]:
    return {} if model is None else model.model_json_schema()["properties"]


def _is_list(model: type[QueryModel], name: str) -> bool:
    return get_origin(model.model_fields[name].annotation) is tuple
