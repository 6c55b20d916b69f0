"""Joining, the desired set, reports: what an agent and the server say to each other."""

import asyncio
import json
from dataclasses import replace

import msgspec

from aimindserve.core.device import Inventory, Reserved, Usage
from aimindserve.core.facts import ModelFacts, ModelRef, SourceName
from aimindserve.core.ids import WorkerName
from aimindserve.core.launch import DesiredSet
from aimindserve.core.placement import Placement, Rank
from aimindserve.core.reason import Reason
from aimindserve.core.report import (
    Ack,
    FileObservation,
    FileState,
    InstanceObservation,
    Report,
    RunState,
    WorkerObservation,
)
from aimindserve.resources.deployment import DeploymentSpec
from aimindserve.resources.instance import InstanceSpec, InstanceStatus
from aimindserve.resources.model_file import ModelFileSpec
from aimindserve.store.base import Draft
from integration.server.control_plane import Open, plane

GIB = 1024**3
REGISTER = "/api/v1/workers/register"
SPEC = DeploymentSpec.model_validate(
    {
        "model": {"source": "local", "path": "/m.gguf"},
        "backend": "llama.cpp",
        "backend_parameters": ["--ctx-size=4096"],
        "env": {"B": "2", "A": "1"},
    }
)
USAGE = Usage(
    cpu=0.5,
    ram_used_bytes=GIB,
    ram_available_bytes=3 * GIB,
    swap_used_bytes=0,
    disk_available_bytes=9 * GIB,
)


def seen(**changes):
    inventory = Inventory(
        os="linux",
        os_name="Debian",
        os_version="12",
        kernel="6.1",
        arch="amd64",
        cpu_name="x",
        cpu_count=2,
        ram_bytes=4 * GIB,
        swap_bytes=0,
        boot_time=1.0,
    )
    whole = WorkerObservation(
        version="1",
        host="10.0.0.5",
        port=10150,
        metrics_port=10151,
        inventory=inventory,
        usage=USAGE,
        reserved=Reserved(),
    )
    return replace(whole, **changes)


def running(placement="p1", **changes):
    first = InstanceObservation(placement_id=placement, state=RunState.READY, since=1.0, port=40000)
    return replace(first, **changes)


async def place(found, name, worker, placement="p1", **changes):
    spec = InstanceSpec(deployment="d", deployment_generation=1, template=SPEC, **changes)
    where = Placement(
        placement,
        "cpu",
        (Rank(WorkerName(worker)),),
        parameters=("--flag",),
        backend="chosen",
    )
    await found.store.create(Draft("instance", name, spec, InstanceStatus(placement=where)))


async def report(found, worker, instances=(), files=(), *, observed=None, revision=0):
    body = Report(revision, observed or seen(), tuple(instances), tuple(files))
    return await found.call(
        "PUT",
        f"/api/v1/workers/{worker}/report",
        worker,
        content=msgspec.json.encode(body),
        headers={"content-type": "application/json"},
    )


def run(scenario):
    async def go():
        async with plane() as found:
            await scenario(found)

    asyncio.run(go())


def test_joining_and_coming_back():
    async def scenario(found):
        first = await found.add_worker("gpu", labels={"zone": "a"})
        assert first["name"] == "gpu"
        assert found.store.get("worker", "gpu").metadata.labels == {"zone": "a"}
        again = await found.add_worker("gpu")
        assert again["name"] == "gpu"
        assert again["credential"] != first["credential"]
        old = {"authorization": f"Bearer {first['credential']}"}
        answer = await found.call("PUT", "/api/v1/workers/gpu/report", headers=old)
        assert answer.status_code == 401
        other = await found.add_worker("gpu", machine_id="another-machine")
        third = await found.add_worker("gpu", machine_id="a-third-machine")
        assert (other["name"], third["name"]) == ("gpu-2", "gpu-3")
        back = await found.add_worker("whatever", machine_id="another-machine")
        assert back["name"] == "gpu-2"
        stored = json.dumps(str(found.store.list("worker")))
        assert all(each["credential"] not in stored for each in (first, again, other))

    run(scenario)


def test_a_chosen_name_is_not_given_to_another_machine():
    async def scenario(found):
        await found.add_worker("gpu")
        body = {"name": "gpu", "explicit_name": True, "machine_id": "another-machine"}
        answer = await found.call("POST", REGISTER, "join", json=body)
        assert (answer.status_code, answer.json()["code"]) == (409, "exists")
        same = {**body, "machine_id": "machine-of-gpu"}
        assert (await found.call("POST", REGISTER, "join", json=same)).json()["name"] == "gpu"

    run(scenario)


