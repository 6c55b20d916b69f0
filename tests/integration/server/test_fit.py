"""The preview over HTTP: what may be asked, what comes back, and what is said of bad questions."""

import asyncio
from dataclasses import replace

import pytest

from aimindserve.controllers.inspections import MODELS_MAX
from aimindserve.core.device import Device, Reserved, Usage
from aimindserve.core.facts import ModelRef, SourceName
from aimindserve.core.report import FileObservation, FileState, WorkerObservation
from aimindserve.kit.units import GIB
from aimindserve.resources.model_file import ModelFileSpec, ModelFileStatus
from aimindserve.resources.worker import WorkerSpec, WorkerStatus
from aimindserve.server.actions.fit import TOGETHER_MAX
from aimindserve.sim.cluster import model_facts
from aimindserve.store.base import Draft
from aimindserve.worker.simulated import EXAMPLE_MACHINE
from integration.server.control_plane import plane

FIT = "/api/v1/fit"
PATH = "/models/chat.gguf"
MODEL = ModelRef(SourceName.LOCAL, path=PATH)
SPEC = {
    "model": {"source": "local", "path": PATH},
    "backend": "fake",
    "backend_parameters": ["--vram=60GiB", "--ram=1GiB"],
}


def run(scenario):
    async def scene():
        async with plane() as found:
            await add_worker(found, "gpu-01", 2)
            await scenario(found)

    asyncio.run(scene())


async def add_worker(found, name, devices):
    cards = tuple(
        Device(f"{name}:cuda:{at}", at, "cuda", "nvidia", "H100", 80 * GIB) for at in range(devices)
    )
    machine = replace(EXAMPLE_MACHINE, ram_bytes=64 * GIB, devices=cards)
    seen = WorkerObservation(
        "1", "127.0.0.1", 1, 0, machine, Usage(0.0, 0, 64 * GIB, 0, 0), Reserved()
    )
    await found.store.create(Draft("worker", name, WorkerSpec()))
    status = WorkerStatus(ready=True, observed=seen)
    await found.store.update("worker", name, lambda old: old.with_status(status))
    from aimindserve.controllers.views import model_file_name

    file = model_file_name(name, MODEL)
    await found.store.create(Draft("model-file", file, ModelFileSpec(worker=name, model=MODEL)))
    known = FileObservation(FileState.READY, path=PATH, facts=model_facts(0))
    await found.store.update(
        "model-file", file, lambda old: old.with_status(ModelFileStatus(observed=known))
    )


def test_an_administrator_asks_and_nothing_is_deployed():
    async def scenario(found):
        answer = await found.call("POST", FIT, "admin", json={"spec": SPEC, "replicas": 2})
        assert answer.status_code == 200, answer.text
        made = answer.json()
        assert made["verdict"] == "fits"
        assert made["id"].startswith("fit_")
        assert made["revision"] == found.store.revision
        assert {each["gpus"][0]["id"] for each in made["placements"]} == {
            "gpu-01:cuda:0",
            "gpu-01:cuda:1",
        }
        assert made["placements"][0]["gpus"][0]["parts"]["weights"] == 60 * GIB
        assert (await found.call("GET", "/api/v1/deployments", "admin")).json()["items"] == []
        refused = await found.call("POST", FIT, "ada", json={"spec": SPEC})
        assert refused.status_code == 403

    run(scenario)


def test_one_bad_item_does_not_take_the_others_along():
    async def scenario(found):
        items = [{"spec": SPEC}, {"spec": {"model": {"source": "local"}}}, {"spec": SPEC}]
        answer = await found.call("POST", FIT, "admin", json={"items": items})
        assert answer.status_code == 200, answer.text
        first, bad, last = answer.json()["items"]
        assert first["verdict"] == last["verdict"] == "fits"
        assert bad["error"]["code"] == "invalid"
        assert "path" in bad["error"]["detail"]

    run(scenario)


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "spec"),
        ({"spec": SPEC, "items": [{"spec": SPEC}]}, "items"),
        ({"spec": SPEC, "replicas": 0}, "replicas"),
        ({"spec": SPEC, "colour": "red"}, "colour"),
        ({"spec": {**SPEC, "replicas": "many"}}, "spec.replicas"),
        ({"changes": {"workers_added": [{"count": 5000}]}}, "changes.workers_added.0.count"),
    ],
)
def test_a_bad_question_names_its_field(body, field):
    async def scenario(found):
        answer = await found.call("POST", FIT, "admin", json=body)
        assert answer.status_code == 400, answer.text
        assert field in str(answer.json()["params"])

    run(scenario)


def test_a_worker_that_does_not_exist_cannot_be_lost():
    async def scenario(found):
        body = {"changes": {"workers_lost": ["gpu-09"]}}
        answer = await found.call("POST", FIT, "admin", json=body)
        assert answer.status_code == 400
        assert "gpu-09" in answer.json()["detail"]

    run(scenario)


def test_what_if_answers_for_the_cluster_as_it_would_be():
    async def scenario(found):
        body = {"spec": SPEC, "replicas": 3}
        assert (await found.call("POST", FIT, "admin", json=body)).json()["verdict"] == "no"
        more = {**body, "changes": {"workers_added": [{"like": "gpu-01"}]}}
        made = (await found.call("POST", FIT, "admin", json=more)).json()
        assert made["verdict"] == "fits"
        assert "gpu-01-new-1" in {each["worker"] for each in made["placements"]}
        none = {**body, "changes": {"workers_lost": ["gpu-01"]}}
        made = (await found.call("POST", FIT, "admin", json=none)).json()
        assert made["verdict"] == "no"
        assert made["reason"]["code"] == "no_worker"

    run(scenario)


