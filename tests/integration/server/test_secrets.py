"""Secrets in a deployment's environment: no answer holds one, no read-modify-write loses one."""

import asyncio

import pytest

from aimindserve.core.ids import WorkerName
from aimindserve.core.placement import Placement, Rank
from aimindserve.core.secrecy import MASK
from aimindserve.resources.instance import InstanceSpec, InstanceStatus
from aimindserve.store.base import Draft
from integration.server.control_plane import Open, plane

CANARY = "canary-3f1c9a"
PROXY = f"http://ada:{CANARY}@proxy:3128"
ENV = {"HF_TOKEN": CANARY, "HTTPS_PROXY": PROXY, "PLAIN": "shown"}
SHOWN = {"HF_TOKEN": MASK, "HTTPS_PROXY": MASK, "PLAIN": "shown"}
SPEC = {"model": {"source": "local", "path": "/m.gguf"}, "env": ENV}
PATH = "/api/v1/deployments"
READERS = ("admin", "ada", "ada-key", "gateway", "w", "join")
STREAMS = {"/api/v1/watch", "/api/v1/workers/{name}/desired"}


def run(scenario):
    async def scene():
        async with plane() as found:
            body = {"metadata": {"name": "chat"}, "spec": SPEC}
            made = await found.call("POST", PATH, "admin", json=body)
            assert made.status_code == 201, made.text
            assert made.json()["spec"]["env"] == SHOWN
            assert CANARY not in made.text
            await scenario(found)

    asyncio.run(scene())


def stored(found):
    return found.store.get("deployment", "chat").spec.env


async def place(found):
    """An instance of the deployment that worker `w` must run."""
    await found.add_worker("w")
    await found.add_key("ada-key", "ada", name="k")
    deployment = found.store.get("deployment", "chat")
    spec = InstanceSpec(deployment="chat", deployment_generation=1, template=deployment.spec)
    placement = Placement(
        id="p", shape="fake", ranks=(Rank(worker=WorkerName("w")),), backend="fake"
    )
    await found.store.create(Draft("instance", "chat-1", spec, InstanceStatus(placement=placement)))
    found.decisions.put("chat-1", {"instance": "chat-1", "decided_at": 0.0})


NAMES = {"deployments": "chat", "instances": "chat-1", "workers": "w", "users": "ada",
         "api-keys": "k"}  # fmt: skip


def bodies(operation, document):
    """Bodies that the route takes, so that it answers with what it made of them."""
    if operation.path == "/api/v1/fit":
        asked = {"spec": document["spec"], "name": "chat"}
        return [asked, {"items": [asked]}, {"spec": SPEC}, {"spec": {**SPEC, "env": {"TOKEN": 5}}}]
    if not operation.path.startswith(PATH):
        return [{}]
    revision = document["metadata"]["revision"]
    return {
        "POST": [{"metadata": {"name": "other"}, "spec": SPEC}],
        "PUT": [{**{k: document[k] for k in ("kind", "metadata", "spec")}}],
        "PATCH": [{"spec": {"env": {"NEW_TOKEN": CANARY}}}, {"metadata": {"revision": revision}}],
        "DELETE": [None],
    }.get(operation.method, [None])


def test_no_route_answers_with_a_secret():
    async def scenario(found):
        await place(found)
        answered = set()
        operations = sorted(found.app.operations, key=lambda each: each.method == "DELETE")
        for operation in operations:
            if operation.path in STREAMS or "/auth/" in operation.path:
                continue
            kind = operation.path.split("/")[3] if operation.path.startswith("/api/") else ""
            path = operation.path.replace("{name}", NAMES.get(kind, "nobody"))
            for party in reversed(READERS):
                document = (await found.call("GET", f"{PATH}/chat", "admin")).json()
                for body in bodies(operation, document):
                    answer = await found.call(operation.method, path, party, json=body)
                    assert CANARY not in answer.text, f"{operation.method} {path} as {party}"
                    assert CANARY not in str(answer.headers)
                    if answer.is_success:
                        answered.add((operation.method, operation.path))
        for method, path in (
            ("GET", PATH),
            ("GET", f"{PATH}/{{name}}"),
            ("POST", PATH),
            ("PUT", f"{PATH}/{{name}}"),
            ("PATCH", f"{PATH}/{{name}}"),
            ("DELETE", f"{PATH}/{{name}}"),
            ("GET", "/api/v1/instances"),
            ("GET", "/api/v1/instances/{name}"),
            ("GET", "/api/v1/instances/{name}/decision"),
            ("GET", "/api/v1/events"),
            ("GET", "/api/v1/audit"),
            ("POST", "/api/v1/fit"),
        ):
            assert (method, path) in answered, f"{method} {path} never answered: nothing was tried"

    run(scenario)