def test_joining_refuses_what_is_wrong():
    async def scenario(found):
        wrong = await found.call("POST", REGISTER, "wrong", json={})
        assert wrong.status_code == 401
        assert wrong.json()["hint"]
        for body in (
            {"name": "UPPER", "machine_id": "machine-1"},
            {"name": "a", "machine_id": "x"},
            {"name": "a", "machine_id": "machine 1\n"},
            {"name": "a", "machine_id": "machine-1", "labels": {"a b": "c"}},
            {"name": "a", "machine_id": "machine-1", "is_admin": True},
        ):
            answer = await found.call("POST", REGISTER, "join", json=body)
            assert answer.status_code == 400, body

    run(scenario)


def read_set(block):
    name, data = block.split("\n", 1)
    assert name == "event: desired"
    return msgspec.json.decode(data.removeprefix("data: "), type=DesiredSet)


def test_the_desired_set_at_once_and_at_every_change():
    async def scenario(found):
        await found.add_worker("w")
        await found.add_worker("v")
        await place(found, "d-1", "w")
        stream = Open(found.app, "/api/v1/workers/w/desired", found.headers["w"])
        (block,) = await stream.blocks(1)
        first = read_set(block)
        assert first.worker == "w"
        (assignment,) = first.instances
        assert assignment.instance == "d-1"
        assert assignment.backend == "chosen"
        assert assignment.options.parameters == ("--ctx-size=4096", "--flag")
        assert assignment.options.env == (("A", "1"), ("B", "2"))
        assert assignment.placement.id == "p1"

        await place(found, "d-2", "v", "p2")
        await found.store.create(Draft("deployment", "d", SPEC))
        model = ModelRef(SourceName.LOCAL, path="/m.gguf")
        await found.store.create(Draft("model-file", "w-1", ModelFileSpec(worker="w", model=model)))
        second = read_set((await stream.blocks(1))[0])
        assert [each.instance for each in second.instances] == ["d-1"]
        assert [(each.name, each.model) for each in second.files] == [("w-1", model)]
        assert second.revision > first.revision

        def stop(current):
            return replace(current, spec=current.spec.model_copy(update={"stopping": True}))

        await found.store.update("instance", "d-1", stop)
        third = read_set((await stream.blocks(1))[0])
        assert third.instances == ()
        await stream.close()

    run(scenario)


def across(*workers):
    ranks = tuple(Rank(WorkerName(each)) for each in workers)

    def widen(current):
        placement = replace(current.status.placement, ranks=ranks)
        status = current.status.model_copy(update={"placement": placement})
        return replace(current, status=status)

    return widen


def test_workers_of_one_placement_learn_of_each_other_and_nobody_else_does():
    async def scenario(found):
        for name in ("u", "v", "w"):
            await found.add_worker(name)
        await report(found, "v", observed=seen(host="10.0.0.7", port=10250))
        await place(found, "wide", "w", "p1")
        await found.store.update("instance", "wide", across("w", "v", "u"))
        await place(found, "alone", "v", "p2")
        sets, streams = {}, {}
        for name in ("u", "v", "w"):
            path = f"/api/v1/workers/{name}/desired"
            streams[name] = Open(found.app, path, found.headers[name])
            first = read_set((await streams[name].blocks(1))[0])
            sets[name] = {each.instance: each for each in first.instances}
        led = sets["w"]["wide"]
        assert [(each.worker, each.host, each.port) for each in led.peers] == [
            ("v", "10.0.0.7", 10250), ("u", "", 0),
        ]  # fmt: skip
        assert sets["v"]["wide"].peers == ()
        secret = led.tunnel_secret
        assert len(secret) >= 32
        assert {sets[name]["wide"].tunnel_secret for name in "uvw"} == {secret}
        assert sets["v"]["alone"].tunnel_secret == ""
        assert secret not in repr(led)

        # It is in no answer but these: not in what the store keeps, nor in what people are told.
        for path in ("/api/v1/instances", "/api/v1/instances/wide", "/api/v1/workers"):
            assert secret not in (await found.call("GET", path, "admin")).text

        await report(found, "v", observed=seen(host="10.0.0.8", port=10250))
        moved = read_set((await streams["w"].blocks(1))[0])
        assert moved.instances[0].peers[0].host == "10.0.0.8", "the first one is told at once"
        for stream in streams.values():
            await stream.close()

    run(scenario)


def test_another_placement_has_another_secret():
    async def scenario(found):
        for name in ("v", "w"):
            await found.add_worker(name)
        secrets = set()
        for number in (1, 2):
            await place(found, f"wide-{number}", "w", f"p{number}")
            await found.store.update("instance", f"wide-{number}", across("w", "v"))
        stream = Open(found.app, "/api/v1/workers/w/desired", found.headers["w"])
        first = read_set((await stream.blocks(1))[0])
        secrets = {each.tunnel_secret for each in first.instances}
        assert len(secrets) == 2
        await stream.close()

    run(scenario)


