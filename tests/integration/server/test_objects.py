"""List, get, create, replace, patch and delete, as any kind has them."""

import asyncio

from aimindserve.resources.instance import InstanceSpec
from aimindserve.store.base import Draft
from integration.server.control_plane import plane

MODEL = {"source": "local", "path": "/models/m.gguf"}
PATH = "/api/v1/deployments"


def deployment(name: str, **spec):
    return {"metadata": {"name": name}, "spec": {"model": MODEL, **spec}}


def run(scenario):
    async def go():
        async with plane() as found:
            await scenario(found)

    asyncio.run(go())


def test_an_object_from_birth_to_death():
    async def scenario(found):
        made = await found.call("POST", PATH, "admin", json=deployment("chat", replicas=2))
        assert made.status_code == 201
        assert made.headers["location"] == f"{PATH}/chat"
        document = made.json()
        assert document["kind"] == "deployment"
        assert document["spec"]["replicas"] == 2
        assert document["status"]["phase"] == "progressing"
        assert document["metadata"]["generation"] == 1
        assert (await found.call("GET", f"{PATH}/chat", "ada")).json() == document

        document["spec"]["replicas"] = 3
        document.pop("status")
        replaced = await found.call("PUT", f"{PATH}/chat", "admin", json=document)
        assert replaced.status_code == 200, replaced.text
        assert replaced.json()["metadata"]["generation"] == 2

        stale = await found.call("PUT", f"{PATH}/chat", "admin", json=document)
        assert (stale.status_code, stale.json()["code"]) == (409, "stale")

        gone = await found.call("DELETE", f"{PATH}/chat", "admin")
        assert gone.status_code == 200
        assert gone.json()["spec"]["replicas"] == 3
        assert (await found.call("GET", f"{PATH}/chat", "admin")).status_code == 404
        assert (await found.call("DELETE", f"{PATH}/chat", "admin")).status_code == 404
        actions = [(each.action, each.actor) for each in found.audit if each.kind == "deployment"]
        assert actions == [(word, "user:admin") for word in ("create", "replace", "delete")]

    run(scenario)


def test_creating_refuses_what_is_wrong():
    async def scenario(found):
        for body, field in (
            ({"spec": {"model": MODEL}}, "metadata.name"),
            (deployment("Upper"), "metadata.name"),
            (deployment("a" * 64), "metadata.name"),
            (deployment("../etc"), "metadata.name"),
            (deployment("a\n"), "metadata.name"),
            (deployment("a", replicas=-1), "spec.replicas"),
            (deployment("a", unknown=1), "spec.unknown"),
            (deployment("a") | {"status": {"replicas": 9}}, "status"),
            (deployment("a") | {"kind": "worker"}, "kind"),
            (
                {"metadata": {"name": "a", "revision": 3}, "spec": {"model": MODEL}},
                "metadata.revision",
            ),
            (
                {"metadata": {"name": "a"}, "spec": {"model": {"source": "local"}}},
                "spec.model.path",
            ),
            (
                {"metadata": {"name": "a", "labels": {"": "x"}}, "spec": {"model": MODEL}},
                "metadata.labels",
            ),
            (
                {"metadata": {"name": "a", "labels": {"x": "\x1b["}}, "spec": {"model": MODEL}},
                "metadata.labels",
            ),
        ):
            answer = await found.call("POST", PATH, "admin", json=body)
            assert answer.status_code == 400, body
            assert answer.json()["params"]["fields"] == [field], answer.text
        assert (await found.call("POST", PATH, "admin", json=deployment("a"))).status_code == 201
        again = await found.call("POST", PATH, "admin", json=deployment("a"))
        assert (again.status_code, again.json()["code"]) == (409, "exists")

    run(scenario)


def test_server_owned_fields_cannot_be_set():
    async def scenario(found):
        await found.add_worker("w")
        worker = (await found.call("GET", "/api/v1/workers/w", "admin")).json()
        status = worker.pop("status")
        assert "credential_hash" not in worker["spec"]
        assert "proxy_key" not in worker["spec"]
        for section, field, value in (
            ("metadata", "id", "other"),
            ("metadata", "generation", 99),
            ("metadata", "created_at", "2020-01-01T00:00:00.000Z"),
            ("metadata", "name", "other"),
            ("spec", "machine_id", "another-machine"),
            ("spec", "credential_hash", "x"),
            ("spec", "proxy_key", "x"),
        ):
            changed = {**worker, section: {**worker[section], field: value}}
            answer = await found.call("PUT", "/api/v1/workers/w", "admin", json=changed)
            assert answer.status_code == 400, (field, answer.text)
            patch = {section: {field: value}}
            answer = await found.call("PATCH", "/api/v1/workers/w", "admin", json=patch)
            assert answer.status_code == 400, (field, answer.text)
        for field in ("ready", "observed", "phase"):
            patch = {"status": {field: status.get(field)}}
            answer = await found.call("PATCH", "/api/v1/workers/w", "admin", json=patch)
            assert answer.status_code == 400
        # Everything sent back unchanged is fine: read, edit, write.
        worker["spec"]["cordoned"] = True
        answer = await found.call("PUT", "/api/v1/workers/w", "admin", json=worker)
        assert answer.status_code == 200, answer.text
        stored = found.store.get("worker", "w").spec
        assert stored.cordoned
        assert stored.credential_hash
        assert stored.proxy_key

    run(scenario)


