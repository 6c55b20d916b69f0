"""The watch stream: snapshot, changes, resuming, rights, revocation, shutdown."""

import asyncio
import json
from dataclasses import replace

from aimindserve.core.ids import WorkerName
from aimindserve.core.placement import Placement, Rank
from aimindserve.core.reason import Reason
from aimindserve.core.report import InstanceObservation, RunState
from aimindserve.gateway.table import KINDS, build
from aimindserve.resources._all import kinds
from aimindserve.resources._kind import dump
from aimindserve.resources.deployment import DeploymentSpec
from aimindserve.resources.instance import InstanceSpec, InstanceStatus
from aimindserve.resources.route import RouteSpec, RouteStatus
from aimindserve.resources.worker import WorkerStatus
from aimindserve.server import streams, watch
from aimindserve.store.base import Draft
from integration.server.control_plane import Open, plane
from integration.server.test_worker_protocol import seen as observation

SEEN = observation()
SPEC = DeploymentSpec.model_validate({"model": {"source": "local", "path": "/m"}})


def run(scenario, **settings):
    async def go():
        async with plane(**settings) as found:
            await scenario(found)

    asyncio.run(go())


def opened(found, party, query="", **headers):
    return Open(found.app, "/api/v1/watch", {**found.headers[party], **headers}, query)


def parse(block):
    fields = dict(line.split(": ", 1) for line in block.splitlines())
    return json.loads(fields["data"]), fields.get("id")


async def messages(stream, count):
    return [parse(each)[0] for each in await stream.blocks(count)]


async def deploy(found, name, **changes):
    return await found.store.create(Draft("deployment", name, SPEC.model_copy(update=changes)))


def test_a_snapshot_then_changes():
    async def scenario(found):
        await deploy(found, "a")
        await deploy(found, "b")
        revision = found.store.revision
        stream = opened(found, "ada", "kinds=deployments")
        blocks = [parse(each) for each in await stream.blocks(3)]
        assert [each[0]["type"] for each in blocks] == ["ADDED", "ADDED", "BOOKMARK"]
        assert [each[1] for each in blocks] == [None, None, str(revision)]
        first = blocks[0][0]
        assert (first["kind"], first["name"]) == ("deployment", "a")
        assert first["object"]["spec"]["replicas"] == 1
        assert stream.headers["content-type"].startswith("text/event-stream")
        assert stream.headers["cache-control"] == "no-store"
        assert stream.headers["x-accel-buffering"] == "no"

        await found.store.delete("deployment", "a")
        ((gone, identifier),) = [parse(each) for each in await stream.blocks(1)]
        assert (gone["type"], gone["name"]) == ("DELETED", "a")
        assert identifier == str(found.store.revision) == str(gone["revision"])
        await stream.close()
        assert found.app.services.streams.count() == 0

    run(scenario)


def test_resuming_misses_nothing_and_repeats_nothing():
    async def scenario(found):
        await deploy(found, "a")
        since = found.store.revision
        for name in ("b", "c"):
            await deploy(found, name)
        stream = opened(found, "ada", f"kinds=deployments&since={since}")
        assert [each["name"] for each in await messages(stream, 2)] == ["b", "c"]
        await stream.close()
        header = {"last-event-id": str(since + 1)}
        stream = opened(found, "ada", "kinds=deployments", **header)
        assert [each["name"] for each in await messages(stream, 1)] == ["c"]
        await stream.close()
        stream = opened(found, "ada", "kinds=deployments&since=0")
        assert [each["name"] for each in await messages(stream, 3)] == ["a", "b", "c"]
        await stream.close()

    run(scenario)


def test_a_revision_from_the_future_asks_to_list_again():
    async def scenario(found):
        stream = opened(found, "ada", "kinds=deployments&since=999999")
        (told,) = await messages(stream, 1)
        assert told == {"revision": found.store.revision, "type": "RESYNC"}
        await stream.wait_end()
        await stream.close()

    run(scenario)


def test_a_slow_reader_is_told_to_list_again():
    async def scenario(found):
        gate = asyncio.Event()
        watcher = watch.Watcher(
            found.app.services,
            found.app.services.verifier.localhost(),
            frozenset({"deployment"}),
            found.store.revision,
            secrets=False,
        )
        written = []

        async def write(data):
            written.append(data)
            await gate.wait()

        running = asyncio.ensure_future(watcher.run(write))
        for number in range(2000):  # more than may wait for it on all the way together
            await deploy(found, f"d{number}")
        gate.set()
        await asyncio.wait_for(running, 20)
        last = parse(written[-1].decode().strip().split("\n\n")[-1])[0]
        assert last["type"] == "RESYNC"

    run(scenario)