def test_what_a_worker_saw_wakes_nobody():
    async def scenario(found):
        await found.add_worker("w")
        await place(found, "d-1", "w")
        stream = Open(found.app, "/api/v1/workers/w/desired", found.headers["w"])
        await stream.blocks(1)
        await report(found, "w", [("d-1", running())])
        await report(found, "w", [("d-1", running(state=RunState.FAILED))])
        try:
            await stream.blocks(1, within_s=0.3)
        except (TimeoutError, asyncio.TimeoutError):
            pass
        else:
            raise AssertionError("an observation was sent back as a desired set")
        await stream.close()

    run(scenario)


def test_a_removed_worker_loses_its_stream():
    async def scenario(found):
        await found.add_worker("w")
        stream = Open(found.app, "/api/v1/workers/w/desired", found.headers["w"])
        await stream.blocks(1)
        assert (await found.call("DELETE", "/api/v1/workers/w", "admin")).status_code == 200
        await stream.wait_end(2)
        assert (await report(found, "w")).status_code == 401

    run(scenario)


def test_a_report_is_believed_as_far_as_it_concerns_the_worker():
    async def scenario(found):
        await found.add_worker("w")
        await place(found, "mine", "w")
        await place(found, "other", "v", "p2")
        await place(found, "newer", "w", "p4")
        model = ModelRef(SourceName.LOCAL, path="/m.gguf")
        for name, worker in (("w-1", "w"), ("v-1", "v")):
            spec = ModelFileSpec(worker=worker, model=model)
            await found.store.create(Draft("model-file", name, spec))
        facts = ModelFacts(format="gguf", architecture="llama", size_bytes=5, head_count_kv=(3,))
        looked = FileObservation(FileState.READY, path="/m.gguf", size_bytes=5, facts=facts)
        answer = await report(
            found,
            "w",
            [
                ("mine", running(reason=Reason("engine_exited", {"status": "exit 1"}))),
                ("other", running("p2")),
                ("newer", running("p3")),
                ("unknown", running("p9")),
            ],
            [("w-1", looked), ("v-1", looked), ("nothing", looked)],
        )
        assert answer.status_code == 200, answer.text
        ack = msgspec.json.decode(answer.content, type=Ack)
        assert ack.interval_s == 10
        assert ack.revision == found.store.revision
        get = found.store.get
        assert get("instance", "mine").status.observed.state is RunState.READY
        assert get("instance", "other").status.observed is None
        assert get("instance", "newer").status.observed is None
        assert get("model-file", "w-1").status.observed == looked
        assert get("model-file", "v-1").status.observed is None
        assert get("worker", "w").status.observed.host == "10.0.0.5"
        shown = (await found.call("GET", "/api/v1/instances/mine", "ada")).json()
        reason = shown["status"]["observed"]["reason"]
        assert "exit 1" in reason["message"]
        assert reason["fix"]

    run(scenario)


def test_numbers_are_shown_but_not_stored():
    async def scenario(found):
        await found.add_worker("w")
        await place(found, "d-1", "w")
        await report(found, "w", [("d-1", running(rss_bytes=1))])
        revision = found.store.revision
        busy = replace(USAGE, cpu=0.9, ram_used_bytes=2 * GIB)
        for tokens in (100, 200, 300):
            moved = running(rss_bytes=77, generated_tokens=tokens, generated_s=tokens / 10)
            await report(found, "w", [("d-1", moved)], observed=seen(usage=busy))
        assert found.store.revision == revision
        worker = (await found.call("GET", "/api/v1/workers/w", "ada")).json()
        assert worker["status"]["observed"]["usage"]["cpu"] == 0.9
        instance = (await found.call("GET", "/api/v1/instances/d-1", "ada")).json()
        shown = instance["status"]["observed"]
        assert shown["rss_bytes"] == 77
        assert (shown["generated_tokens"], shown["generated_s"]) == (300, 30.0)

    run(scenario)


def test_a_stopping_instance_goes_when_its_worker_lets_go_of_it():
    async def scenario(found):
        await found.add_worker("w")
        await place(found, "seen", "w", stopping=True)
        await place(found, "unseen", "w", "p2", stopping=True)
        await place(found, "wanted", "w", "p3")
        await report(found, "w", [("seen", running()), ("wanted", running("p3"))])
        assert found.store.find("instance", "seen") is not None
        # It never saw `unseen`, and may be starting it: the set it acted on is too old to know.
        assert found.store.find("instance", "unseen") is not None
        await report(found, "w", [("wanted", running("p3"))], revision=found.store.revision)
        assert found.store.find("instance", "seen") is None
        assert found.store.find("instance", "unseen") is None
        await report(found, "w", revision=found.store.revision)
        assert found.store.get("instance", "wanted").status.observed is None

    run(scenario)


