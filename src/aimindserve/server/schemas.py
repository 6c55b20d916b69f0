"""Every schema of the OpenAPI document, derived from the types that are used anyway.

Answers and requests differ: answers have every field, requests may leave out what has a default and
never hold secrets or what only the server sets. Where the two come out the same they share a name.
"""

import ast
import inspect
import json
import sys
import textwrap
from collections.abc import Iterable, Mapping
from itertools import pairwise
from typing import Any, cast

from pydantic import BaseModel, TypeAdapter
from pydantic.json_schema import JsonSchemaMode

from aimindserve.core.launch import DesiredSet
from aimindserve.core.reason import Class
from aimindserve.core.report import Ack, Report
from aimindserve.resources._all import kinds
from aimindserve.resources._kind import Kind, secret_fields
from aimindserve.server import happenings
from aimindserve.server.actions.fit import FitInput
from aimindserve.server.auth.routes import Login, PasswordChange
from aimindserve.server.generic import title_of
from aimindserve.server.inputs import hidden_or_owned
from aimindserve.server.keys import NewKey
from aimindserve.server.openapi import REF, ref
from aimindserve.server.registration import Registered, Registration
from aimindserve.server.users import PasswordReset

Schema = dict[str, Any]

NO_DOCS: Mapping[str, str] = {}
OUR_MODULES = ("aimindserve.core.", "aimindserve.resources.", "aimindserve.server.")


def components() -> dict[str, Schema]:
    """All schemas by name."""
    answers = {
        name: _complete(schema)
        for name, schema in _defs(
            [*_stored_types(), Ack, Registered, DesiredSet], "serialization"
        ).items()
    }
    requests = _defs(
        [
            *_spec_types(),
            Report,
            Registration,
            Login,
            PasswordChange,
            NewKey,
            PasswordReset,
            FitInput,
        ],
        "validation",
    )
    schemas = {**answers, **_under_free_names(requests, answers), **_fixed()}
    for kind in kinds().values():
        if kind.access.read != "none":
            schemas |= _of_kind(kind, schemas)
    schemas["NewApiKey"] = schemas.pop("NewKey")
    schemas["CreatedApiKey"] = _with(schemas["ApiKey"], {"key": _text("The key, this once.")})
    generated = _text("The generated password, this once; absent when one was given.")
    schemas["CreatedUser"] = _with(schemas["User"], {"password": generated}, required=False)
    schemas["NewUser"] = _with(
        schemas["UserInput"], {"password": _text("Made and answered when absent.")}, required=False
    )
    schemas["Reason"] = _with(
        schemas["Reason"], {"message": _text("In English."), "fix": _text("What to do.")}
    )
    _describe(schemas)
    return {name: clean(schemas[name]) for name in sorted(schemas)}


def _stored_types() -> Iterable[type[Any]]:
    for kind in kinds().values():
        if kind.access.read != "none":
            yield from (kind.spec, kind.status)


def _spec_types() -> Iterable[type[Any]]:
    for kind in kinds().values():
        if kind.access.write != "none":
            yield kind.spec


def _defs(types: Iterable[type[Any]], mode: JsonSchemaMode) -> dict[str, Schema]:
    inputs: list[tuple[str, JsonSchemaMode, TypeAdapter[Any]]] = [
        (each.__name__, mode, TypeAdapter[Any](each)) for each in types
    ]
    _, document = TypeAdapter.json_schemas(inputs, ref_template=REF + "{model}")
    defs: dict[str, Schema] = document.get("$defs", {})
    return defs


def _under_free_names(
    requests: Mapping[str, Schema], answers: Mapping[str, Schema]
) -> dict[str, Schema]:
    """`requests` with those renamed that mean something else among the answers."""
    renamed: set[str] = set()
    while True:
        texts = {name: _renamed_text(schema, renamed) for name, schema in requests.items()}
        differing = {
            name
            for name, text in texts.items()
            if name in answers and name not in renamed and json.loads(text) != answers[name]
        }
        if not differing:
            return {
                f"{name}Input" if name in renamed else name: json.loads(text)
                for name, text in texts.items()
            }
        renamed |= differing


def _renamed_text(schema: Schema, renamed: Iterable[str]) -> str:
    text = json.dumps(schema)
    for name in renamed:
        text = text.replace(f'"{REF}{name}"', f'"{REF}{name}Input"')
    return text


