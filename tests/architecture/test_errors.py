"""One error shape on every route: a problem document with a stable code, and nothing else in it."""

import asyncio
import re

import httpx
import pytest
import structlog.testing

from aimindserve.core import errors
from integration.server.control_plane import plane

STREAMS = ("/desired", "/watch")
LEAKS = re.compile(r"Traceback|File \"|/src/|\.py\b|site-packages|0x[0-9a-f]{6,}|sqlite|asyncpg")


def tree(root: type[errors.AimsError]) -> list[type[errors.AimsError]]:
    return [root, *(found for child in root.__subclasses__() for found in tree(child))]


CODES = {
    kind.code: kind.status for kind in tree(errors.AimsError) if kind.__module__ == errors.__name__
}


def check_problem(answer: httpx.Response, where: str) -> dict:
    assert answer.headers["content-type"] == "application/problem+json", where
    problem = answer.json()
    assert problem["status"] == answer.status_code, where
    assert CODES[problem["code"]] == answer.status_code, f"{where}: {problem['code']}"
    assert problem["type"] == f"urn:aimindserve:error:{problem['code']}", where
    assert problem["request_id"] == answer.headers["x-request-id"], where
    assert problem["detail"].strip(), where
    assert problem["detail"][-1] in ".!?)", f"{where}: {problem['detail']}"
    assert not LEAKS.search(answer.text), f"{where}: {answer.text}"
    return problem


def address(path: str) -> str:
    name = "w" if "/workers/" in path else "admin" if "/users/" in path else "nobody"
    return path.replace("{name}", name)


def party_of(audience: str) -> str:
    return {"worker": "w", "join": "join", "public": ""}.get(audience, "admin")


BODIES = (
    ({"content": b"{not json"}, "application/json"),
    ({"content": b"[1, 2]"}, "application/json"),
    ({"content": b"NaN"}, "application/json"),
    ({"content": b""}, "application/json"),
    ({"content": b"\xff\xfe"}, "application/json"),
    ({"content": b"[" * 100_000}, "application/json"),
    ({"content": b'{"a":' * 200 + b"1" + b"}" * 200}, "application/json"),
    ({"content": b"{}"}, "text/plain"),
    ({"content": b"{}"}, ""),
    ({"content": b'{"unknown": {"field": 1}}'}, "application/json"),
    ({"content": b'{"spec": 5, "metadata": []}'}, "application/json"),
)


@pytest.mark.parametrize("number", range(len(BODIES)))
def test_bad_bodies_on_every_route_that_reads_one(number):
    options, media = BODIES[number]

    async def scenario():
        async with plane() as found:
            await found.add_worker("w")
            for operation in found.app.operations:
                if operation.request is None:
                    continue
                where = f"{operation.method} {operation.path} {options}"
                answer = await found.call(
                    operation.method,
                    address(operation.path),
                    party_of(operation.audience.value),
                    headers={"content-type": media} if media else {},
                    **options,
                )
                if answer.status_code < 300:
                    # `{}` and the like: nothing to change, or everything has a default.
                    assert operation.method in {"PATCH", "POST"}, f"{where}: {answer.status_code}"
                    continue
                problem = check_problem(answer, where)
                assert answer.status_code in {400, 404, 413, 415, 429}, f"{where}: {problem}"

    asyncio.run(scenario())


@pytest.mark.parametrize("announced", [True, False])
def test_bodies_over_the_limit_on_every_route(announced):
    async def endless():
        for _ in range(25):
            yield b" " * (1024 * 1024)

    async def scenario():
        async with plane() as found:
            await found.add_worker("w")
            for operation in found.app.operations:
                if operation.request is None:
                    continue
                headers = {"content-type": "application/json"}
                if announced:
                    headers["content-length"] = str(1024**3)
                answer = await found.call(
                    operation.method,
                    address(operation.path),
                    party_of(operation.audience.value),
                    headers=headers,
                    content=b"{}" if announced else endless(),
                )
                where = f"{operation.method} {operation.path}"
                assert answer.status_code in {413, 404}, f"{where}: {answer.status_code}"
                check_problem(answer, where)

    asyncio.run(scenario())


def test_wrong_methods_parameters_and_names_on_every_route():
    async def scenario():
        async with plane() as found:
            await found.add_worker("w")
            for operation in found.app.operations:
                party = party_of(operation.audience.value)
                path = address(operation.path)
                answer = await found.call("BREW", path, party or "admin")
                assert answer.status_code in {403, 405}, f"BREW {path}: {answer.status_code}"
                check_problem(answer, f"BREW {path}")
                if operation.method != "GET" or path.endswith(STREAMS) or party == "":
                    continue
                query = "?page=-1&per_page=x&tail=-5&since=x&sort=;drop"
                answer = await found.call("GET", path + query, party)
                if answer.status_code >= 300:
                    check_problem(answer, f"GET {path}{query}")

    asyncio.run(scenario())


