import asyncio
import json
import random

import httpx
import pytest

from aimindserve.gateway.config import BodyLimits
from integration.gateway.world import (
    ANSWER,
    KEY_HEADERS,
    Worker,
    api_key,
    documents,
    instance,
    route,
    worker,
    world,
)

ASK = {"model": "tiny", "messages": [{"role": "user", "content": "hi"}]}
CHAT = "/v1/chat/completions"


def run(main, *args, **kwargs):
    """Run `main(world, client)`."""

    async def go():
        async with (
            world(*args, **kwargs) as here,
            httpx.AsyncClient(base_url=here.url, headers=KEY_HEADERS, timeout=30) as client,
        ):
            await main(here, client)
            await here.until(lambda: not here.gateway.meter.in_flight)

    asyncio.run(go())


def test_a_question_is_answered_and_counted():
    async def main(here, client):
        sent = {"cookie": "a=b", "x-aims-instance": "evil", "x-request-id": "abc.1", "te": "x"}
        answer = await client.post(CHAT, json=ASK, headers=sent)
        assert answer.content == ANSWER
        assert answer.headers["x-request-id"] == "abc.1"
        assert "server" not in answer.headers
        [(method, target, headers, body)] = here.worker.requests
        assert (method, target, json.loads(body)) == ("POST", CHAT, ASK)
        assert headers.pop(b"content-length")
        assert headers == {
            b"host": f"127.0.0.1:{here.worker.port}".encode(),
            b"x-aims-instance": b"tiny-aaaaa",
            b"authorization": b"Bearer proxy-secret",
            b"x-request-id": b"abc.1",
            b"content-type": b"application/json",
            b"accept": b"*/*",
        }
        metrics = await client.get(f"http://127.0.0.1:{here.gateway.metrics_port}/metrics")
        assert 'aims_gateway_prompt_tokens_total{key="k1",model="tiny"} 11' in metrics.text
        assert 'aims_gateway_completion_tokens_total{key="k1",model="tiny"} 7' in metrics.text
        assert "aims_gateway_control_plane_up 1" in metrics.text

    run(main)


@pytest.mark.parametrize("path", ["completions", "responses", "messages", "embeddings", "rerank"])
def test_every_json_path_passes_through_under_both_prefixes(path):
    def docs(port):
        return documents(port) | {"route": {"tiny": route(("tiny", 1), categories=())}}

    async def main(here, client):
        for prefix in ("/v1", "/v1-openai"):
            answer = await client.post(f"{prefix}/{path}?a=b", json=ASK)
            assert answer.content == ANSWER
        assert [target for _, target, _, _ in here.worker.requests] == [f"/v1/{path}?a=b"] * 2

    run(main, docs=docs)


def test_streams_pass_byte_for_byte_however_they_are_cut():
    seeds = random.Random(7)
    sent = {}

    async def answer(request, body):
        number = json.loads(body)["n"]
        pieces = [seeds.randbytes(seeds.choice([1, 7, 300, 70_000])) for _ in range(40)]
        sent[number] = b"".join(pieces)
        length = len(sent[number]) if number % 2 else None
        request.start(200, [(b"content-type", b"text/event-stream")], length=length)
        for piece in pieces:
            request.write(piece)
            if seeds.random() < 0.5:
                await asyncio.sleep(0)
            await request.drain()
        request.finish()

    async def main(here, client):
        async def one(number):
            got = await client.post(CHAT, json=ASK | {"n": number})
            assert got.content == sent[number]

        await asyncio.gather(*(one(number) for number in range(12)))

    run(main, answer)


def test_the_first_bytes_do_not_wait_for_the_last():
    go_on = asyncio.Event()

    async def answer(request, body):
        request.start(200, [(b"content-type", b"text/event-stream; charset=utf-8")])
        request.write(b"data: first\n\n")
        await go_on.wait()
        request.write(b"data: [DONE]\n\n")
        request.finish()

    async def main(here, client):
        async with client.stream("POST", CHAT, json=ASK) as stream:
            pieces = stream.aiter_raw()
            assert await anext(pieces) == b"data: first\n\n"
            assert here.gateway.meter.in_flight == {"tiny-aaaaa": 1}
            go_on.set()
            assert b"".join([piece async for piece in pieces]) == b"data: [DONE]\n\n"

    run(main, answer)


