"""Errors by code, typed objects, and what is sent, over a transport without sockets."""

import asyncio
import dataclasses
import inspect
import json

import httpx
import pytest

from aimindserve.client import types
from aimindserve.client.aio import AsyncClient
from aimindserve.client.calls import Listing
from aimindserve.client.collection import AsyncCollection, Collection
from aimindserve.client.errors import code_of, from_answer
from aimindserve.client.exchange import base_url
from aimindserve.client.objects import KINDS
from aimindserve.client.sync import Client
from aimindserve.core import errors
from aimindserve.core.errors import problem
from aimindserve.resources._all import kinds

DEPLOYMENT = {
    "kind": "deployment",
    "metadata": {"name": "m", "labels": {}, "generation": 1, "revision": 7, "created_at": "x"},
    "spec": {"model": {"source": "local", "path": "/m.gguf"}, "replicas": 2, "novelty": 1},
    "status": {"ready_replicas": 1, "phase": "degraded", "class": "attention"},
}


def client(answer, **options):
    return Client("http://server", transport=httpx.MockTransport(answer), **options)


def raised(kind):
    return kind in {errors.AimsError, errors.SettingsError}


@pytest.mark.parametrize(
    "kind",
    [
        found
        for _, found in inspect.getmembers(errors, inspect.isclass)
        if issubclass(found, errors.AimsError) and not raised(found)
    ],
)
def test_every_error_of_the_server_comes_out_as_the_same_class(kind):
    told = kind("It is so.", hint="Do this.", params={"a": 1})
    body = json.dumps(problem(told, request_id="r1")).encode()
    error = from_answer(kind.status, body)
    assert type(error) is kind
    assert (error.message, error.hint) == ("It is so.", "Do this.")
    assert error.params == {"a": 1, "request_id": "r1"}


def test_an_unknown_code_keeps_its_code_and_its_status_decides_the_class():
    body = json.dumps({"code": "new_thing", "detail": "Something new."}).encode()
    error = from_answer(409, body, "r2")
    assert isinstance(error, errors.ConflictError)
    assert code_of(error) == "new_thing"
    assert error.params["request_id"] == "r2"
    assert error.params["status"] == 409
    assert type(from_answer(418, b"I am a teapot")) is errors.AimsError


def test_the_gateway_s_errors_are_read_too():
    body = json.dumps(errors.openai_envelope(errors.ThrottledError("Slow."), source="gateway"))
    assert isinstance(from_answer(429, body.encode()), errors.ThrottledError)


def test_no_answer_is_unreachable_with_advice():
    def refuse(request):
        raise httpx.ConnectError("connection refused", request=request)

    with pytest.raises(errors.UnavailableError, match="connection refused") as caught:
        client(refuse).deployments.list()
    assert caught.value.code == "unreachable"
    assert "aimindserve start" in caught.value.hint


@pytest.mark.parametrize("body", [b"<html>", b"[1]", b'{"items": 3}', b'{"items": [{}]}'])
def test_an_answer_of_something_else_is_no_traceback(body):
    with pytest.raises(errors.UpstreamError):
        client(lambda _: httpx.Response(200, content=body)).deployments.list()


def test_a_redirect_is_told_and_not_followed_with_the_credential():
    def answer(_):
        return httpx.Response(301, headers={"location": "https://elsewhere/"})

    with pytest.raises(errors.UpstreamError, match="https://elsewhere/"):
        client(answer, api_key="sk").deployments.get("m")


def test_objects_are_typed_and_keep_what_this_client_does_not_know():
    found = client(lambda _: httpx.Response(200, json=DEPLOYMENT)).deployments.get("m")
    assert found.spec.model.path == "/m.gguf"
    assert found.spec.replicas == 2
    assert found.status.ready_replicas == 1
    assert found.phase == "degraded"
    assert found.document["spec"]["novelty"] == 1


def test_a_document_that_does_not_fit_is_an_error_of_ours():
    wrong = {**DEPLOYMENT, "spec": {"model": 3}}
    found = client(lambda _: httpx.Response(200, json=wrong)).deployments.get("m")
    with pytest.raises(errors.UpstreamError, match="DeploymentSpec"):
        _ = found.spec