def test_method_not_allowed_says_what_is():
    async def scenario():
        async with plane() as found:
            answer = await found.call("DELETE", "/api/v1/deployments", "admin")
            assert answer.status_code == 405
            assert answer.headers["allow"] == "GET, POST"
            assert check_problem(answer, "")["code"] == "method_not_allowed"

    asyncio.run(scenario())


def test_validation_names_the_fields():
    async def scenario():
        async with plane() as found:
            body = {
                "metadata": {"name": "m"},
                "spec": {"model": {"source": "local", "path": "/m"}, "replicas": -1, "x": 1},
            }
            answer = await found.call("POST", "/api/v1/deployments", "admin", json=body)
            problem = check_problem(answer, "create")
            assert answer.status_code == 400
            assert set(problem["params"]["fields"]) == {"spec.replicas", "spec.x"}
            answer = await found.call("GET", "/api/v1/deployments?per_page=501", "admin")
            assert check_problem(answer, "list")["params"]["fields"] == ["query.per_page"]

    asyncio.run(scenario())


def test_a_defect_is_answered_without_its_details():
    async def scenario():
        async with plane() as found:

            def broken(*_args):
                raise RuntimeError("secret detail /src/x.py")

            found.app.services.renderer.encoded = broken
            answer = await found.call(
                "GET", "/api/v1/users/ada", "admin", headers={"x-request-id": "my-id.1"}
            )
            assert answer.status_code == 500
            problem = check_problem(answer, "defect")
            assert problem["code"] == "internal"
            assert problem["request_id"] == "my-id.1"
            assert "secret detail" not in answer.text
            answer = await found.call("GET", "/healthz")
            assert answer.status_code == 200

    with structlog.testing.capture_logs() as logs:
        asyncio.run(scenario())
    (crash,) = [each for each in logs if each["event"] == "request.crashed"]
    assert crash["request_id"] == "my-id.1"
    assert "secret detail" in str(crash["exc_info"])


def test_a_client_that_hangs_up_while_it_sends_is_no_defect():
    async def scenario():
        async with plane() as found:
            sent, coming = [], [{"type": "http.request", "body": b"{", "more_body": True}]

            async def receive():
                return coming.pop() if coming else {"type": "http.disconnect"}

            async def send(message):
                sent.append(message)

            fields = {**found.headers["admin"], "content-type": "application/json"}
            scope = {
                "type": "http",
                "method": "POST",
                "path": "/api/v1/deployments",
                "query_string": b"",
                "headers": [(name.encode(), value.encode()) for name, value in fields.items()],
            }
            await found.app(scope, receive, send)
            assert not coming
            assert [message.get("status", 400) for message in sent] == [400, 400]

    with structlog.testing.capture_logs() as logs:
        asyncio.run(scenario())
    assert [each for each in logs if each["log_level"] in {"warning", "error"}] == []


def test_request_ids_are_kept_only_when_harmless():
    async def scenario():
        async with plane(people=False) as found:
            kept = await found.call("GET", "/healthz", headers={"x-request-id": "abc.DEF-1_2"})
            assert kept.headers["x-request-id"] == "abc.DEF-1_2"
            for bad in ("a b", "x" * 65, "<script>", ""):
                answer = await found.call("GET", "/healthz", headers={"x-request-id": bad})
                assert answer.headers["x-request-id"] != bad
                assert re.fullmatch(r"[A-Za-z0-9._-]{1,64}", answer.headers["x-request-id"])

    asyncio.run(scenario())


def test_security_headers_on_every_answer():
    async def scenario():
        async with plane() as found:
            for path, party in (("/", ""), ("/healthz", ""), ("/nope", ""), ("/docs", "ada")):
                answer = await found.call("GET", path, party, headers={"x-aims-scheme": "https"})
                assert answer.headers["x-content-type-options"] == "nosniff", path
                assert answer.headers["referrer-policy"] == "no-referrer", path
                assert "frame-ancestors 'none'" in answer.headers["content-security-policy"], path
                assert "strict-transport-security" in answer.headers, path
                assert "script-src 'unsafe" not in answer.headers["content-security-policy"]
            plain = await found.call("GET", "/")
            assert "strict-transport-security" not in plain.headers
            answer = await found.call("GET", "/api/v1/deployments", "ada")
            assert answer.headers["cache-control"] == "no-store"

    asyncio.run(scenario())


def test_codes_are_unique():
    kinds = [kind for kind in tree(errors.AimsError) if kind.__module__ == errors.__name__]
    codes = [kind.code for kind in kinds if kind is not errors.AimsError]
    assert len(codes) == len(set(codes))