@pytest.mark.parametrize("streaming", [True, False])
def test_a_client_that_hangs_up_ends_the_upstream_at_once(streaming):
    async def answer(request, body):
        if streaming:
            request.start(200, [(b"content-type", b"text/event-stream")])
            request.write(b"data: x\n\n")
        await asyncio.sleep(60)

    async def main(here, client):
        reader, writer = await asyncio.open_connection("127.0.0.1", here.gateway.port)
        body = json.dumps(ASK).encode()
        head = "".join(f"{name}: {value}\r\n" for name, value in KEY_HEADERS.items())
        writer.write(
            f"POST {CHAT} HTTP/1.1\r\nhost: x\r\n{head}content-length: {len(body)}\r\n\r\n".encode()
            + body
        )
        await here.until(lambda: here.worker.requests)
        assert here.gateway.meter.in_flight == {"tiny-aaaaa": 1}
        if streaming:
            await reader.readuntil(b"data: x\n\n")
        writer.close()
        await here.until(lambda: here.worker.gone == 1, 1.0)
        assert here.gateway.meter.in_flight == {}
        [tally] = here.gateway.meter.tallies.values()
        assert (tally.requests, tally.cancelled) == (1, 1)

    run(main, answer)


def test_a_slow_reader_slows_the_upstream():
    sent = 0

    async def answer(request, body):
        nonlocal sent
        request.start(200, [(b"content-type", b"text/event-stream")])
        for _ in range(2000):
            request.write(b"x" * 50_000)
            sent += 50_000
            await request.drain()
        request.finish()

    async def main(here, client):
        async with client.stream("POST", CHAT, json=ASK) as stream:
            pieces = stream.aiter_raw()
            got = len(await anext(pieces))
            await asyncio.sleep(0.5)
            assert sent < 40_000_000  # socket buffers, and 256 KiB of ours on each side
            async for piece in pieces:
                got += len(piece)
        assert got == sent == 100_000_000

    run(main, answer)


@pytest.mark.parametrize("path", [CHAT, "/v1/messages", "/v1/responses"])
@pytest.mark.parametrize("cut_in_event", [True, False])
def test_a_stream_that_breaks_off_ends_with_an_error_event(path, cut_in_event):
    async def answer(request, body):
        request.start(200, [(b"content-type", b"text/event-stream")])
        request.write(b"data: x\n\n" + (b'data: {"a' if cut_in_event else b""))
        await asyncio.sleep(0.05)
        request.abort()

    async def main(here, client):
        text = (await client.post(path, json=ASK)).text
        *_, last, end = text.split("\n\n")
        assert end == ""
        assert "DONE" not in text
        error = json.loads(last.partition("data: ")[2])
        assert last.startswith("data: " if path == CHAT else "event: error\ndata: ")
        inner = error if path == "/v1/responses" else error["error"]
        assert inner["code"] == "upstream"
        assert inner["source"] == "gateway"
        [tally] = here.gateway.meter.tallies.values()
        assert tally.failures == 1

    run(main, answer)


def test_an_answer_that_breaks_off_before_it_was_passed_on_is_a_502():
    async def answer(request, body):
        request.start(200, [(b"content-type", b"application/json")], length=1000)
        request.write(b'{"half":')
        await asyncio.sleep(0.05)
        request.abort()

    async def main(here, client):
        answer = await client.post(CHAT, json=ASK)
        assert answer.status_code == 502
        assert answer.json()["error"]["source"] == "gateway"

    run(main, answer)


def test_errors_of_worker_and_backend_pass_unchanged():
    async def answer(request, body):
        status, source = json.loads(body)["say"]
        headers = [(b"x-aims-error-source", source.encode())] if source else []
        request.respond(status, b'{"error":1}', content_type=b"application/json", headers=headers)

    async def main(here, client):
        for status, source in ((502, "worker"), (503, ""), (404, ""), (401, ""), (429, "")):
            answer = await client.post(CHAT, json=ASK | {"say": [status, source]})
            assert (answer.status_code, answer.json()) == (status, {"error": 1})
            assert answer.headers.get("x-aims-error-source", "") == source
        assert not here.gateway.meter.retries

    run(main, answer)


@pytest.mark.parametrize("status", [404, 503])
def test_a_worker_whose_engine_is_not_there_is_passed_over(status):
    async def answer(request, body):
        if request.index[b"x-aims-instance"] == b"tiny-a":
            request.respond(status, headers=[(b"x-aims-error-source", b"worker")])
        else:
            request.respond(200, ANSWER)

    async def main(here, client):
        for _ in range(4):
            assert (await client.post(CHAT, json=ASK)).content == ANSWER
        here.control.change("instance", "tiny-b", None)
        await here.until(lambda: here.gateway.table.routes["tiny"].only)
        asking = asyncio.ensure_future(client.post(CHAT, json=ASK))
        await asyncio.sleep(0.3)
        assert not asking.done()
        here.control.change("instance", "tiny-c", instance("tiny", "w1"))
        assert (await asking).content == ANSWER

    def docs(port):
        both = {"tiny-a": instance("tiny", "w1"), "tiny-b": instance("tiny", "w1")}
        return documents(port) | {"instance": both}

    run(main, answer, docs=docs)


