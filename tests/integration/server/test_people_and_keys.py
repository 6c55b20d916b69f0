"""Users and API keys: how they come in, who may touch whose, what is shown once."""

import asyncio

from integration.server.control_plane import PASSWORD, plane

ME = "/api/v1/auth/me"
USERS = "/api/v1/users"
KEYS = "/api/v1/api-keys"


def run(scenario):
    async def go():
        async with plane() as found:
            await scenario(found)

    asyncio.run(go())


def test_a_key_is_shown_once_and_works():
    async def scenario(found):
        body = {"description": "ci", "expires_in_s": 60, "labels": {"a": "b"}}
        answer = await found.call("POST", KEYS, "ada", json=body)
        assert answer.status_code == 201
        document = answer.json()
        key = document["key"]
        assert key.startswith(document["spec"]["prefix"])
        assert document["spec"]["user"] == "ada"
        assert key not in str(found.store.list("api-key"))
        name = document["metadata"]["name"]
        shown = (await found.call("GET", f"{KEYS}/{name}", "ada")).json()
        assert "key" not in shown
        assert "key_hash" not in shown["spec"]
        headers = {"authorization": f"Bearer {key}"}
        me = (await found.call("GET", ME, headers=headers)).json()
        assert (me["name"], me["signed_in_with"], me["key"]) == ("ada", "key", name)
        almost = {"authorization": f"Bearer {key[:-1]}{'A' if key[-1] != 'A' else 'B'}"}
        assert (await found.call("GET", ME, headers=almost)).status_code == 401
        found.clock.shift += 61
        assert (await found.call("GET", ME, headers=headers)).status_code == 401

    run(scenario)


def test_a_deleted_key_is_worth_nothing_at_once():
    async def scenario(found):
        name = await found.add_key("key", "ada")
        assert (await found.call("GET", ME, "key")).status_code == 200
        assert (await found.call("DELETE", f"{KEYS}/{name}", "ada")).status_code == 200
        assert (await found.call("GET", ME, "key")).status_code == 401

    run(scenario)


def test_other_peoples_keys_do_not_exist():
    async def scenario(found):
        name = await found.add_key("key", "ada")
        mine = (await found.call("GET", KEYS, "bob")).json()
        assert (mine["items"], mine["total"]) == ([], 0)
        assert (await found.call("GET", f"{KEYS}?search=key", "bob")).json()["total"] == 0
        for method in ("GET", "PATCH", "PUT", "DELETE"):
            theirs = await found.call(method, f"{KEYS}/{name}", "bob", json={})
            nobodys = await found.call(method, f"{KEYS}/nothing", "bob", json={})
            assert theirs.status_code == nobodys.status_code == 404
        assert (await found.call("GET", f"{KEYS}/{name}", "admin")).status_code == 200
        patch = {"spec": {"description": "renamed"}}
        assert (await found.call("PATCH", f"{KEYS}/{name}", "ada", json=patch)).status_code == 200
        for field, value in (
            ("expires_at", None),
            ("allowed_models", ["x"]),
            ("user", "bob"),
            ("prefix", "x"),
            ("key_hash", "0" * 64),
        ):
            patch = {"spec": {field: value}}
            answer = await found.call("PATCH", f"{KEYS}/{name}", "ada", json=patch)
            unchanged = field == "expires_at"  # it is null already
            assert answer.status_code == (200 if unchanged else 400), field

    run(scenario)


def test_nobody_gives_what_they_do_not_have():
    async def scenario(found):
        for body, status in (
            ({"user": "bob"}, 403),
            ({"user": "admin"}, 403),
            ({"expires_in_s": 5, "expires_at": 5e9}, 400),
            ({"expires_at": 1.0}, 400),
            ({"expires_in_s": -1}, 400),
            ({"name": "UP"}, 400),
            ({"allowed_models": ["../x"]}, 400),
            ({"description": "a\nb"}, 400),
            ({"role": "admin"}, 400),
        ):
            answer = await found.call("POST", KEYS, "ada", json=body)
            assert answer.status_code == status, body
        await found.add_key("short", "ada", expires_in_s=60)
        for body, status in (({}, 403), ({"expires_in_s": 600}, 403), ({"expires_in_s": 5}, 201)):
            answer = await found.call("POST", KEYS, "short", json=body)
            assert answer.status_code == status, body
        await found.add_key("limited", "ada", allowed_models=["m"])
        for path in (ME, KEYS, "/api/v1/deployments", "/nothing"):
            assert (await found.call("GET", path, "limited")).status_code == 403
        for_bob = await found.call("POST", KEYS, "admin", json={"user": "bob"})
        assert for_bob.json()["spec"]["user"] == "bob"
        nobody = await found.call("POST", KEYS, "admin", json={"user": "nobody"})
        assert nobody.status_code == 400
        local = await found.call("POST", KEYS, "localhost", json={})
        assert local.json()["spec"]["user"] == "admin"
        assert (await found.call("POST", KEYS, "gateway", json={})).status_code == 403

    run(scenario)