def test_patch_is_a_merge_patch():
    async def scenario(found):
        body = deployment("a", env={"A": "1", "B": "2"}, description="d")
        body["metadata"]["labels"] = {"team": "x", "tier": "gold"}
        await found.call("POST", PATH, "admin", json=body)
        patch = {
            "metadata": {"labels": {"tier": None, "new": "y"}},
            "spec": {"env": {"B": None, "C": "3"}, "description": None},
        }
        answer = await found.call(
            "PATCH",
            f"{PATH}/a",
            "admin",
            json=patch,
            headers={"content-type": "application/merge-patch+json"},
        )
        assert answer.status_code == 200, answer.text
        document = answer.json()
        assert document["metadata"]["labels"] == {"team": "x", "new": "y"}
        assert document["spec"]["env"] == {"A": "1", "C": "3"}
        assert document["spec"]["description"] == ""
        revision = document["metadata"]["revision"]

        nothing = await found.call("PATCH", f"{PATH}/a", "admin", json={})
        assert nothing.json()["metadata"]["revision"] == revision
        old = {"metadata": {"revision": revision - 1}, "spec": {"replicas": 7}}
        assert (await found.call("PATCH", f"{PATH}/a", "admin", json=old)).status_code == 409
        new = {"metadata": {"revision": revision}, "spec": {"replicas": 7}}
        assert (await found.call("PATCH", f"{PATH}/a", "admin", json=new)).status_code == 200
        required = {"spec": {"model": None}}
        assert (await found.call("PATCH", f"{PATH}/a", "admin", json=required)).status_code == 400

    run(scenario)


def test_many_patches_at_once_lose_nothing():
    async def scenario(found):
        await found.call("POST", PATH, "admin", json=deployment("a"))
        patches = [{"metadata": {"labels": {f"k{n}": "v"}}} for n in range(20)]
        answers = await asyncio.gather(
            *(found.call("PATCH", f"{PATH}/a", "admin", json=each) for each in patches)
        )
        assert {each.status_code for each in answers} == {200}
        labels = found.store.get("deployment", "a").metadata.labels
        assert set(labels) == {f"k{n}" for n in range(20)}

    run(scenario)


def test_lists_choose_order_and_cut():
    async def scenario(found):
        for number in range(7):
            body = deployment(f"m{number}")
            body["metadata"]["labels"] = {"tier": "gold" if number % 2 else "tin", "all": "yes"}
            await found.call("POST", PATH, "admin", json=body)

        async def names(query):
            answer = (await found.call("GET", f"{PATH}?{query}", "ada")).json()
            assert answer["revision"] == found.store.revision
            return [each["metadata"]["name"] for each in answer["items"]], answer["total"]

        assert await names("per_page=3") == (["m0", "m1", "m2"], 7)
        assert await names("per_page=3&page=3") == (["m6"], 7)
        assert await names("page=99") == ([], 7)
        assert await names("sort=-name&per_page=2") == (["m6", "m5"], 7)
        assert await names("sort=-created_at&per_page=1") == (["m6"], 7)
        assert await names("search=M3") == (["m3"], 1)
        assert await names("search=gol") == (["m1", "m3", "m5"], 3)
        assert await names("label=tier=gold&label=all=yes") == (["m1", "m3", "m5"], 3)
        assert await names("label=tier=gold,all=no") == ([], 0)
        for bad in (
            "perpage=3",
            "page=1&page=2",
            "sort=spec",
            "label=x",
            "per_page=0",
            "per_page=501",
            "page=0",
            "search=" + "x" * 201,
        ):
            assert (await found.call("GET", f"{PATH}?{bad}", "ada")).status_code == 400, bad

    run(scenario)