def test_many_changes_of_one_object_arrive_as_few():
    async def scenario(found):
        await deploy(found, "a")
        stream = opened(found, "ada", f"kinds=deployments&since={found.store.revision}")
        await asyncio.sleep(0.05)
        for number in range(1, 41):

            def scale(current, number=number):
                changed = current.spec.model_copy(update={"replicas": number})
                return type(current)(current.kind, current.metadata, changed, current.status)

            await found.store.update("deployment", "a", scale)
        seen = []
        while not seen or seen[-1]["object"]["spec"]["replicas"] != 40:
            seen += await messages(stream, 1)
        assert len(seen) < 20
        revisions = [each["revision"] for each in seen]
        assert revisions == sorted(set(revisions))
        await stream.close()

    run(scenario)


def test_everybody_sees_only_what_is_theirs():
    async def scenario(found):
        await found.add_key("ada-key", "ada", name="key-of-ada")
        await found.add_key("bob-key", "bob", name="key-of-bob")
        since = found.store.revision
        stream = opened(found, "bob", "kinds=api-keys")
        snapshot = await messages(stream, 2)
        assert [each.get("name") for each in snapshot] == ["key-of-bob", None]
        await found.store.delete("api-key", "key-of-ada")
        await found.store.delete("api-key", "key-of-bob")
        (gone,) = await messages(stream, 1)
        assert (gone["type"], gone["name"]) == ("DELETED", "key-of-bob")
        await stream.close()
        assert "key_hash" not in json.dumps([*snapshot, gone])
        for query, status in (
            ("kinds=users", 403),
            ("kinds=sessions", 403),
            ("kinds=nonsense", 400),
            ("kinds=deployments&secrets=true", 403),
            ("since=-1", 400),
        ):
            answer = await found.call("GET", f"/api/v1/watch?{query}", "bob")
            assert answer.status_code == status, query
        everything = opened(found, "bob", f"since={since}")
        (only,) = await messages(everything, 1)
        assert only["kind"] == "api-key"
        assert only["name"] == "key-of-bob"
        await everything.close()

    run(scenario)


def test_the_gateway_sees_secrets_and_nobody_else():
    async def scenario(found):
        await found.add_key("key", "ada")
        await found.add_worker("w")
        stream = opened(found, "gateway", "kinds=api-keys,workers,sessions&secrets=true")
        seen = [each for each in await messages(stream, 6) if "object" in each]
        by_kind = {each["kind"]: each["object"] for each in seen}
        assert len(by_kind["api-key"]["spec"]["key_hash"]) == 64
        assert by_kind["worker"]["spec"]["proxy_key"]
        assert by_kind["session"]["spec"]["token_hash"]
        await stream.close()
        stream = opened(found, "admin", "kinds=api-keys,workers,users")
        for each in await messages(stream, 6):
            text = json.dumps(each)
            assert "_hash" not in text
            assert "proxy_key" not in text
        await stream.close()

    run(scenario)


async def populate(found):
    """One object at least of every kind, in every state that a gateway tells apart."""
    await found.add_key("key", "ada", expires_in_s=9999.0, allowed_models=["chat"])
    spec = SPEC.model_copy(update={"env": {"HF_TOKEN": "canary-env"}})
    for name in ("chat", "idle"):
        await found.store.create(Draft("deployment", name, spec))
        target = {"targets": [{"deployment": name, "weight": 3}]}
        status = RouteStatus(categories=("llm",), context_length=4096)
        await found.store.create(Draft("route", name, RouteSpec.model_validate(target), status))
    for name in ("w1", "w2"):
        await found.add_worker(name)
        seen = replace(SEEN, host=f"10.0.0.{name[1]}", port=10150)
        status = WorkerStatus(ready=name == "w1", observed=seen)
        await found.store.update("worker", name, lambda old, s=status: old.with_status(s))
    for name, of, worker, state in (
        ("chat-1", "chat", "w1", RunState.READY),
        ("chat-2", "chat", "w2", RunState.READY),
        ("idle-1", "idle", "w1", RunState.FAILED),
    ):
        body = InstanceSpec(deployment=of, deployment_generation=1, template=spec)
        placement = Placement("p", "s", (Rank(WorkerName(worker)),))
        told = InstanceObservation("p", state, 1.0, reason=Reason("engine_exited", {"status": "1"}))
        status = InstanceStatus(placement=placement, observed=told)
        await found.store.create(Draft("instance", name, body, status))


