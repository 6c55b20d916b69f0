"""Every kind: declared soundly, round-trips, hides its secrets, validates what types cannot say."""

import pytest
from pydantic import ValidationError

from aimindserve.core.errors import InvalidError
from aimindserve.core.facts import ModelRef, SourceName
from aimindserve.resources._all import kinds
from aimindserve.resources._kind import (
    Kind,
    Metadata,
    Resource,
    document,
    dump,
    environments,
    gateway_document,
    secret_fields,
)
from aimindserve.resources.api_key import ApiKeySpec, ApiKeyStatus
from aimindserve.resources.deployment import PLUGIN as DEPLOYMENT
from aimindserve.resources.deployment import DeploymentSpec

ALL = list(kinds().values())


@pytest.mark.parametrize("kind", ALL, ids=lambda kind: kind.name)
def test_a_kind_is_declared_soundly(kind: Kind) -> None:
    assert kind.title
    assert kind.plural.startswith(kind.name[:-1])
    assert kind.access.read in {"user", "admin", "owner", "none"}
    assert kind.access.write in {"user", "admin", "owner", "none"}
    assert kind.access.read == "none" or kind.columns, "a kind people read needs columns"
    assert kind.status() is not None, "a status must have defaults: it is made by the store"


def test_smallest_deployment_round_trips() -> None:
    spec = DEPLOYMENT.parse_spec({"model": {"source": "local", "path": "/models/x.gguf"}})
    assert DEPLOYMENT.parse_spec(dump(spec)) == spec
    assert spec.replicas == 1
    assert spec.placement_strategy == "spread"


@pytest.mark.parametrize(
    "document_",
    [
        {},
        {"model": {"source": "ftp", "path": "/x"}},
        {"model": {"source": "local", "path": "/x"}, "replicas": -1},
        {"model": {"source": "local", "path": "/x"}, "replicas": 100000},
        {"model": {"source": "local", "path": "/x"}, "placement_strategy": "random"},
        {"model": {"source": "local", "path": "/x"}, "unknown": 1},
        {"model": {"source": "local", "path": "/x"}, "backend_parameters": ["--a\n--b"]},
        {"model": {"source": "local", "path": "/x"}, "gpu_selector": {"gpu_ids": ["cuda:0"]}},
        {
            "model": {"source": "local", "path": "/x"},
            "gpu_selector": {"gpu_ids": ["a:cuda:0"], "gpus_per_replica": 2},
        },
    ],
)
def test_bad_deployments_are_refused(document_: dict) -> None:
    with pytest.raises(ValidationError):
        DEPLOYMENT.parse_spec(document_)


def test_a_source_needs_its_own_field() -> None:
    spec = DeploymentSpec(model=ModelRef(source=SourceName.HUGGINGFACE, path="/x"))
    assert DEPLOYMENT.validate is not None
    with pytest.raises(InvalidError, match="repo is missing"):
        DEPLOYMENT.validate("x", spec, None)


def test_secrets_are_shown_to_the_gateway_alone() -> None:
    kind = kinds()["api-key"]
    key = Resource(
        "api-key",
        Metadata("k", "id"),
        ApiKeySpec(user="u", prefix="sk-aims_ab", key_hash="feed"),
        ApiKeyStatus(),
    )
    assert "key_hash" not in document(kind, key)["spec"]
    assert gateway_document(kind, key)["spec"]["key_hash"] == "feed"


def test_every_hash_and_key_field_is_declared_secret() -> None:
    for kind in ALL:
        for name in kind.spec.model_fields:
            if name.endswith(("_hash", "_key")) or name in {"credential", "password"}:
                assert name in secret_fields(kind.spec), (
                    f"{kind.name}.spec.{name} is shown to people"
                )


@pytest.mark.parametrize("kind", ALL, ids=lambda kind: kind.name)
def test_every_environment_is_found_however_deep_it_is(kind: Kind) -> None:
    for part in (kind.spec, kind.status):
        schema = part.model_json_schema()
        marks = sum(str(each).count("'environment': True") for each in _definitions(schema))
        assert len(environments(part)) == marks


def _definitions(schema: dict) -> list:
    return [*schema.get("$defs", {}).values(), {**schema, "$defs": {}}]


def test_fields_called_env_are_declared_as_environments() -> None:
    for kind in ALL:
        schema = str(kind.spec.model_json_schema()) + str(kind.status.model_json_schema())
        assert schema.count("'env': {") == schema.count("'environment': True"), kind.name