def test_a_deployment_is_written_only_with_the_verdict_that_was_seen():
    async def scenario(found):
        def body(replicas):
            return {"metadata": {"name": "chat"}, "spec": {**SPEC, "replicas": replicas}}

        path = "/api/v1/deployments"
        for seen in ("no", "fits,tight"):
            answer = await found.call("POST", f"{path}?fit={seen}", "admin", json=body(3))
            if seen == "no":
                assert answer.status_code == 201
                assert (await found.call("DELETE", f"{path}/chat", "admin")).status_code == 200
                continue
            problem = answer.json()
            assert (answer.status_code, problem["code"]) == (409, "fit_changed")
            assert problem["params"]["fit"]["replicas"] == {"asked": 3, "placed": 2}
            assert "the verdict is no" in problem["detail"]
            assert found.store.find("deployment", "chat") is None
        made = await found.call("POST", f"{path}?fit=fits", "admin", json=body(2))
        assert made.status_code == 201
        wider = {"spec": {"replicas": 3}}
        headers = {"content-type": "application/merge-patch+json"}
        answer = await found.call(
            "PATCH", f"{path}/chat?fit=fits", "admin", json=wider, headers=headers
        )
        assert answer.status_code == 409
        assert found.store.get("deployment", "chat").spec.replicas == 2
        stale = {**wider, "metadata": {"revision": 1}}
        answer = await found.call(
            "PATCH", f"{path}/chat?fit=fits", "admin", json=stale, headers=headers
        )
        assert answer.json()["code"] == "stale", "nobody is asked about what is not written anyway"
        again = await found.call("POST", f"{path}?fit=fits", "admin", json=body(9))
        assert again.json()["code"] == "exists"
        other = {**body(1), "metadata": {"name": "other"}}
        wrong = await found.call("POST", f"{path}?fit=perhaps", "admin", json=other)
        assert wrong.status_code == 400
        assert "'perhaps' is no verdict" in wrong.json()["detail"]

    run(scenario)


HARDWARE = {"devices": 2, "device_memory_bytes": 80 * GIB, "ram_bytes": 64 * GIB}


@pytest.mark.parametrize(
    ("added", "field"),
    [
        ({**HARDWARE, "os": "beos"}, "os"),
        ({**HARDWARE, "arch": "vax"}, "arch"),
        ({**HARDWARE, "device_type": "abacus"}, "device_type"),
        ({"devices": 2, "ram_bytes": GIB}, "device_memory_bytes"),
        ({"device_memory_bytes": GIB}, "devices"),
        ({"like": "gpu-01", "ram_bytes": GIB}, "ram_bytes"),
        ({"like": "gpu-01", "labels": {"a": "b"}}, "labels"),
        ({"like": "gpu-01", "os": "linux"}, "os"),
    ],
)
def test_hardware_that_cannot_be_meant_is_refused_by_its_field(added, field):
    async def scenario(found):
        changes = {"workers_added": [{"like": "gpu-01"}, added]}
        for asked in ({"spec": SPEC}, {"items": [{"spec": SPEC}]}, {}):
            body = {**asked, "changes": changes}
            answer = await found.call("POST", FIT, "admin", json=body)
            assert answer.status_code == 422, answer.text
            assert answer.headers["content-type"] == "application/problem+json"
            problem = answer.json()
            assert problem["code"] == "unprocessable"
            assert problem["params"]["fields"] == [f"changes.workers_added.1.{field}"]
            assert f"workers_added.1.{field}" in problem["detail"]

    run(scenario)


def test_hardware_that_is_described_is_thought_of():
    async def scenario(found):
        body = {"spec": SPEC, "replicas": 4}
        assert (await found.call("POST", FIT, "admin", json=body)).json()["verdict"] == "no"
        for kind in (HARDWARE, {"like": "gpu-01", "count": 1}):
            more = {**body, "changes": {"workers_added": [kind]}}
            made = (await found.call("POST", FIT, "admin", json=more)).json()
            assert made["verdict"] == "fits", made

    run(scenario)


def test_no_replicas_are_answered_as_no_replicas():
    async def scenario(found):
        stopped = {**SPEC, "replicas": 0}
        made = (await found.call("POST", FIT, "admin", json={"spec": stopped})).json()
        assert made["replicas"] == {"asked": 0, "placed": 0}
        assert made["placements"] == []
        body = {"spec": stopped, "replicas": 2}
        made = (await found.call("POST", FIT, "admin", json=body)).json()
        assert made["replicas"] == {"asked": 2, "placed": 2}

    run(scenario)


def test_items_of_a_batch_wait_for_workers_together_and_none_fails_for_their_number():
    """Nobody looks at these models here: the first eight take as long as workers are waited for,
    for the others there is no worker to wait for."""

    async def scenario(found):
        items = [
            {
                "spec": {
                    **SPEC,
                    "model": {"source": "local", "path": f"/m/{number}.gguf"},
                    "worker_selector": {} if number < TOGETHER_MAX else {"zone": "nowhere"},
                }
            }
            for number in range(MODELS_MAX + 8)
        ]
        items.insert(3, {"spec": SPEC})
        running = most = 0
        answer = found.app.services.parts.fits.answer

        async def counted(*words, **fields):
            nonlocal running, most
            running += 1
            most = max(most, running)
            try:
                return await answer(*words, **fields)
            finally:
                running -= 1

        found.app.services.parts.fits.answer = counted
        made = await found.call("POST", FIT, "admin", json={"items": items}, timeout=120)
        assert made.status_code == 200, made.text
        answers = made.json()["items"]
        assert [each["verdict"] for each in answers].count("fits") == 1
        assert answers[3]["verdict"] == "fits", "answers come in the order of the questions"
        assert not any("error" in each for each in answers)
        assert most == TOGETHER_MAX

    run(scenario)
