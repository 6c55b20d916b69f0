import asyncio
import json
import ssl
import subprocess

import httpx
import pytest

from aimindserve.core.errors import SettingsError
from aimindserve.gateway.app import Gateway
from aimindserve.gateway.config import BodyLimits, CorsConfig
from aimindserve.gateway.misses import FREE_MISSES, WINDOW_S
from aimindserve.kit.clock import SystemClock
from aimindserve.wire.limits import Limits
from integration.gateway.world import (
    ANSWER,
    KEY_HEADERS,
    api_key,
    documents,
    instance,
    route,
    world,
)

CHAT = "/v1/chat/completions"
ASK = {"model": "tiny"}


def run(main, *args, headers=KEY_HEADERS, **kwargs):
    async def go():
        async with (
            world(*args, **kwargs) as here,
            httpx.AsyncClient(base_url=here.url, headers=headers, timeout=30) as client,
        ):
            await main(here, client)

    asyncio.run(go())


async def raw(here, data, *, seconds=5.0):
    """What the gateway answers to `data` until it closes (or the time is over)."""
    reader, writer = await asyncio.open_connection("127.0.0.1", here.gateway.port)
    writer.write(data)
    try:
        return await asyncio.wait_for(reader.read(1 << 20), seconds)
    finally:
        writer.close()


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "code", "says"),
    [
        ("POST", CHAT, b"", 400, "body_invalid", "JSON"),
        ("POST", CHAT, b"{", 400, "body_invalid", "JSON"),
        ("POST", CHAT, b"[1]", 400, "body_invalid", "JSON object"),
        ("POST", CHAT, b"\xff\xfe", 400, "body_invalid", "JSON"),
        ("POST", CHAT, b'{"a":' * 100_000, 400, "body_invalid", "JSON"),
        ("POST", CHAT, b"{}", 400, "invalid", "names no model"),
        ("POST", CHAT, b'{"model": 7}', 400, "invalid", "names no model"),
        ("POST", CHAT, b'{"model": "tinny"}', 404, "not_found", "There is: tiny"),
        ("POST", CHAT, b'{"model": "idle"}', 503, "unavailable", "Instance idle-1 is loading."),
        ("POST", "/v1/embeddings", b'{"model": "tiny"}', 422, "unsupported", "can chat"),
        ("GET", CHAT, None, 405, "method_not_allowed", "Use POST"),
        ("POST", "/v1/models", b"{}", 405, "method_not_allowed", "Use GET"),
        ("GET", "/v1/models/none", None, 404, "not_found", "no model"),
        ("POST", "/v1/frobnicate", b"{}", 404, "not_found", "/v1/chat/completions"),
    ],
)
def test_errors_say_what_is_wrong_in_openais_envelope(method, path, body, status, code, says):
    def docs(port):
        return documents(port) | {
            "route": {"tiny": route(("tiny", 1)), "idle": route(("idle", 1))},
            "instance": {
                "tiny-a": instance("tiny", "w1"),
                "idle-1": instance("idle", "w1", state="loading"),
            },
        }

    async def main(here, client):
        answer = await client.request(method, path, content=body)
        error = answer.json()["error"]
        assert (answer.status_code, error["code"], error["source"]) == (status, code, "gateway")
        assert says in error["message"]
        assert error["request_id"] == answer.headers["x-request-id"]
        assert answer.headers["x-aims-error-source"] == "gateway"
        assert ("retry-after" in answer.headers) == (status == 503)
        assert not here.worker.requests

    run(main, docs=docs)


def test_keys_take_effect_and_lose_it_while_running():
    async def main(here, client):
        assert (await client.post(CHAT, json=ASK)).status_code == 200
        here.control.change("api-key", "k1", None)
        await here.until(lambda: not here.gateway.table.keys)
        answer = await client.post(CHAT, json=ASK)
        assert answer.status_code == 401
        assert answer.headers["www-authenticate"] == "Bearer"
        here.control.change("api-key", "k2", api_key(allowed_models=["other"]))
        await here.until(lambda: here.gateway.table.keys)
        assert (await client.post(CHAT, json=ASK)).status_code == 403
        assert (await client.get("/v1/models")).json()["data"] == []

    run(main)


def test_who_guesses_keys_has_to_wait_and_nobody_else_has():
    async def main(here, client):
        async def guess(number):
            wrong = {"authorization": f"Bearer sk-aims_{number}"}
            return await client.post(CHAT, json=ASK, headers=wrong)

        answers = await asyncio.gather(*[guess(number) for number in range(FREE_MISSES + 5)])
        statuses = sorted(answer.status_code for answer in answers)
        assert statuses == [401] * FREE_MISSES + [429] * 5
        refused = await guess("again")
        assert refused.status_code == 429
        assert 0 < int(refused.headers["retry-after"]) <= WINDOW_S
        assert refused.json()["error"]["code"] == "throttled"
        wrong = {"authorization": "Bearer no"}
        assert (await client.get("/v1/models", headers=wrong)).status_code == 429
        assert (await client.post(CHAT, json=ASK)).status_code == 200
        assert (await client.post(CHAT, json=ASK, headers={"authorization": ""})).status_code == 429
        del client.headers["authorization"]
        assert (await client.post(CHAT, json=ASK)).status_code == 401
        assert len(here.worker.requests) == 1

    run(main)


