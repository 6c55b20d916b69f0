"""Signing in, sessions, throttling, foreign pages, localhost, the first administrator."""

import asyncio
import stat

import pytest

from aimindserve.resources.user import Role
from aimindserve.server.app import create_app
from aimindserve.server.auth.bootstrap import reset_admin_password
from aimindserve.server.parts import ServerParts
from aimindserve.store.leases import Leases
from integration.server.control_plane import JOIN, PASSWORD, plane, started

LOGIN = "/api/v1/auth/login"
ME = "/api/v1/auth/me"


def run(scenario, **settings):
    async def go():
        async with plane(**settings) as found:
            await scenario(found)

    asyncio.run(go())


def test_the_cookie_and_what_it_opens():
    async def scenario(found):
        body = {"username": "ada", "password": PASSWORD}
        answer = await found.call("POST", LOGIN, json=body)
        cookie = answer.headers["set-cookie"]
        assert "HttpOnly" in cookie
        assert "SameSite=lax" in cookie
        assert "Secure" not in cookie
        assert answer.json()["name"] == "ada"
        secure = await found.call("POST", LOGIN, json=body, headers={"x-aims-scheme": "https"})
        assert "Secure" in secure.headers["set-cookie"]
        token = answer.cookies["aims_session"]
        assert all(token not in str(each) for each in found.store.list("session"))
        me = (await found.call("GET", ME, headers={"cookie": f"aims_session={token}"})).json()
        assert (me["name"], me["role"], me["signed_in_with"]) == ("ada", "user", "user")

    run(scenario)


def test_logging_out_ends_the_session():
    async def scenario(found):
        assert (await found.call("POST", "/api/v1/auth/logout", "ada")).status_code == 204
        assert (await found.call("GET", ME, "ada")).status_code == 401
        assert (await found.call("GET", ME, "bob")).status_code == 200

    run(scenario)


def test_a_new_sign_in_ends_the_earlier_one_of_the_same_browser():
    async def scenario(found):
        old = found.headers["ada"]
        body = {"username": "ada", "password": PASSWORD}
        answer = await found.call("POST", LOGIN, json=body, headers=old)
        assert answer.status_code == 200
        assert answer.cookies["aims_session"] != old["cookie"].partition("=")[2]
        assert (await found.call("GET", ME, headers=old)).status_code == 401

    run(scenario)


def test_a_chosen_session_id_is_worth_nothing():
    async def scenario(found):
        fixed = {"cookie": "aims_session=" + "A" * 43}
        body = {"username": "ada", "password": PASSWORD}
        await found.call("POST", LOGIN, json=body, headers=fixed)
        assert (await found.call("GET", ME, headers=fixed)).status_code == 401

    run(scenario)


def test_sessions_end_by_themselves():
    async def scenario(found):
        found.clock.shift += 11.9 * 3600
        assert (await found.call("GET", ME, "ada")).status_code == 200
        found.clock.shift += 11.9 * 3600  # it was used in between
        assert (await found.call("GET", ME, "ada")).status_code == 200
        assert (await found.call("GET", ME, "bob")).status_code == 401
        for _ in range(20):
            found.clock.shift += 10 * 3600
            last = (await found.call("GET", ME, "ada")).status_code
        assert last == 401  # used all the time, but older than seven days

    run(scenario)


def test_wrong_passwords_sound_alike_and_are_slowed_down():
    async def scenario(found):
        texts = set()
        for name in ("ada", "nobody"):
            answer = await found.call("POST", LOGIN, json={"username": name, "password": "wrong"})
            assert answer.status_code == 401
            problem = answer.json()
            texts.add((problem["detail"], problem["code"]))
        assert len(texts) == 1
        there = {"x-aims-client": "10.0.0.1"}
        wrong = {"username": "ada", "password": "wrong"}
        statuses = [
            (await found.call("POST", LOGIN, json=wrong, headers=there)).status_code
            for _ in range(40)
        ]
        assert statuses.count(401) == 5
        assert set(statuses[5:]) == {429}
        blocked = await found.call("POST", LOGIN, json=wrong, headers=there)
        assert int(blocked.headers["retry-after"]) > 1
        right = {"username": "ada", "password": PASSWORD}
        assert (await found.call("POST", LOGIN, json=right, headers=there)).status_code == 429
        elsewhere = {"x-aims-client": "10.0.0.2"}
        assert (await found.call("POST", LOGIN, json=right, headers=elsewhere)).status_code == 200
        found.clock.shift += 61
        assert (await found.call("POST", LOGIN, json=right, headers=there)).status_code == 200
        outcomes = [each.outcome for each in found.audit if each.action == "login"]
        assert outcomes.count("unauthenticated") == 7
        assert "throttled" in outcomes

    run(scenario)