def test_users_with_and_without_a_password():
    async def scenario(found):
        body = {
            "metadata": {"name": "eve"},
            "spec": {"full_name": "Eve"},
            "password": "a good one!",
        }
        answer = await found.call("POST", USERS, "admin", json=body)
        assert answer.status_code == 201
        assert "password" not in answer.json()
        assert answer.json()["spec"]["must_change_password"] is False
        await found.sign_in("eve", "a good one!")
        body = {"metadata": {"name": "joe"}, "spec": {"role": "admin"}}
        made = (await found.call("POST", USERS, "admin", json=body)).json()
        assert made["spec"]["must_change_password"] is True
        token = await found.sign_in("joe", made["password"])
        cookie = {"cookie": f"aims_session={token}"}
        answer = await found.call("GET", USERS, headers=cookie)
        assert answer.json()["code"] == "password_change_required"
        for body in (
            {"metadata": {"name": "x"}, "password": "short"},
            {"metadata": {"name": "x"}, "password": 5},
            {"metadata": {"name": "x"}, "spec": {"password_hash": "x"}},
            {"metadata": {"name": "x"}, "spec": {"role": "god"}},
            {"metadata": {"name": "passwordx"}, "password": "passwordx"},
        ):
            assert (await found.call("POST", USERS, "admin", json=body)).status_code == 400, body
        again = {"metadata": {"name": "eve"}, "password": "a good one!"}
        assert (await found.call("POST", USERS, "admin", json=again)).status_code == 409

    run(scenario)


def test_an_administrator_gives_a_new_password():
    async def scenario(found):
        path = f"{USERS}/ada/password"
        assert (await found.call("POST", path, "bob", json={})).status_code == 403
        made = (await found.call("POST", path, "admin", json={})).json()["password"]
        assert (await found.call("GET", ME, "ada")).status_code == 401
        token = await found.sign_in("ada", made)
        me = await found.call("GET", ME, headers={"cookie": f"aims_session={token}"})
        assert me.json()["must_change_password"] is True
        assert (
            await found.call("POST", f"{USERS}/nobody/password", "admin", json={})
        ).status_code == 404
        left = found.config.data_dir / "initial_admin_password"
        left.write_text("an old one")
        assert (await found.call("POST", path, "admin", json={})).is_success
        assert left.exists(), "ada's password is none of it"
        assert (await found.call("POST", f"{USERS}/admin/password", "admin", json={})).is_success
        assert not left.exists(), "it is nobody's password any more"

    run(scenario)


def test_the_last_administrator_stays():
    async def scenario(found):
        path = f"{USERS}/admin"
        for patch in ({"spec": {"role": "user"}}, {"spec": {"disabled": True}}):
            answer = await found.call("PATCH", path, "admin", json=patch)
            assert (answer.status_code, answer.json()["code"]) == (409, "conflict")
        assert (await found.call("DELETE", path, "admin")).status_code == 409
        promoted = {"spec": {"role": "admin"}}
        assert (
            await found.call("PATCH", f"{USERS}/ada", "admin", json=promoted)
        ).status_code == 200
        assert (await found.call("DELETE", path, "localhost")).status_code == 200

    run(scenario)


def test_a_deleted_user_leaves_nothing_to_inherit():
    async def scenario(found):
        await found.add_key("key", "ada")
        assert (await found.call("DELETE", f"{USERS}/ada", "admin")).status_code == 200
        assert found.store.list("api-key") == [] or not list(found.store.list("api-key"))
        body = {"metadata": {"name": "ada"}, "password": PASSWORD}
        assert (await found.call("POST", USERS, "admin", json=body)).status_code == 201
        for party in ("ada", "key"):
            assert (await found.call("GET", ME, party)).status_code == 401

    run(scenario)