def test_a_gateway_is_told_what_it_needs_and_nothing_else():
    async def scenario(found):
        await populate(found)
        stream = opened(found, "gateway", f"kinds={','.join(KINDS)}&secrets=true")
        told = []
        while not told or told[-1]["type"] != "BOOKMARK":
            told += await messages(stream, 1)
        await stream.close()
        text = json.dumps(told)
        for secret in ("password_hash", "credential_hash", "canary-env", "template", "full_name"):
            assert secret not in text
        documents, whole = {}, {}
        for each in told[:-1]:
            documents.setdefault(each["kind"], {})[each["name"]] = each["object"]
            resource = found.store.get(each["kind"], each["name"])
            derive = kinds()[each["kind"]].derive
            derived = derive(resource, found.store.find, 0.0) if derive else {}
            everything = found.app.services.renderer.plain(resource)
            everything["spec"] = dump(resource.spec)
            everything["status"] |= derived
            whole.setdefault(each["kind"], {})[each["name"]] = everything
        assert set(documents) == {kind.name for kind in kinds().values() if kind.gateway}
        assert {kinds()[name].plural for name in documents} == set(KINDS)
        table = build(documents, 7)
        assert table == build(whole, 7)
        assert len(table.routes["chat"].groups[0].targets) == 1
        assert "idle-1" in table.routes["idle"].reason
        assert len(table.keys) == 1
        assert len(table.sessions) == 3

        stream = opened(found, "gateway", "secrets=true")
        every = [each["kind"] for each in await messages(stream, len(told)) if "kind" in each]
        assert set(every) == set(documents)
        await stream.close()
        stream = opened(found, "gateway", "kinds=model-files&secrets=true")
        assert (await stream.wait_end(), stream.status)[1] == 403

    run(scenario)


def test_instances_are_sent_again_when_their_worker_comes_or_goes():
    async def scenario(found):
        await found.add_worker("w")
        placement = Placement("p1", "cpu", (Rank(WorkerName("w")),))
        spec = InstanceSpec(deployment="a", deployment_generation=1, template=SPEC)
        status = InstanceStatus(placement=placement)
        await found.store.create(Draft("instance", "a-1", spec, status))
        stream = opened(found, "ada", "kinds=instances")
        added, _bookmark = await messages(stream, 2)
        assert added["object"]["status"]["phase"] == "lost"

        async def ready(value):
            def change(current):
                return current.with_status(current.status.model_copy(update={"ready": value}))

            await found.store.update("worker", "w", change)

        await ready(True)
        (again,) = await messages(stream, 1)
        assert (again["type"], again["name"]) == ("MODIFIED", "a-1")
        assert again["object"]["status"]["phase"] == "placing"
        assert again["revision"] == found.store.revision
        await ready(False)
        (lost,) = await messages(stream, 1)
        assert lost["object"]["status"]["phase"] == "lost"
        assert lost["object"]["status"]["reason"]["message"]
        await stream.close()

    run(scenario)


def test_streams_end_when_the_credential_does(monkeypatch):
    monkeypatch.setattr(streams, "LOOK_S", 0.05)

    async def scenario(found):
        name = await found.add_key("key", "ada")
        by_key = opened(found, "key", "kinds=deployments")
        by_cookie = opened(found, "bob", "kinds=deployments")
        await by_key.blocks(1)
        await by_cookie.blocks(1)
        await found.store.delete("api-key", name)
        await found.call("POST", "/api/v1/auth/logout", "bob")
        await by_key.wait_end(2)
        await by_cookie.wait_end(2)

    run(scenario)


def test_a_party_has_only_so_many_streams():
    async def scenario(found):
        held = [opened(found, "ada", "kinds=deployments") for _ in range(3)]
        for each in held:
            await each.blocks(1)
        refused = await found.call("GET", "/api/v1/watch", "ada")
        assert (refused.status_code, refused.json()["code"]) == (429, "throttled")
        assert int(refused.headers["retry-after"]) >= 1
        other = opened(found, "bob", "kinds=deployments")
        await other.blocks(1)
        await held[0].close()
        again = opened(found, "ada", "kinds=deployments")
        await again.blocks(1)
        for each in (*held[1:], other, again):
            await each.close()

    run(scenario, streams_per_principal=3)


def test_bookmarks_come_while_nothing_happens(monkeypatch):
    monkeypatch.setattr(watch, "BOOKMARK_S", 0.05)

    async def scenario(found):
        stream = opened(found, "ada", "kinds=deployments")
        told = await messages(stream, 3)
        assert {each["type"] for each in told} == {"BOOKMARK"}
        assert {each["revision"] for each in told} == {found.store.revision}
        await stream.close()

    run(scenario)


def test_a_stopping_server_ends_its_streams():
    async def scenario(found):
        stream = opened(found, "ada", "kinds=deployments")
        await stream.blocks(1)
        found.app.end_streams()
        await stream.wait_end(2)
        answer = await found.call("GET", "/api/v1/watch", "ada")
        assert (answer.status_code, answer.json()["code"]) == (503, "unavailable")

    run(scenario)