def test_more_than_one_credential_is_refused():
    async def scenario(found):
        await found.add_key("key", "ada")
        cookie, bearer = found.headers["ada"], found.headers["key"]
        secret = bearer["authorization"].removeprefix("Bearer ")
        for headers in (
            {**cookie, **bearer},
            {**bearer, "x-api-key": secret},
            {**cookie, "x-api-key": secret},
            {"cookie": f"{cookie['cookie']}; {cookie['cookie']}"},
        ):
            answer = await found.call("GET", ME, headers=headers)
            assert (answer.status_code, answer.json()["code"]) == (400, "invalid"), headers
        assert (await found.call("GET", ME, headers={"x-api-key": secret})).status_code == 200
        assert (await found.call("GET", f"{ME}?api_key={secret}")).status_code == 401
        for odd in ("Basic YTpi", "Bearer", "Bearer ", f"Bearer {'x' * 600}", "sk-aims_1"):
            answer = await found.call("GET", ME, headers={"authorization": odd})
            assert answer.status_code == 401, odd

    run(scenario)


FOREIGN = (
    {"origin": "http://evil.example"},
    {"origin": "null"},
    {"sec-fetch-site": "cross-site"},
    {"sec-fetch-site": "same-site", "origin": "http://aims.example"},
    {"sec-fetch-site": "none"},
    {"user-agent": "Mozilla/5.0"},
)
OWN = (
    {"origin": "http://aims.example"},
    {"sec-fetch-site": "same-origin"},
    {"user-agent": "Mozilla/5.0", "x-requested-with": "aimindserve"},
    {"user-agent": "aimindserve/1"},
)


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE"])
def test_foreign_pages_cannot_use_the_cookie(method):
    async def scenario(found):
        path = "/api/v1/deployments" + ("" if method == "POST" else "/x")
        for headers in FOREIGN:
            answer = await found.call(method, path, "admin", headers=headers)
            assert answer.status_code == 403, headers
        for headers in OWN:
            answer = await found.call(method, path, "admin", headers=headers)
            assert answer.status_code in {404, 415}, headers

    run(scenario)


def test_foreign_pages_cannot_sign_anybody_in():
    async def scenario(found):
        body = {"username": "ada", "password": PASSWORD}
        for headers in ({"origin": "http://evil.example"}, {"sec-fetch-site": "cross-site"}):
            answer = await found.call("POST", LOGIN, json=body, headers=headers)
            assert answer.status_code == 403

    run(scenario)


def test_localhost_is_admin_only_when_it_is_really_localhost():
    async def scenario(found):
        local = found.headers["localhost"]
        path = "/api/v1/users"
        for good in (
            local,
            {**local, "x-aims-client": "::1", "host": "[::1]:80"},
            {**local, "x-aims-client": "::ffff:127.0.0.1", "host": "127.0.0.1:8080"},
        ):
            assert (await found.call("GET", path, headers=good)).status_code == 200, good
        for bad in (
            {**local, "x-aims-client": "10.0.0.1"},
            {**local, "x-aims-forwarded": "1"},
            {**local, "host": "evil.example"},
            {**local, "host": "127.0.0.1.evil.example"},
            {**local, "sec-fetch-site": "cross-site"},
            {"host": "localhost"},
        ):
            assert (await found.call("GET", path, headers=bad)).status_code == 401, bad
        page = {**local, "origin": "http://evil.example"}
        assert (await found.call("POST", path, headers=page)).status_code == 401
        wrong = {**local, **found.headers["wrong"]}
        assert (await found.call("GET", path, headers=wrong)).status_code == 401
        me = (await found.call("GET", ME, "localhost")).json()
        assert (me["name"], me["role"], me["signed_in_with"]) == ("admin", "admin", "localhost")

    run(scenario)