def _of_kind(kind: Kind[Any, Any], schemas: Mapping[str, Schema]) -> dict[str, Schema]:
    title = title_of(kind)
    spec, status = f"{title}Spec", f"{title}Status"
    shown = _without(schemas[spec], secret_fields(kind.spec))
    for field in kind.owned:
        shown["properties"][field] = {**shown["properties"][field], "readOnly": True}
    made = {
        spec: shown,
        status: _status(kind, schemas[status]),
        title: _object(
            kind.title,
            {
                "kind": {"const": kind.name, "type": "string"},
                "metadata": ref("Metadata"),
                "spec": ref(spec),
                "status": ref(status),
            },
        ),
        f"{title}List": _object(
            "One page of a list. A watch may begin at `revision`; `total` counts all that match.",
            {
                "items": {"type": "array", "items": ref(title)},
                "revision": {"type": "integer"},
                "total": {"type": "integer"},
            },
        ),
    }
    if kind.access.write != "none":
        made |= _inputs(kind, title, schemas)
    return made


def _inputs(kind: Kind[Any, Any], title: str, schemas: Mapping[str, Schema]) -> dict[str, Schema]:
    spec = f"{title}SpecInput"
    whole = schemas.get(spec, schemas[f"{title}Spec"])
    wanted = _without(whole, hidden_or_owned(kind))
    properties: Schema = {
        "kind": {"const": kind.name, "type": "string"},
        "metadata": ref("MetadataInput"),
        "spec": ref(spec),
    }
    patch: Schema = {
        "metadata": ref("MetadataPatch"),
        "spec": {"type": "object", "description": f"Fields of {spec} to change; null removes."},
    }
    return {
        spec: wanted,
        f"{title}Input": {**_object("", properties), "required": ["metadata", "spec"]},
        f"{title}Patch": {**_object("A JSON merge patch, RFC 7396.", patch), "required": []},
    }


def _status(kind: Kind[Any, Any], stored: Schema) -> Schema:
    status = _without(stored, secret_fields(kind.status))
    if kind.derive is not None:
        status = _with(
            status,
            {
                "phase": _text("Derived: one word for where it stands."),
                "class": {"type": "string", "enum": [each.value for each in Class]},
            },
        )
        status["properties"].setdefault("reason", {"anyOf": [ref("Reason"), {"type": "null"}]})
    return status


_TEXTS = {"type": "object", "additionalProperties": {"type": "string"}}
_WHOLE = {"type": "integer"}


def _fixed() -> dict[str, Schema]:
    """Schemas that follow from no type."""
    return {
        **_metadata(),
        "Problem": _problem(),
        "WatchEvent": _watch_event(),
        **_histories(),
        "Me": _me(),
        "Decision": {
            "type": "object",
            "description": "Every worker's answer when a place for the instance was looked for.",
        },
        "Fit": {
            "type": "object",
            "description": "What would become of a deployment; with `items`, one answer for each.",
        },
        "PasswordWasReset": {
            **_object("", {"password": _text("The generated one, this once.")}),
            "required": [],
        },
        "Health": _object("", {"status": _text("ok")}),
        "Version": _object("", {"version": _text("")}),
    }


def _metadata() -> dict[str, Schema]:
    return {
        "Metadata": _object(
            "What the store knows of an object, whatever its kind.",
            {
                "name": _text(""),
                "id": _text("Tells this object from an earlier one of the same name."),
                "labels": _TEXTS,
                "generation": {**_WHOLE, "description": "Counts changes of the spec."},
                "revision": {**_WHOLE, "description": "The store's revision of its last change."},
                "created_at": {"type": "string", "format": "date-time"},
            },
        ),
        "MetadataInput": {
            **_object("", {"name": _text(""), "labels": _TEXTS, "revision": _WHOLE}),
            "required": ["name"],
        },
        "MetadataPatch": {**_object("", {"labels": _TEXTS, "revision": _WHOLE}), "required": []},
    }


def _problem() -> Schema:
    fields = {
        "type": _text(""),
        "title": _text(""),
        "status": _WHOLE,
        "code": _text("Stable; programs look at this."),
        "detail": _text("What is wrong, one sentence."),
        "hint": _text("What to do about it."),
        "params": {"type": "object", "description": "The values in the sentence."},
        "instance": _text("The path asked for."),
        "request_id": _text("Under which the server's log has more."),
    }
    return {
        **_object("An error, after RFC 9457. `code` is stable.", fields),
        "required": ["type", "title", "status", "code", "detail"],
    }