def test_delete_can_name_a_revision():
    async def scenario(found):
        made = (await found.call("POST", PATH, "admin", json=deployment("a"))).json()
        revision = made["metadata"]["revision"]
        answer = await found.call("DELETE", f"{PATH}/a?revision={revision - 1}", "admin")
        assert answer.json()["code"] == "stale"
        answer = await found.call("DELETE", f"{PATH}/a?revision={revision}", "admin")
        assert answer.status_code == 200

    run(scenario)


def test_kinds_that_only_controllers_write():
    async def scenario(found):
        for path in ("/api/v1/instances", "/api/v1/routes"):
            assert (await found.call("GET", path, "ada")).status_code == 200
            for method, where in (("POST", path), ("PUT", f"{path}/x"), ("DELETE", f"{path}/x")):
                answer = await found.call(method, where, "admin", json={})
                assert answer.status_code == 405
        for method in ("GET", "POST"):
            assert (await found.call(method, "/api/v1/sessions", "admin")).status_code == 404

    run(scenario)


def test_an_instance_shows_its_phase_and_its_decision():
    async def scenario(found):
        made = (await found.call("POST", PATH, "admin", json=deployment("a"))).json()
        template = found.store.get("deployment", "a").spec
        spec = InstanceSpec(deployment="a", deployment_generation=1, template=template)
        await found.store.create(Draft("instance", "a-12345", spec))
        shown = (await found.call("GET", "/api/v1/instances/a-12345", "ada")).json()
        assert shown["status"]["phase"] == "queued"
        assert shown["spec"]["template"] == made["spec"]
        where = "/api/v1/instances/a-12345/decision"
        assert (await found.call("GET", where, "ada")).status_code == 404
        kept = {"workers": [{"name": "w", "reason": {"code": "no_fit_ram"}}]}
        found.decisions.put("a-12345", kept)
        assert (await found.call("GET", where, "ada")).json() == kept
        assert (await found.call("GET", "/api/v1/instances/b/decision", "ada")).status_code == 404

    run(scenario)


def test_the_description_of_the_api():
    async def scenario(found):
        for path in ("/docs", "/redoc"):
            page = await found.call("GET", path, "ada")
            assert page.status_code == 200
            assert "<script" not in page.text
            assert "http://" not in page.text
            assert "https://" not in page.text
            assert "/api/v1/deployments/{name}" in page.text
        document = (await found.call("GET", "/openapi.json", "ada")).json()
        assert document["openapi"].startswith("3.")
        assert (await found.call("GET", "/docs")).status_code == 401

    run(scenario)


def test_the_description_can_be_turned_off():
    async def scenario():
        async with plane(openapi_docs=False) as found:
            for path in ("/docs", "/redoc", "/openapi.json"):
                assert (await found.call("GET", path, "admin")).status_code == 404

    asyncio.run(scenario())


def test_health_needs_nobody_and_readiness_follows_the_process():
    async def scenario(found):
        assert (await found.call("GET", "/healthz")).json() == {"status": "ok"}
        assert (await found.call("GET", "/readyz")).json() == {"status": "ok"}
        assert (await found.call("GET", "/version")).json() == {"version": "9.9.9"}
        # A wrong credential changes nothing about what is public.
        assert (await found.call("GET", "/healthz", "wrong")).status_code == 200

    run(scenario)


def test_the_landing_page_speaks_both_languages():
    async def scenario(found):
        page = await found.call("GET", "/")
        assert page.status_code == 200
        assert 'lang="zh-CN"' in page.text
        assert "aimindserve login" in page.text
        assert "<script" not in page.text

    run(scenario)


def test_a_built_console_is_served(tmp_path):
    (tmp_path / "assets").mkdir()
    (tmp_path / "index.html").write_text("<title>console</title>")
    (tmp_path / "assets" / "a-1.js").write_text("1")
    (tmp_path / "secret").symlink_to("/etc/passwd")

    async def scenario():
        async with plane(people=False, web_dir=tmp_path) as found:
            for path in ("/", "/deployments/chat", "/index.html"):
                page = await found.call("GET", path)
                assert "console" in page.text, path
                assert page.headers["cache-control"] == "no-cache"
                assert "script-src 'self'" in page.headers["content-security-policy"]
            script = await found.call("GET", "/assets/a-1.js")
            assert "immutable" in script.headers["cache-control"]
            assert "root:" not in (await found.call("GET", "/secret")).text
            for path in (
                "/assets/b.js",
                "/api/v1/nothing",
                "/v1/nothing",
                "/assets/../index.html.x",
            ):
                assert (await found.call("GET", path)).status_code == 401, path
            assert (await found.call("POST", "/")).status_code == 401

    asyncio.run(scenario())