def test_localhost_can_be_forced_to_sign_in():
    async def scenario(found):
        assert (await found.call("GET", "/api/v1/users", "localhost")).status_code == 401

    run(scenario, trust_localhost=False)


def test_the_first_administrator_with_a_generated_password():
    async def scenario(found):
        file = found.config.data_dir / "initial_admin_password"
        assert stat.S_IMODE(file.stat().st_mode) == 0o600
        password = file.read_text().strip()
        assert len(password) >= 20
        found.headers["admin"] = {
            "cookie": f"aims_session={await found.sign_in('admin', password)}"
        }
        assert (await found.call("GET", ME, "admin")).json()["must_change_password"] is True
        for path in ("/api/v1/deployments", "/api/v1/users", "/api/v1/watch", "/nothing"):
            answer = await found.call("GET", path, "admin")
            assert (answer.status_code, answer.json()["code"]) == (403, "password_change_required")
        change = "/api/v1/auth/password"
        for new, status in (("short", 400), ("password123", 400), (password, 400), (PASSWORD, 200)):
            body = {"current_password": password, "new_password": new}
            answer = await found.call("POST", change, "admin", json=body)
            assert answer.status_code == status, (new, answer.text)
        assert (await found.call("GET", ME, "admin")).status_code == 401
        fresh = {"cookie": f"aims_session={answer.cookies['aims_session']}"}
        assert (await found.call("GET", "/api/v1/users", headers=fresh)).status_code == 200
        assert not file.exists()
        old = await found.call("POST", LOGIN, json={"username": "admin", "password": password})
        assert old.status_code == 401

    run(scenario, people=False, bootstrap_password=None)


def test_an_existing_administrator_is_never_touched():
    async def scenario(found):
        before = found.store.get("user", "admin")
        parts = ServerParts(
            found.store, Leases(found.clock), found.clock, found.decisions, found.config
        )
        async with started(create_app(parts)):
            assert found.store.get("user", "admin") == before

    run(scenario)


def test_resetting_the_administrators_password():
    async def scenario(found):
        services = found.app.services
        password = await reset_admin_password(found.store, services.passwords, services.sessions)
        assert (await found.call("GET", ME, "admin")).status_code == 401
        token = await found.sign_in("admin", password)
        me = await found.call("GET", ME, headers={"cookie": f"aims_session={token}"})
        assert me.json()["must_change_password"] is True

    run(scenario)


def test_a_changed_password_ends_every_session():
    async def scenario(found):
        second = {"cookie": f"aims_session={await found.sign_in('ada')}"}
        body = {"current_password": PASSWORD, "new_password": "another long one"}
        wrong = {**body, "current_password": "wrong"}
        path = "/api/v1/auth/password"
        assert (await found.call("POST", path, "ada", json=wrong)).status_code == 400
        answer = await found.call("POST", path, "ada", json=body)
        assert answer.status_code == 200
        for old in (found.headers["ada"], second):
            assert (await found.call("GET", ME, headers=old)).status_code == 401

    run(scenario)


def test_disabled_and_demoted_users_lose_their_sessions_and_keys():
    async def scenario(found):
        await found.add_user("eve", Role.ADMIN)
        await found.add_key("key", "eve")
        for party in ("eve", "key"):
            assert (await found.call("GET", "/api/v1/users", party)).status_code == 200
        patch = {"spec": {"disabled": True}}
        assert (
            await found.call("PATCH", "/api/v1/users/eve", "admin", json=patch)
        ).status_code == 200
        for party in ("eve", "key"):
            assert (await found.call("GET", ME, party)).status_code == 401
        login = await found.call("POST", LOGIN, json={"username": "eve", "password": PASSWORD})
        assert login.status_code == 401

    run(scenario)


def test_cors_fields_are_the_gateways():
    async def scenario(found):
        answer = await found.call("GET", "/healthz", headers={"origin": "https://console.example"})
        assert "access-control-allow-origin" not in answer.headers

    run(scenario, trusted_origins=("https://console.example",))


def test_the_join_token_opens_nothing_else():
    async def scenario(found):
        for headers in ({"x-api-key": JOIN}, {"cookie": f"aims_session={JOIN}"}):
            answer = await found.call("POST", "/api/v1/workers/register", headers=headers, json={})
            assert answer.status_code == 401

    run(scenario)