def test_an_instance_on_two_workers_goes_when_both_let_go_of_it():
    async def scenario(found):
        for name in ("v", "w"):
            await found.add_worker(name)
        await place(found, "wide", "w")

        def widen(current):
            ranks = (Rank("w"), Rank("v"))
            placement = replace(current.status.placement, ranks=ranks)
            spec = current.spec.model_copy(update={"stopping": True})
            status = current.status.model_copy(update={"placement": placement})
            return replace(current, spec=spec, status=status)

        await found.store.update("instance", "wide", widen)
        stopped = found.store.revision
        await report(found, "w", revision=stopped)
        assert found.store.find("instance", "wide") is not None, "v has not been heard"
        await report(found, "v", [("wide", running())], revision=stopped)
        assert found.store.find("instance", "wide") is not None, "v still has it"
        await report(found, "v", revision=stopped)
        assert found.store.find("instance", "wide") is None

    run(scenario)


def test_impossible_addresses_and_broken_reports_are_refused():
    async def scenario(found):
        await found.add_worker("w")
        for host in (
            "169.254.169.254",
            "0.0.0.0",
            "::",
            "224.0.0.1",
            "a b",
            "",
            "2852039166",
            "x/y",
        ):
            answer = await report(found, "w", observed=seen(host=host))
            assert answer.status_code == 400, host
        assert found.store.get("worker", "w").status.observed is None
        path = "/api/v1/workers/w/report"
        answer = await found.call("PUT", path, "w", json={"desired_revision": "x"})
        assert answer.json()["code"] == "body_invalid"

    run(scenario)


def test_a_ready_worker_is_deleted_only_by_force():
    async def scenario(found):
        await found.add_worker("w")

        def ready(current):
            return current.with_status(current.status.model_copy(update={"ready": True}))

        await found.store.update("worker", "w", ready)
        answer = await found.call("DELETE", "/api/v1/workers/w", "admin")
        assert (answer.status_code, answer.json()["code"]) == (409, "conflict")
        assert "force" in answer.json()["hint"]
        answer = await found.call("DELETE", "/api/v1/workers/w?force=true", "admin")
        assert answer.status_code == 200

    run(scenario)


def test_a_wrong_join_token_is_called_that_and_many_have_to_wait():
    async def scenario(found):
        wrong = {"authorization": "Bearer not-the-token", "x-aims-client": "192.0.2.9"}
        path = "/api/v1/workers/register"
        body = {"name": "w", "machine_id": "m" * 16}
        told = await found.call("POST", path, json=body, headers=wrong)
        assert (told.status_code, told.json()["code"]) == (401, "unauthenticated")
        assert told.json()["detail"] == "The join token is wrong."
        assert "--token" in told.json()["hint"]
        for _ in range(9):
            await found.call("POST", path, json=body, headers=wrong)
        right = {**found.headers["join"], "x-aims-client": "192.0.2.9"}
        late = await found.call("POST", path, json=body, headers=right)
        assert (late.status_code, late.json()["code"]) == (429, "throttled")
        assert int(late.headers["retry-after"]) >= 1
        elsewhere = {**right, "x-aims-client": "192.0.2.10"}
        assert (await found.call("POST", path, json=body, headers=elsewhere)).is_success
        found.clock.shift += 61
        assert (await found.call("POST", path, json=body, headers=right)).is_success
        for number in range(40):  # a fleet behind one address
            many = {"name": f"f{number}", "machine_id": f"{number:016}"}
            assert (await found.call("POST", path, json=many, headers=right)).is_success

    run(scenario)


def test_a_report_that_was_held_up_on_its_way_deletes_nothing():
    async def scenario(found):
        await found.add_worker("w")
        await place(found, "m-1", "w")
        now = found.store.revision
        assert (await report(found, "w", [("m-1", running())], revision=now)).is_success

        def stop(current):
            return replace(current, spec=current.spec.model_copy(update={"stopping": True}))

        await found.store.update("instance", "m-1", stop)
        await report(found, "w", revision=1)
        kept = found.store.find("instance", "m-1")
        assert kept is not None, "it is from before the worker had the instance"
        assert kept.status.observed == running()
        await report(found, "w", revision=now)
        assert found.store.find("instance", "m-1") is None

    run(scenario)