def test_a_worker_that_refuses_our_key_is_not_the_clients_fault():
    async def answer(request, body):
        request.respond(401, headers=[(b"x-aims-error-source", b"worker")])

    async def main(here, client):
        answer = await client.post(CHAT, json=ASK)
        assert answer.status_code == 502
        assert "gateway's key" in answer.json()["error"]["message"]

    run(main, answer)


@pytest.mark.parametrize("garbage", [b"SSH-2.0\r\n", b"HTTP/1.1 200 OK\r\nx" * 9000, b""])
def test_an_upstream_that_speaks_no_http_is_a_502(garbage):
    async def talk(reader, writer):
        await reader.read(100)
        writer.write(garbage)
        await writer.drain()
        writer.close()

    async def go():
        server = await asyncio.start_server(talk, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        async with (
            world(docs=lambda _: documents(port)) as here,
            httpx.AsyncClient(base_url=here.url, headers=KEY_HEADERS) as client,
        ):
            answer = await client.post(CHAT, json=ASK)
            assert answer.status_code == 502
            assert answer.json()["error"]["code"] == "upstream"
            assert here.gateway.meter.in_flight == {}
        server.close()

    asyncio.run(go())


def test_a_request_whose_agent_dies_is_sent_once_more():
    seen = 0

    async def talk(reader, writer):
        nonlocal seen
        seen += 1
        asked = await reader.read(65536)
        if seen > 1 and asked:
            writer.write(b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n")
            writer.write(b"content-length: %d\r\n\r\n%b" % (len(ANSWER), ANSWER))
            await writer.drain()
        writer.close()

    async def go():
        server = await asyncio.start_server(talk, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        async with (
            world(docs=lambda _: documents(port)) as here,
            httpx.AsyncClient(base_url=here.url, headers=KEY_HEADERS) as client,
        ):
            answer = await client.post(CHAT, json=ASK)
            assert answer.content == ANSWER
            assert seen == 2
        server.close()

    asyncio.run(go())


def test_a_key_that_was_made_a_moment_ago_is_waited_for():
    async def main(here, client):
        new = {"authorization": "Bearer sk-new"}
        asking = asyncio.ensure_future(client.post(CHAT, json=ASK, headers=new))
        listing = asyncio.ensure_future(client.get("/v1/models", headers=new))
        await asyncio.sleep(0.1)
        assert not asking.done()
        here.control.change("api-key", "other", api_key("sk-other"))
        await asyncio.sleep(0.05)
        here.control.change("api-key", "new", api_key("sk-new"))
        assert (await asking).content == ANSWER
        assert (await listing).status_code == 200
        wrong = {"authorization": "Bearer wrong"}
        refused = await client.post(CHAT, json=ASK, headers=wrong)
        assert refused.status_code == 401
        assert (await client.post(CHAT, json=ASK, headers={"authorization": ""})).status_code == 401

    run(main)


def test_connections_are_kept_and_a_stale_one_is_replaced():
    async def main(here, client):
        for _ in range(5):
            assert (await client.post(CHAT, json=ASK)).status_code == 200
        assert here.worker.server.connections == 1
        port = here.worker.port
        await here.worker.server.stop(0)
        again = Worker(here.worker.answer, port)
        await again.server.start()
        assert (await client.post(CHAT, json=ASK)).status_code == 200
        assert len(again.requests) == 1
        await again.server.stop(0)

    run(main)


def two_workers(port, dead):
    return documents(port) | {
        "worker": {"w1": worker(port), "w2": worker(dead)},
        "instance": {"tiny-a": instance("tiny", "w1"), "tiny-b": instance("tiny", "w2")},
    }


def test_a_worker_that_refuses_connections_is_passed_over():
    async def main(here, client):
        for _ in range(6):
            assert (await client.post(CHAT, json=ASK)).status_code == 200
        assert here.gateway.meter.retries

    run(main, docs=lambda port: two_workers(port, 1))


def test_the_only_worker_is_waited_for_while_its_agent_restarts():
    async def main(here, client):
        port = here.worker.port
        await here.worker.server.stop(0)
        asking = asyncio.ensure_future(client.post(CHAT, json=ASK))
        await asyncio.sleep(0.6)
        assert not asking.done()
        again = Worker(here.worker.answer, port)
        await again.server.start()
        assert (await asking).status_code == 200
        await again.server.stop(0)

    run(main)


def test_a_worker_that_stays_away_is_a_503():
    async def main(here, client):
        answer = await client.post(CHAT, json=ASK)
        assert answer.status_code == 503
        assert answer.headers["retry-after"]
        assert "takes requests" in answer.json()["error"]["message"]

    run(main, docs=lambda port: documents(1), retry_window_s=0.5)


FORM = "/v1/audio/transcriptions"


def speech(port):
    return documents(port) | {"route": {"tiny": route(("tiny", 1), categories=("speech_to_text",))}}


@pytest.mark.parametrize("file_first", [True, False])
@pytest.mark.parametrize("size", [1000, 3_000_000])
def test_forms_pass_whole(file_first, size):
    audio = random.Random(1).randbytes(size)
    fields = [("model", (None, "tiny")), ("file", ("a.wav", audio))]

    async def main(here, client):
        answer = await client.post(FORM, files=fields[::-1] if file_first else fields)
        assert answer.content == ANSWER
        [(_, _, headers, body)] = here.worker.requests
        assert audio in body
        assert headers[b"content-type"].startswith(b"multipart/form-data; boundary=")
        assert int(headers[b"content-length"]) == len(body)

    run(main, docs=speech)


def test_a_chunked_form_passes_whole_and_waits_for_its_worker():
    audio = random.Random(1).randbytes(2_000_000)

    async def body():
        yield b'--b\r\ncontent-disposition: form-data; name="model"\r\n\r\ntiny\r\n--b\r\n'
        yield b'content-disposition: form-data; name="file"; filename="x"\r\n\r\n'
        for at in range(0, len(audio), 100_000):
            yield audio[at : at + 100_000]
            await asyncio.sleep(0.001)
        yield b"\r\n--b--\r\n"

    async def main(here, client):
        headers = {"content-type": "multipart/form-data; boundary=b"}
        answer = await client.post(FORM, content=body(), headers=headers)
        assert answer.content == ANSWER
        assert audio in here.worker.requests[0][3]
        assert b"transfer-encoding" in here.worker.requests[0][2]

    run(main, docs=lambda port: speech(port) | {"worker": {"w1": worker(port), "w2": worker(1)}})


def test_form_limits():
    async def main(here, client):
        late = [("file", ("a.wav", b"x" * 300_000)), ("model", (None, "tiny"))]
        answer = await client.post(FORM, files=late)
        assert (answer.status_code, answer.json()["error"]["code"]) == (400, "body_invalid")
        assert "before the file" in answer.json()["error"]["message"]
        answer = await client.post(FORM, files=[("file", ("a.wav", b"x"))])
        assert answer.status_code == 400
        answer = await client.post(FORM, json={"model": "tiny"})
        assert answer.json()["error"]["code"] == "body_invalid"
        answer = await client.post(
            FORM, files=[("model", (None, "tiny")), ("file", ("a.wav", b"x" * 2_000_000))]
        )
        assert answer.status_code == 413
        assert not here.worker.requests

    limits = BodyLimits(multipart_search_bytes=100_000, multipart_bytes=1_000_000)
    run(main, docs=speech, bodies=limits)


def test_the_official_client_works():
    openai = pytest.importorskip("openai")

    async def answer(request, body):
        if not json.loads(body).get("stream"):
            request.respond(200, ANSWER, content_type=b"application/json")
            return
        request.start(200, [(b"content-type", b"text/event-stream")])
        for word in ("one ", "two"):
            event = {"id": "1", "object": "chat.completion.chunk", "created": 1, "model": "tiny"}
            event["choices"] = [{"index": 0, "delta": {"content": word}}]
            request.write(b"data: " + json.dumps(event).encode() + b"\n\n")
        request.write(b"data: [DONE]\n\n")
        request.finish()

    async def main(here, client):
        key = KEY_HEADERS["authorization"].removeprefix("Bearer ")
        async with openai.AsyncOpenAI(base_url=f"{here.url}/v1", api_key=key) as sdk:
            whole = await sdk.chat.completions.create(**ASK)
            assert whole.choices[0].message.content == "hi"
            words = [
                part.choices[0].delta.content
                async for part in await sdk.chat.completions.create(**ASK, stream=True)
            ]
            assert "".join(words) == "one two"
            assert [model.id async for model in sdk.models.list()] == ["tiny"]
            with pytest.raises(openai.NotFoundError, match="There is: tiny"):
                await sdk.chat.completions.create(**(ASK | {"model": "tinny"}))

    run(main, answer)
