"""`/openapi.json`, and `/docs` and `/redoc` as plain pages made from it: no script, no network.

Usual documentation pages load their code from a public network, which this server's users may not
have and its security policy does not allow.
"""

import re
from collections.abc import Callable, Iterable, Mapping
from functools import cache
from html import escape
from typing import Any

from fastapi import Request
from starlette.responses import Response

from aimindserve.core.errors import NotFoundError
from aimindserve.server.answers import answer
from aimindserve.server.operations import Audience, Operation
from aimindserve.server.web import html, page

Document = Mapping[str, Any]
_CODE = re.compile("`([^`]+)`")
METHODS = ("get", "post", "put", "patch", "delete")


def operations(make: Callable[[], Document], *, enabled: bool) -> Iterable[Operation]:
    """The three addresses; they answer 404 when the settings turn them off."""
    kept = cache(make)

    @cache
    def rendered() -> str:
        return render(kept())

    def check() -> None:
        if not enabled:
            raise NotFoundError("The API's description is turned off on this server.")

    async def openapi(request: Request) -> Response:
        """This document."""
        del request
        check()
        return answer(kept())

    async def docs(request: Request) -> Response:
        """The API for people to read."""
        del request
        check()
        return html(rendered())

    for path, endpoint, name in (
        ("/openapi.json", openapi, "openapi"),
        ("/docs", docs, "docs"),
        ("/redoc", docs, "redoc"),
    ):
        yield Operation(
            "GET",
            path,
            endpoint,
            Audience.MEMBER,
            name,
            "The API's description",
            "docs",
            shown=False,
        )


def render(document: Document) -> str:
    """The whole reference as one page."""
    by_tag: dict[str, list[str]] = {}
    for path, item in document["paths"].items():
        for method in METHODS:
            operation = item.get(method)
            if operation is not None:
                tag = str(operation.get("tags", ["other"])[0])
                by_tag.setdefault(tag, []).append(_operation(method, path, operation))
    tags = sorted(by_tag)
    menu = " · ".join(f'<a href="#{_anchor(tag)}">{escape(tag)}</a>' for tag in tags)
    parts = [
        f"<h1>{escape(document['info']['title'])} API</h1>",
        *(f"<p>{_prose(each)}</p>" for each in document["info"]["description"].split("\n\n")),
        f'<p>{menu} · <a href="#schemas">schemas</a> · '
        '<a href="/openapi.json">openapi.json</a></p>',
    ]
    for tag in tags:
        parts.append(f'<h2 id="{_anchor(tag)}">{escape(tag)}</h2>')
        parts.extend(by_tag[tag])
    parts.append('<h2 id="schemas">schemas</h2>')
    parts.extend(_schema(*each) for each in document["components"]["schemas"].items())
    return page("aiMindServe API", "<main>" + "".join(parts) + "</main>")


def _operation(method: str, path: str, operation: Mapping[str, Any]) -> str:
    rows = [
        (f"{each['name']} <span class=dim>({each['in']})</span>", _type(each.get("schema", {})),
         each.get("description", ""))
        for each in operation.get("parameters", ())
    ]  # fmt: skip
    sent = _bodies(operation.get("requestBody", {}))
    answers = [
        f"{escape(str(status))} {_bodies(each)}" for status, each in operation["responses"].items()
    ]
    return (
        f'<section><p><span class="method">{method.upper()}</span> <code>{escape(path)}</code><br>'
        f"{escape(operation.get('summary', ''))}</p>"
        f'<p class="dim">{_prose(operation.get("description", ""))}</p>'
        + _table(rows)
        + (f"<p>Body: {sent}</p>" if sent else "")
        + f"<p>Answers: {' · '.join(answers)}</p></section>"
    )


def _schema(name: str, schema: Mapping[str, Any]) -> str:
    required = set(schema.get("required", ()))
    rows = [
        (escape(field) + ("" if field in required else ' <span class="dim">(optional)</span>'),
         _type(each), each.get("description", ""))
        for field, each in schema.get("properties", {}).items()
    ]  # fmt: skip
    values = ", ".join(escape(str(each)) for each in schema.get("enum", ()))
    return (
        f'<section id="{_anchor(name)}"><p><b>{escape(name)}</b><br>'
        f'<span class="dim">{_prose(schema.get("description", ""))}</span></p>'
        + (f"<p>One of: {values}</p>" if values else "")
        + _table(rows)
        + "</section>"
    )


def _table(rows: Iterable[tuple[str, str, str]]) -> str:
    cells = "".join(
        f"<tr><td><code>{name}</code></td><td>{kind}</td><td>{_prose(text)}</td></tr>"
        for name, kind, text in rows
    )
    return f"<table>{cells}</table>" if cells else ""


def _bodies(holder: Mapping[str, Any]) -> str:
    return ", ".join(
        f"{_type(each.get('schema', {}))} <span class=dim>{escape(media)}</span>"
        for media, each in holder.get("content", {}).items()
    )


def _type(schema: Mapping[str, Any]) -> str:
    if "$ref" in schema:
        name = str(schema["$ref"]).rpartition("/")[2]
        return f'<a href="#{_anchor(name)}">{escape(name)}</a>'
    for word in ("anyOf", "oneOf", "allOf"):
        if word in schema:
            return " or ".join(_type(each) for each in schema[word])
    if schema.get("type") == "array":
        return f"list of {_type(schema.get('items', {}))}"
    if "const" in schema:
        return f"<code>{escape(str(schema['const']))}</code>"
    kind: str | list[str] = schema.get("type", "any")
    return escape(kind if isinstance(kind, str) else ", ".join(kind))


def _prose(text: str) -> str:
    """Sentences in which words between backticks are code."""
    return _CODE.sub(r"<code>\1</code>", escape(text))


def _anchor(text: str) -> str:
    return "".join(letter if letter.isalnum() else "-" for letter in text)
