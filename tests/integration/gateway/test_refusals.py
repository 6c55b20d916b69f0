"""What is refused before anybody has looked at its meaning: in the words of the path's clients,
with one status, a code of its own, and the id of the request."""

import asyncio
import json
import re
from pathlib import Path

import pytest

import aimindserve.wire
from aimindserve.core.errors import MalformedError, framing_error
from aimindserve.wire.limits import Limits
from integration.gateway.test_front_door import CHAT, raw, run

KNOWN = "/v1/models"
SMALL = Limits(body_bytes=100_000, body_buffer_bytes=200_000)
SHORT = Limits(head_timeout_s=0.6, body_window_s=0.6)


def head(*fields, path=CHAT, method="POST", version="HTTP/1.1", host=True):
    lines = [f"{method} {path} {version}", *(["host: x"] if host else []), *fields]
    return ("\r\n".join(lines) + "\r\n\r\n").encode()


REFUSED = {
    "no HTTP version": (f"POST {CHAT}\r\n\r\n".encode(), 505, "version_unsupported"),
    "an unknown method": (head(method="FROB"), 400, "malformed"),
    "a newer version": (head(version="HTTP/2.0"), 505, "version_unsupported"),
    "no version of HTTP": (head(version="HTTQ/1.1"), 400, "malformed"),
    "a tunnel": (head(method="CONNECT", path="h:1"), 405, "method_not_allowed"),
    "no host": (head(host=False), 400, "malformed"),
    "two hosts": (head("host: y"), 400, "malformed"),
    "a field without a name": (head(": a"), 400, "malformed"),
    "two lengths": (head("content-length: 1", "content-length: 2"), 400, "malformed"),
    "a length that is none": (head("content-length: x"), 400, "malformed"),
    "length and chunks": (
        head("content-length: 1", "transfer-encoding: chunked"), 400, "malformed",
    ),
    "an unknown coding": (head("transfer-encoding: gzip, chunked"), 501, "coding_unsupported"),
    "a coding without end": (head("transfer-encoding: chunked, gzip"), 400, "malformed"),
    "an expectation": (head("expect: miracles", "content-length: 1"), 417, "expectation_failed"),
    "a long path": (head(path=CHAT + "?" + "a" * 9_000), 414, "target_too_long"),
    "a large field": (head("x: " + "a" * 40_000), 431, "head_too_large"),
    "many fields": (head(*["a: b"] * 101), 431, "head_too_large"),
    "a large body": (head("content-length: 100001"), 413, "too_large"),
}  # fmt: skip
BROKEN_BODIES = [
    (head("transfer-encoding: chunked") + b"zz\r\n", 400, "malformed", SMALL),
    (
        head("transfer-encoding: chunked") + b"186a1\r\n" + b"a" * 100_001 + b"\r\n",
        413, "too_large", SMALL,
    ),
    (head("content-length: 5000") + b"{", 408, "request_timeout", SHORT),
]  # fmt: skip


def read(answer):
    """(status, fields by name, document) of the one answer there is."""
    top, _, body = answer.partition(b"\r\n\r\n")
    first, *lines = top.decode().split("\r\n")
    fields = dict(line.lower().split(": ", 1) for line in lines)
    assert len(body) == int(fields["content-length"]), "one answer, and its whole body"
    return int(first.split(" ")[1]), fields, json.loads(body)


def check(answer, status, code, *, path=CHAT):
    got, fields, document = read(answer)
    assert got == status, answer
    assert fields["connection"] == "close"
    assert fields["x-aims-error-source"] == "gateway"
    assert fields["x-request-id"]
    if path.startswith("/v1"):
        assert fields["content-type"] == "application/json"
        assert set(document) == {"error"}
    else:
        assert fields["content-type"] == "application/problem+json"
        check_problem(document, status, code, fields["x-request-id"])
        assert document.get("instance", "") == path
    if not path.startswith("/api"):
        error = document["error"]
        assert (error["code"], error["source"]) == (code, "gateway")
        assert error["request_id"].lower() == fields["x-request-id"]
        assert error["message"]
        assert error["type"].endswith("_error")
    return document


