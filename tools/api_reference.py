"""Writes docs/reference/api.md from the committed OpenAPI snapshot and the gateway's path list.

Run `python tools/api_reference.py` after a change of either; a test compares.
"""

import json
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
SNAPSHOT = ROOT / "docs/reference/openapi.json"
WRITTEN = frozenset({"ModelRef", "GpuSelector", "NewApiKey", "NewUser"})
TARGET = ROOT / "docs/reference/api.md"

INTRO = """# API reference

Generated from [openapi.json](openapi.json), which is generated from the declarations of the kinds.

## Inference

The gateway answers these itself or relays them byte for byte to a ready instance; `/v1-openai/…`
is the same as `/v1/…`. Errors use OpenAI's envelope, with `code` and with `source` (gateway,
worker, backend).

| path | what |
|---|---|
| `GET /v1/models`, `GET /v1/models/{id}` | the routes that the key may use |
| `POST /v1/chat/completions`, `/v1/completions`, `/v1/responses` | text, streamed or not |
| `POST /v1/embeddings`, `/v1/rerank`, `/v1/score` | for models that can |
| `POST /v1/images/generations`, `/v1/images/edits` | for models that can |
| `POST /v1/audio/speech`, `/v1/audio/transcriptions`, `…/translations` | for models that can |
| `POST /v1/messages`, `/v1/messages/count_tokens` | for backends that speak Anthropic's |

`GET /healthz`, `/readyz` and `/version` need no credential.

## Credentials

One of: `Authorization: Bearer KEY`, `x-api-key: KEY`, or the session cookie of `POST
/api/v1/auth/login`. Two at once are refused. Requests from the server's own machine without a
credential act as admin until `--force-auth-localhost` is set.

## Management

Objects are `{"kind", "metadata", "spec", "status"}`. Replaces carry `metadata.revision` and answer
409 when it is stale; `PATCH` is a merge patch (RFC 7396); lists take `page`, `per_page`, `search`,
`label` and `sort`. Errors are problems (RFC 9457) with a stable `code`: see
[troubleshooting](../troubleshooting.md). `GET /api/v1/watch?kinds=deployments,instances` is a
stream of server-sent events: without `since` every object first, then each change once and in
order; `BOOKMARK` tells the revision to resume from, `RESYNC` asks for a new list.
"""


def page(document: dict[str, Any]) -> str:
    """The whole page."""
    lines = [INTRO, "### Paths", "", "| method | path | what |", "|---|---|---|"]
    for path, methods in sorted(document["paths"].items()):
        for method, operation in methods.items():
            if method in {"get", "post", "put", "patch", "delete"}:
                summary = " ".join((operation.get("summary") or "").split())
                lines.append(f"| {method.upper()} | `{path}` | {summary} |")
    lines += ["", "### Objects", ""]
    schemas = document["components"]["schemas"]
    for name in sorted(schemas):
        shown = name.endswith("Spec") or name in WRITTEN
        if shown and "properties" in schemas[name]:
            # What one may send has defaults; what comes back always has every field.
            lines += _fields(name, schemas.get(f"{name}Input", schemas[name]))
    return "\n".join(lines).rstrip() + "\n"


def _fields(name: str, schema: dict[str, Any]) -> list[str]:
    lines = [f"#### {name}", "", "| field | type | default |", "|---|---|---|"]
    required = set(schema.get("required", ()))
    for field, about in schema["properties"].items():
        default = "required" if field in required else json.dumps(about.get("default"))
        lines.append(f"| `{field}` | {_type(about)} | {default} |")
    return [*lines, ""]


def _type(about: dict[str, Any]) -> str:
    if "$ref" in about:
        return str(about["$ref"]).rsplit("/", 1)[-1].removesuffix("Input")
    if "anyOf" in about:
        return " or ".join(_type(choice) for choice in about["anyOf"])
    if about.get("type") == "array":
        return f"list of {_type(about.get('items', {}))}"
    if "enum" in about:
        return ", ".join(str(value) for value in about["enum"])
    return str(about.get("type", "any"))


def main() -> int:
    """Write the page."""
    TARGET.write_text(page(json.loads(SNAPSHOT.read_text(encoding="utf-8"))), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