def test_localhost_is_admin_only_without_a_proxy_before_us():
    async def main(here, client):
        assert (await client.get("/v1/models")).status_code == 200
        forwarded = await client.get("/v1/models", headers={"x-forwarded-for": "1.2.3.4"})
        assert forwarded.status_code == 401

    run(main, trust_localhost=True, headers={})


def test_everything_else_goes_to_the_control_plane():
    async def main(here, client):
        sent = {
            "x-aims-client": "6.6.6.6",
            "x-aims-forwarded": "0",
            "X_Aims_Scheme": "https",
            "x-forwarded-for": "1.2.3.4",
            "connection": "keep-alive, x-hop",
            "x-hop": "1",
            "cookie": "aims_session=s",
        }
        answer = await client.put("/api/v1/things?a=b%20c", content=b"x" * 100_000, headers=sent)
        assert answer.content == b"x" * 100_000
        assert answer.headers.get_list("set-cookie") == ["a=b", "c=d"]
        method, target, headers, size = here.control.seen[-1]
        assert (method, target, size) == ("PUT", "/api/v1/things?a=b%20c", 100_000)
        ours = {name: value for name, value in headers.items() if b"aims" in name}
        assert ours == {
            b"x-aims-client": b"127.0.0.1",
            b"x-aims-scheme": b"http",
            b"x-aims-forwarded": b"1",
        }
        assert headers[b"cookie"] == b"aims_session=s"
        assert headers[b"host"] == f"127.0.0.1:{here.gateway.port}".encode()
        assert b"x-hop" not in headers
        assert headers[b"x-request-id"].decode() == answer.headers["x-request-id"]
        assert (await client.get("/")).text == "console"
        assert (await client.head("/")).headers["content-length"] == "7"

    run(main)


def test_inference_outlives_the_control_plane():
    async def main(here, client):
        assert (await client.get("/readyz")).status_code == 200
        await here.control.stop()
        assert (await client.post(CHAT, json=ASK)).content == ANSWER
        away = await client.get("/api/v1/deployments")
        assert away.status_code == 503
        assert away.headers["content-type"] == "application/problem+json"
        assert away.headers["retry-after"]
        assert away.json()["code"] == "unavailable"
        assert (await client.get("/healthz")).status_code == 200

        here.control.documents["route"]["more"] = route(("tiny", 1))
        await here.control.start()
        await here.until(lambda: (len(here.control.targets)) == 2)
        assert here.control.targets[1].endswith("&since=10")
        here.control.change("route", "more", route(("tiny", 1)))
        await here.until(lambda: "more" in here.gateway.table.routes)

    run(main)


def test_a_gateway_that_starts_alone_serves_what_it_served():
    async def main(here, client):
        await here.gateway.stop(0)
        await here.control.stop()
        again = Gateway(here.gateway._config, SystemClock())
        await again.start()
        try:
            url = f"http://127.0.0.1:{again.port}"
            assert (await client.post(url + CHAT, json=ASK)).content == ANSWER
            ready = await client.get(url + "/readyz")
            assert ready.status_code == 503
            assert "control plane" in ready.json()["reason"]
        finally:
            await again.stop(0)

    run(main)


def test_a_watch_that_asks_to_list_again_is_obeyed():
    async def main(here, client):
        here.control.documents["route"] = {"other": route(("tiny", 1))}
        here.control.watches[0].write(here.control.event("RESYNC"))
        await here.until(lambda: set(here.gateway.table.routes) == {"other"})
        assert "since" not in here.control.targets[-1]

    run(main)


def test_cors():
    page = {"origin": "https://a.example"}
    ask = {"access-control-request-method": "POST", "access-control-request-headers": "x-a"}

    async def main(here, client):
        for path in (CHAT, "/api/v1/x"):
            preflight = await client.options(path, headers=page | ask)
            assert preflight.status_code == 204
            assert preflight.headers["access-control-allow-origin"] == "https://a.example"
            assert preflight.headers["access-control-allow-credentials"] == "true"
            assert "POST" in preflight.headers["access-control-allow-methods"]
            assert preflight.headers["access-control-allow-headers"] == "x-a"
            evil = await client.options(path, headers={"origin": "https://evil"} | ask)
            assert evil.status_code == 400
            assert "access-control-allow-origin" not in evil.headers
        answer = await client.post(CHAT, json=ASK, headers=page)
        assert answer.headers.get_list("access-control-allow-origin") == ["https://a.example"]
        other = await client.post(CHAT, json=ASK, headers={"origin": "https://evil"})
        assert "access-control-allow-origin" not in other.headers
        assert not [seen for seen in here.control.seen if seen[0] == "OPTIONS"]

    rules = CorsConfig(enabled=True, credentials=True, origins=("https://a.example",))
    run(main, cors=rules)