def test_requests_are_what_the_api_takes():
    seen = []

    def answer(request):
        seen.append(request)
        return httpx.Response(200, json=DEPLOYMENT)

    with client(answer, api_key="sk-1", session="s") as open_client:
        spec = types.DeploymentSpec(model=types.ModelRef("local", path="/m.gguf"))
        open_client.deployments.create("m", spec, {"a": "b"})
        open_client.deployments.patch("m/../x", {"spec": {"replicas": 2}})
        open_client.deployments.replace(DEPLOYMENT)
        open_client.deployments.delete("m", revision=7)
    create, patch, put, delete = seen
    assert create.headers["authorization"] == "Bearer sk-1"
    assert "cookie" not in create.headers
    assert json.loads(create.content)["spec"]["model"]["path"] == "/m.gguf"
    assert patch.url.raw_path == b"/api/v1/deployments/m%2F..%2Fx"
    assert patch.headers["content-type"] == "application/merge-patch+json"
    assert "status" not in json.loads(put.content)
    assert delete.url.params["revision"] == "7"


def test_pages_are_walked_to_the_end():
    def answer(request):
        page = int(request.url.params["page"])
        items = [DEPLOYMENT] * (2 if page < 3 else 1)
        return httpx.Response(200, json={"items": items, "revision": 1, "total": 5})

    assert len(list(client(answer).deployments.all(Listing(per_page=2)))) == 5


def test_login_uses_the_session_from_then_on():
    seen = []

    def answer(request):
        seen.append(request.headers.get("cookie"))
        return httpx.Response(200, json={}, headers={"set-cookie": "aims_session=abc; Path=/"})

    open_client = client(answer)
    assert open_client.login("admin", "x").session == "abc"
    open_client.me()
    assert seen == [None, "aims_session=abc"]


@pytest.mark.parametrize(
    ("text", "url"),
    [
        ("gpu-01", "http://gpu-01"),
        ("gpu-01:8080/", "http://gpu-01:8080"),
        ("https://x.org/aims/v1/", "https://x.org/aims"),
        ("http://[::1]:80", "http://[::1]"),
    ],
)
def test_addresses_are_read_kindly(text, url):
    assert base_url(text) == url


@pytest.mark.parametrize("text", ["", "ftp://x", "http://", "http://x:port"])
def test_what_is_no_address_is_refused(text):
    with pytest.raises(errors.InvalidError):
        base_url(text)


def public(kind):
    return {name for name in vars(kind) if not name.startswith("_")} - {"close", "aclose", "twin"}


@pytest.mark.parametrize(("sync", "aio"), [(Client, AsyncClient), (Collection, AsyncCollection)])
def test_both_clients_offer_the_same(sync, aio):
    assert public(sync) == public(aio)
    for name in public(sync):
        mine, other = getattr(sync, name), getattr(aio, name)
        if inspect.isfunction(mine):
            assert list(inspect.signature(mine).parameters) == list(
                inspect.signature(other).parameters
            ), name


def test_the_client_for_asyncio_reads_the_same():
    async def scenario():
        transport = httpx.MockTransport(lambda _: httpx.Response(200, json=DEPLOYMENT))
        async with AsyncClient("http://server", transport=transport) as found:
            return (await found.deployments.get("m")).status.ready_replicas

    assert asyncio.run(scenario()) == 1


DERIVED = {"estimate": {"predicted_bytes", "measured_bytes", "error", "sample_count", "tokens_s"}}
"""Shown, and stored nowhere."""


@pytest.mark.parametrize("name", sorted(KINDS))
def test_types_have_the_fields_of_the_resources(name):
    mine, theirs = KINDS[name], kinds()[name]
    assert mine.plural == theirs.plural
    for part, model, extra in (
        (mine.spec, theirs.spec, set()),
        (mine.status, theirs.status, {"phase", "reason"} | DERIVED.get(name, set())),
    ):
        shown = {
            field
            for field, info in model.model_fields.items()
            if not (info.json_schema_extra or {}).get("secret")
        }
        fields = {one.name for one in dataclasses.fields(part)}
        assert fields - extra == shown - extra, (name, part.__name__)
