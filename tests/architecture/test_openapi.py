"""The committed OpenAPI document is what the server says, and it is sound.

After a change of the API: python -m aimindserve.server.openapi_snapshot docs/reference/openapi.json
"""

import json
import re
from pathlib import Path

import pytest

from aimindserve.resources._all import kinds
from aimindserve.server.openapi_snapshot import snapshot, text

COMMITTED = Path(__file__).resolve().parents[2] / "docs" / "reference" / "openapi.json"


@pytest.fixture(scope="module")
def document():
    return snapshot()


def references(value):
    if isinstance(value, dict):
        for key, each in value.items():
            if key == "$ref":
                yield each
            else:
                yield from references(each)
    elif isinstance(value, list):
        for each in value:
            yield from references(each)


def operations(document):
    for path, item in document["paths"].items():
        for method, operation in item.items():
            yield f"{method.upper()} {path}", operation


def test_snapshot_is_committed(document):
    assert COMMITTED.read_text(encoding="utf-8") == text(document), (
        "the API has changed; if that is meant: "
        "python -m aimindserve.server.openapi_snapshot docs/reference/openapi.json"
    )


def test_every_reference_has_its_schema(document):
    schemas = document["components"]["schemas"]
    named = {each.rpartition("/")[2] for each in references(document)}
    assert named <= set(schemas)
    # Reached by people, not by references: a schema nobody uses is a leftover.
    unused = set(schemas) - named
    assert not unused, unused


def test_names_are_clean(document):
    for name in document["components"]["schemas"]:
        assert re.fullmatch(r"[A-Z][A-Za-z]+", name), name


def test_operation_ids_are_unique(document):
    ids = [operation["operationId"] for _, operation in operations(document)]
    assert len(ids) == len(set(ids))
    assert all(re.fullmatch(r"[a-z_]+", each) for each in ids)


def test_every_operation_declares_the_problem_document(document):
    for where, operation in operations(document):
        refusal = operation["responses"]["default"]["content"]
        assert refusal == {
            "application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}
        }, where
        assert operation["summary"], where
        assert "For: " in operation["description"], where


def test_every_readable_kind_is_there(document):
    for kind in kinds().values():
        found = f"/api/v1/{kind.plural}" in document["paths"]
        assert found == (kind.access.read != "none"), kind.name


def test_no_secret_field_is_named(document):
    shown = json.dumps(document)
    for secret in ("password_hash", "key_hash", "token_hash", "credential_hash"):
        assert secret not in shown
    assert "proxy_key" not in document["components"]["schemas"]["WorkerSpec"]["properties"]


def test_only_what_needs_no_sign_in_says_so(document):
    public = {where for where, operation in operations(document) if operation.get("security") == []}
    assert public == {
        "GET /healthz",
        "GET /readyz",
        "GET /version",
        "POST /api/v1/auth/login",
    }


def test_what_only_the_server_sets_cannot_be_sent(document):
    schemas = document["components"]["schemas"]
    assert schemas["WorkerSpec"]["properties"]["machine_id"]["readOnly"] is True
    assert set(schemas["WorkerSpecInput"]["properties"]) == {"cordoned"}
    assert set(schemas["ApiKeySpecInput"]["properties"]) == {"description"}
    assert "password_hash" not in schemas["UserSpecInput"]["properties"]