@pytest.mark.parametrize("party", ["admin", "ada", "gateway"])
def test_no_watch_tells_a_secret(party):
    async def scenario(found):
        await place(found)
        for query in ("", "secrets=true")[: 2 if party == "gateway" else 1]:
            stream = Open(found.app, "/api/v1/watch", found.headers[party], query)
            told = []
            while not told or "BOOKMARK" not in told[-1]:
                told += await stream.blocks(1)
            patch = {"spec": {"env": {"OTHER": query or "x"}}}
            await found.call("PATCH", f"{PATH}/chat", "admin", json=patch)
            told += await stream.blocks(1)
            await stream.close()
            for kind in ("deployment", "instance"):
                shown = [each for each in told if f'"kind":"{kind}"' in each]
                assert shown
                assert query or all(MASK in each for each in shown)
            assert "MODIFIED" in told[-1]
            assert CANARY not in "".join(told)

    run(scenario)


def test_the_worker_that_must_run_it_gets_the_secret():
    async def scenario(found):
        await place(found)
        stream = Open(found.app, "/api/v1/workers/w/desired", found.headers["w"])
        (block,) = await stream.blocks(1)
        await stream.close()
        assert CANARY in block
        assert MASK not in block

    run(scenario)


def test_what_is_read_changed_and_written_keeps_the_secrets():
    async def scenario(found):
        document = (await found.call("GET", f"{PATH}/chat", "ada")).json()
        document.pop("status")
        document["spec"]["replicas"] = 2
        document["spec"]["env"] |= {"PLAIN": "changed", "NEW": "1"}
        answer = await found.call("PUT", f"{PATH}/chat", "admin", json=document)
        assert answer.status_code == 200, answer.text
        assert stored(found) == {**ENV, "PLAIN": "changed", "NEW": "1"}
        assert answer.json()["spec"]["env"] == {**SHOWN, "PLAIN": "changed", "NEW": "1"}

        patch = {"spec": {"env": {"HF_TOKEN": MASK, "HTTPS_PROXY": None, "NEW": None}}}
        answer = await found.call("PATCH", f"{PATH}/chat", "admin", json=patch)
        assert answer.status_code == 200, answer.text
        assert stored(found) == {"HF_TOKEN": CANARY, "PLAIN": "changed"}

        same = await found.call("PATCH", f"{PATH}/chat", "admin", json=patch)
        assert same.json()["metadata"] == answer.json()["metadata"]

        patch = {"spec": {"env": {"HF_TOKEN": "another"}}}
        await found.call("PATCH", f"{PATH}/chat", "admin", json=patch)
        assert stored(found)["HF_TOKEN"] == "another"

    run(scenario)


def test_a_mask_that_stands_for_nothing_is_refused():
    async def scenario(found):
        document = (await found.call("GET", f"{PATH}/chat", "admin")).json()
        document.pop("status")
        new = {"metadata": {"name": "b"}, "spec": document["spec"]}
        renamed = {**document, "spec": {**document["spec"], "env": {"HF_TOKEN_2": MASK}}}
        plain = {"spec": {"env": {"PLAIN": MASK}}}
        for method, path, body, field in (
            ("POST", PATH, new, "spec.env.HF_TOKEN"),
            ("PUT", f"{PATH}/chat", renamed, "spec.env.HF_TOKEN_2"),
            ("PATCH", f"{PATH}/chat", plain, "spec.env.PLAIN"),
            ("POST", "/api/v1/fit", {"spec": document["spec"]}, "spec.env.HF_TOKEN"),
        ):
            answer = await found.call(method, path, "admin", json=body)
            assert answer.status_code == 422, answer.text
            assert answer.json()["code"] == "unprocessable"
            assert field in answer.json()["params"]["fields"]
        assert stored(found) == ENV

    run(scenario)