def test_a_gigabyte_is_refused_without_being_held():
    async def main(here, client):
        head = (
            f"POST {CHAT} HTTP/1.1\r\nhost: x\r\nauthorization: {KEY_HEADERS['authorization']}\r\n"
        )
        answer = await raw(here, f"{head}content-length: 1073741824\r\n\r\n{{".encode())
        assert answer.startswith(b"HTTP/1.1 413 ")
        error = json.loads(answer.partition(b"\r\n\r\n")[2])
        assert error.get("code", error.get("error", {}).get("code")) == "too_large"

        reader, writer = await asyncio.open_connection("127.0.0.1", here.gateway.port)
        writer.write(f"{head}transfer-encoding: chunked\r\n\r\n".encode())
        chunk = b"10000\r\n" + b" " * 65536 + b"\r\n"
        sent = 0
        while not reader._buffer and sent < 1 << 30:
            writer.write(chunk)
            await writer.drain()
            sent += 65536
        assert sent < 64 << 20
        assert (await reader.read(1 << 16)).startswith(b"HTTP/1.1 413 ")
        writer.close()
        assert not here.worker.requests

    run(main, bodies=BodyLimits(json_bytes=1 << 20))


def test_headers_without_end_and_slow_clients_are_ended():
    async def main(here, client):
        endless = b"GET / HTTP/1.1\r\nhost: x\r\n" + b"a: b\r\n" * 10_000
        assert (await raw(here, endless)).startswith(b"HTTP/1.1 431 ")
        assert (await raw(here, b"GET / HTTP/1.1\r\nhost:")).startswith(b"HTTP/1.1 408 ")
        slow = f"POST {CHAT} HTTP/1.1\r\nhost: x\r\ncontent-length: 99999\r\n".encode()
        slow += f"authorization: {KEY_HEADERS['authorization']}\r\n\r\n{{".encode()
        assert (await raw(here, slow)).startswith(b"HTTP/1.1 408 ")
        assert (await client.post(CHAT, json=ASK)).status_code == 200

    run(main, limits=Limits(head_timeout_s=0.5, body_window_s=1.0))


def test_smuggled_requests_are_not_seen_by_anyone():
    async def main(here, client):
        both = (
            b"POST /api/v1/x HTTP/1.1\r\nhost: x\r\ncontent-length: 44\r\n"
            b"transfer-encoding: chunked\r\n\r\n"
            b"0\r\n\r\nGET /api/v1/evil HTTP/1.1\r\nhost: x\r\n\r\n"
        )
        answer = await raw(here, both)
        assert answer.startswith(b"HTTP/1.1 400 ")
        assert answer.count(b"x-aims-error-source") == 1
        assert not here.control.seen

    run(main)


def test_refusals_before_a_path_is_known_are_problems():
    async def main(here, client):
        answer = await raw(here, b"nonsense\r\n\r\n")
        head, _, body = answer.partition(b"\r\n\r\n")
        assert b"content-type: application/problem+json" in head
        assert json.loads(body)["status"] == 400

    run(main)


def test_stopping_lets_answers_finish_and_accepts_no_more():
    go_on = asyncio.Event()

    async def answer(request, body):
        await go_on.wait()
        request.respond(200, ANSWER)

    async def main(here, client):
        asking = asyncio.ensure_future(client.post(CHAT, json=ASK))
        await here.until(lambda: here.worker.requests)
        stopping = asyncio.ensure_future(here.gateway.stop(5))
        await asyncio.sleep(0.1)
        with pytest.raises(httpx.ConnectError):
            await client.get("/healthz")
        go_on.set()
        answer = await asking
        assert (answer.content, answer.headers["connection"]) == (ANSWER, "close")
        await asyncio.wait_for(stopping, 2)

    run(main, answer)


@pytest.fixture(scope="module")
def certificate(tmp_path_factory):
    base = tmp_path_factory.mktemp("tls")
    key, cert = base / "key.pem", base / "cert.pem"
    command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"]
    command += ["-nodes", "-days", "1", "-subj", "/CN=localhost", "-keyout", key, "-out", cert]
    subprocess.run(command, check=True, capture_output=True)
    return cert, key


def test_tls(certificate):
    cert, key = certificate

    async def main(here, client):
        trusting = ssl.create_default_context(cafile=cert)
        url = f"https://localhost:{here.gateway.port}"
        async with httpx.AsyncClient(base_url=url, verify=trusting, headers=KEY_HEADERS) as secure:
            assert (await secure.post(CHAT, json=ASK)).content == ANSWER
            await secure.get("/api/v1/x")
            assert here.control.seen[-1][2][b"x-aims-scheme"] == b"https"

    run(main, tls_cert=cert, tls_key=key)


def test_a_bad_certificate_is_a_clear_error(tmp_path):
    bad = tmp_path / "cert.pem"
    bad.write_text("nonsense")

    async def main(here, client):
        pass

    with pytest.raises(SettingsError, match="cannot be used"):
        run(main, tls_cert=bad)