def _watch_event() -> Schema:
    fields = {
        "revision": _WHOLE,
        "type": {
            "type": "string",
            "enum": ["ADDED", "MODIFIED", "DELETED", "BOOKMARK", "RESYNC"],
        },
        "kind": _text("Singular; absent in BOOKMARK and RESYNC."),
        "name": _text(""),
        "object": {"type": "object", "description": "The whole object."},
    }
    told = (
        "The data of one server-sent event. BOOKMARK: nothing before `revision` is still "
        "to come. RESYNC: list again; the stream ends."
    )
    return {**_object(told, fields), "required": ["revision", "type"]}


def _histories() -> dict[str, Schema]:
    items = happenings.entries()
    return {
        "Event": _object("What happened to an object, once or several times.", items["Event"]),
        "AuditEntry": _object("Who did what.", items["AuditEntry"]),
        "EventList": _history("Event"),
        "AuditList": _history("AuditEntry"),
    }


def _history(item: str) -> Schema:
    return _object(
        "One page, newest first; `total` counts all that match.",
        {"items": {"type": "array", "items": ref(item)}, "total": _WHOLE},
    )


def _me() -> Schema:
    return _object(
        "Who the caller is.",
        {
            "name": _text(""),
            "role": {"type": ["string", "null"], "enum": ["admin", "user", None]},
            "full_name": _text(""),
            "must_change_password": {"type": "boolean"},
            "signed_in_with": _text("user, key, localhost or gateway."),
            "key": _text("The API key's name, if one was used."),
        },
    )


def _text(description: str) -> Schema:
    return {"type": "string", "description": description} if description else {"type": "string"}


def _object(description: str, properties: Mapping[str, Any]) -> Schema:
    told = {"description": description} if description else {}
    return {
        "type": "object",
        **told,
        "properties": dict(properties),
        "required": list(properties),
    }


def _without(schema: Schema, fields: Iterable[str]) -> Schema:
    gone = frozenset(fields)
    properties = {k: v for k, v in schema.get("properties", {}).items() if k not in gone}
    required = [name for name in schema.get("required", []) if name not in gone]
    return {**schema, "properties": properties, "required": required}


def _with(schema: Schema, fields: Mapping[str, Any], *, required: bool = True) -> Schema:
    names = [*schema.get("required", []), *(fields if required else ())]
    return {
        **schema,
        "properties": {**schema.get("properties", {}), **fields},
        "required": names,
    }


def _complete(schema: Schema) -> Schema:
    """An answer has every field, also those that have a default."""
    properties = schema.get("properties")
    return schema if properties is None else {**schema, "required": list(properties)}


def clean(value: Any) -> Any:
    """Without pydantic's titles, our own marks, and empty lists of required fields."""
    if isinstance(value, list):
        return [clean(each) for each in cast("list[Any]", value)]
    if not isinstance(value, dict):
        return value
    cleaned: Schema = {}
    for key, each in cast("Schema", value).items():
        noise = (
            (key == "title" and isinstance(each, str))
            or (key in {"secret", "environment"} and each is True)
            or (key == "required" and each == [])
        )
        if not noise:
            cleaned[key] = clean(each)
    return cleaned


def _describe(schemas: Mapping[str, Schema]) -> None:
    """Give fields the sentence that stands below them in the source."""
    for name, schema in schemas.items():
        owner = _classes().get(name) or _classes().get(name.removesuffix("Input"))
        for field, sentence in (_field_docs(owner) if owner else NO_DOCS).items():
            known = schema.get("properties", {}).get(field)
            if known is not None and "description" not in known:
                schema["properties"][field] = {**known, "description": sentence}


def _classes() -> Mapping[str, type[Any]]:
    found: dict[str, type[Any]] = {}
    for name, module in sorted(sys.modules.items()):
        if name.startswith(OUR_MODULES):
            for each in vars(module).values():
                if inspect.isclass(each) and each.__module__ == name:
                    found.setdefault(each.__name__, each)
    return found


def _field_docs(owner: type[Any]) -> Mapping[str, str]:
    if not (issubclass(owner, BaseModel) or hasattr(owner, "__dataclass_fields__")):
        return {}
    body = ast.parse(textwrap.dedent(inspect.getsource(owner))).body[0]
    statements = body.body if isinstance(body, ast.ClassDef) else []
    docs: dict[str, str] = {}
    for field, below in pairwise(statements):
        if (
            isinstance(field, ast.AnnAssign)
            and isinstance(field.target, ast.Name)
            and isinstance(below, ast.Expr)
            and isinstance(below.value, ast.Constant)
            and isinstance(below.value.value, str)
        ):
            docs[field.target.id] = " ".join(inspect.cleandoc(below.value.value).split())
    return docs