def check_problem(document, status, code, request_id):
    assert (document["status"], document["code"]) == (status, code)
    assert document["type"] == f"urn:aimindserve:error:{code}"
    assert document["request_id"].lower() == request_id
    assert re.fullmatch(r"[A-Z][A-Za-z ]+", document["title"])
    assert not re.search(r"[a-z][A-Z]", document["title"]), "the name of a class is no title"


@pytest.mark.parametrize("path", [CHAT, "/v1-openai/models", "/api/v1/deployments"])
def test_framing_is_refused_in_the_words_of_the_path(path):
    async def main(here, client):
        async def one(name):
            data, status, code = REFUSED[name]
            sent = data.replace(CHAT.encode(), path.encode())
            answer = await raw(here, sent)
            check(answer, status, code, path="" if name == "a tunnel" else path)
            assert len(answer) < 5_000

        await asyncio.gather(*[one(name) for name in REFUSED])
        assert not here.worker.requests
        assert not here.control.seen

    run(main, limits=SMALL)


@pytest.mark.parametrize("path", [CHAT, "/v1-openai/models", "/api/v1/deployments"])
def test_a_head_that_does_not_end_is_refused_in_the_words_of_the_path(path):
    async def main(here, client):
        check(await raw(here, head(path=path)[:-4]), 408, "request_timeout", path=path)

    run(main, limits=SHORT)


@pytest.mark.parametrize(("data", "status", "code", "limits"), BROKEN_BODIES)
def test_a_body_that_is_refused_while_it_is_read(data, status, code, limits):
    async def main(here, client):
        key = client.headers["authorization"].encode()
        sent = data.replace(b"host: x\r\n", b"host: x\r\nauthorization: " + key + b"\r\n")
        sent = sent.replace(b"host: x\r\n", b"host: x\r\nx-request-id: mine-1\r\n")
        document = check(await raw(here, sent), status, code)
        assert document["error"]["request_id"] == "mine-1"

    run(main, limits=limits)


def test_the_clients_own_id_is_told_where_it_was_read():
    async def main(here, client):
        sent = head("x-request-id: abc.1", "content-length: x")
        assert check(await raw(here, sent), 400, "malformed")["error"]["request_id"] == "abc.1"
        ids = set()
        for _ in range(3):
            document = check(
                await raw(here, head("x-request-id: a b", host=False)), 400, "malformed"
            )
            ids.add(document["error"]["request_id"])
        assert len(ids) == 3

    run(main)


@pytest.mark.parametrize(
    "data", [b"nonsense\r\n\r\n", b"\x16\x03\x01\x02\x00", b"GET\r\n\r\n", b""]
)
def test_what_is_refused_before_its_path_is_known_is_understood_by_everybody(data):
    async def main(here, client):
        status, code = (400, "malformed") if data else (408, "request_timeout")
        check(await raw(here, data), status, code, path="")

    run(main, limits=Limits() if data else SHORT)


def test_too_many_connections_are_told_so():
    async def main(here, client):
        held = [await asyncio.open_connection("127.0.0.1", here.gateway.port) for _ in range(3)]
        answer = await raw(here, b"")
        document = check(answer, 503, "unavailable", path="")
        assert b"retry-after" in answer
        assert "connections" in document["detail"]
        for _, writer in held:
            writer.close()

    run(main, limits=Limits(connections=3))


def test_every_status_the_wire_refuses_with_has_an_error_of_its_own():
    sources = "".join(
        each.read_text() for each in Path(aimindserve.wire.__file__).parent.glob("*.py")
    )
    statuses = set(re.findall(r"RefusedError\(\s*(\d{3})", sources))
    statuses |= set(re.findall(r"_answer_error\(request, (\d{3})", sources))
    statuses |= {"431", "501"}  # chosen a line above
    assert len(statuses) > 8
    for status in map(int, statuses):
        error = framing_error(status, "It is refused.")
        assert error.status == status
        assert status == 400 or type(error) is not MalformedError


@pytest.mark.parametrize("prefix", ["/v1/", "/v1-openai/"])
def test_an_unknown_path_lists_the_known_ones(prefix):
    async def main(here, client):
        for path in ("nope", "modelsx", "models-x"):
            answer = await client.get(prefix + path)
            error = answer.json()["error"]
            assert (answer.status_code, error["code"]) == (404, "not_found")
            told = error["message"]
            for known in ("models", "chat/completions", "embeddings"):
                assert prefix + known in told

    run(main)
