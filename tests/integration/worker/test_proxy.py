"""The worker's own HTTP server, in front of real engines."""

import asyncio
from contextlib import asynccontextmanager

import httpx
import pytest

from aimindserve.core.facts import Options
from integration.worker.agent_process import agent_of, config_of
from integration.worker.plane import TOKEN, Plane, assignment

KEY = {"authorization": "Bearer proxy-key-1"}
ONE = {**KEY, "x-aims-instance": "dep-a"}
CHAT = {"messages": [{"role": "user", "content": "one two three"}]}


@asynccontextmanager
async def worker(tmp_path, ports, *assignments, ready=True):
    """(plane, agent, http client) with a running agent in this process."""
    async with Plane() as plane:
        given = {"dir": str(tmp_path), "url": plane.url, "token": TOKEN, "ports": ports}
        agent, link = agent_of(config_of(given))
        task = asyncio.get_running_loop().create_task(agent.run())
        try:
            plane.want(*assignments)
            for one in assignments if ready else ():
                await plane.until_state(one.instance, "ready")
            await plane.until(lambda: plane.reports)
            port = plane.reports[-1].worker.port
            async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=20) as http:
                yield plane, agent, http
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            await link.aclose()


def run(tmp_path, ports, check, *assignments, **more):
    async def main():
        async with worker(tmp_path, ports, *assignments, **more) as parts:
            await check(*parts)

    asyncio.run(main())


def test_who_may_come_in(tmp_path, ports, model):
    async def check(plane, agent, http):
        assert (await http.get("/healthz")).text == "ok\n"
        wrong = [
            {}, {"authorization": "Bearer wrong"}, {"authorization": "proxy-key-1"},
            {"authorization": "Bearer"}, {"x-api-key": "proxy-key-1"},
            {"authorization": "bearer proxy-key-1"},
        ]  # fmt: skip
        for path in ("/v1/models", "/logs/dep-a", "/", "/healthz/", "//healthz", "/metrics"):
            for headers in wrong:
                for extra in ({}, {"x-aims-instance": "dep-a"}):
                    answer = await http.get(path, headers={**headers, **extra})
                    assert answer.status_code == 401, (path, headers)
                    assert answer.headers["x-aims-error-source"] == "worker"
                    assert answer.json()["error"]["source"] == "worker"
        assert (await http.get("/healthz", headers={"x-aims-instance": "dep-a"})).status_code == 401
        twice = [("authorization", "Bearer wrong"), ("authorization", "Bearer proxy-key-1")]
        assert (await http.get("/v1/models", headers=twice)).status_code == 401
        assert (await http.get("/nothing", headers=KEY)).status_code == 404

    run(tmp_path, ports, check, assignment("dep-a", model))


def test_a_request_reaches_its_engine_and_no_other(tmp_path, ports, model):
    async def check(plane, agent, http):
        for name in ("dep-a", "dep-b"):
            headers = {**KEY, "x-aims-instance": name, "x-request-id": "r-1"}
            answer = await http.post("/v1/chat/completions", headers=headers, json=CHAT)
            assert answer.json()["choices"][0]["message"]["content"].startswith("one two three")
            assert "server" not in answer.headers
        missing = await http.get("/v1/models", headers={**KEY, "x-aims-instance": "dep-z"})
        assert (missing.status_code, missing.json()["error"]["code"]) == (404, "not_found")

    run(tmp_path, ports, check, assignment("dep-a", model), assignment("dep-b", model))


def test_a_stream_comes_through_piece_by_piece(tmp_path, ports, model):
    async def check(plane, agent, http):
        body = {**CHAT, "stream": True, "stream_options": {"include_usage": True}}
        pieces = []
        async with http.stream("POST", "/v1/chat/completions", headers=ONE, json=body) as answer:
            assert answer.status_code == 200
            async for piece in answer.aiter_raw():
                pieces.append(piece)
                token = next(iter(agent.board.processes))
                assert agent.traffic.count(token) in {0, 1}
        text = b"".join(pieces)
        assert text.endswith(b"data: [DONE]\n\n")
        assert text.count(b"data: ") == 8
        assert len(pieces) > 3
        await asyncio.sleep(0.05)
        assert agent.traffic.count(next(iter(agent.board.processes))) == 0

    run(tmp_path, ports, check, assignment("dep-a", model, "--tokens=5", "--token-delay=0.05"))


def test_what_an_engine_generates_is_told_as_it_counts_it(tmp_path, ports, model):
    async def check(plane, agent, http):
        async def generated(tokens):
            await agent.pacer.look()
            await plane.until(lambda: plane.seen("dep-a").generated_tokens == tokens)
            return plane.seen("dep-a").generated_s

        assert plane.seen("dep-a").generated_tokens is None
        for _ in range(2):
            await http.post("/v1/chat/completions", headers=ONE, json=CHAT)
        seconds = await generated(2 * 29)
        assert seconds > 0
        async with http.stream(
            "POST", "/v1/chat/completions", headers=ONE, json={**CHAT, "stream": True}
        ) as answer:
            async for _ in answer.aiter_raw():
                pass
        token = next(iter(agent.board.processes))
        while agent.traffic.count(token):
            await asyncio.sleep(0.01)
        assert await generated(3 * 29) > seconds
        # What is asked of it now and then is no request of anybody.
        assert agent.traffic.handed(token) == 3

    run(tmp_path, ports, check, assignment("dep-a", model, "--tokens=30", "--token-delay=0.002"))


def test_an_engine_that_is_not_ready_gets_nothing(tmp_path, ports, model):
    async def check(plane, agent, http):
        await plane.until_state("dep-a", "loading")
        answer = await http.post("/v1/chat/completions", headers=ONE, json=CHAT)
        assert (answer.status_code, answer.json()["error"]["code"]) == (503, "unavailable")

    run(tmp_path, ports, check, assignment("dep-a", model, "--start-stuck"), ready=False)


def test_an_engine_that_dies_over_a_request(tmp_path, ports, model):
    async def check(plane, agent, http):
        answer = await http.post("/v1/chat/completions", headers=ONE, json=CHAT)
        assert answer.status_code == 502
        assert answer.headers["x-aims-error-source"] == "worker"
        ended = await plane.until_state("dep-a", "backoff", 3)
        assert (ended.reason.code, ended.reason.params["status"]) == (
            "engine_exited",
            "exit code 7",
        )
        assert "told to crash at request 1" in ended.reason.evidence

    run(tmp_path, ports, check, assignment("dep-a", model, "--crash-at=1", "--exit-code=7"))


def test_a_polite_stop_lets_answers_finish(tmp_path, ports, model):
    async def check(plane, agent, http):
        body = {**CHAT, "stream": True}
        text = b""
        async with http.stream("POST", "/v1/chat/completions", headers=ONE, json=body) as answer:
            async for piece in answer.aiter_raw():
                if not text:
                    plane.want()
                text += piece
        assert text.endswith(b"data: [DONE]\n\n")
        await plane.until(lambda: plane.seen("dep-a") is None, 10)

    run(tmp_path, ports, check, assignment("dep-a", model, "--tokens=20", "--token-delay=0.05"))


def test_logs(tmp_path, ports, model):
    async def check(plane, agent, http):
        async def logs(query="", instance="dep-a"):
            return await http.get(f"/logs/{instance}{query}", headers=KEY)

        await http.post("/v1/chat/completions", headers=ONE, json=CHAT)
        assert "engine ready" in (await logs()).text
        assert len((await logs("?tail=1")).text.splitlines()) == 1
        assert (await logs("?q=ENGINE READY")).text.count("\n") == 1
        assert (await logs("?run=1")).text == (await logs()).text
        for query in ("?run=previous", "?run=9", "?run=../../x", "?run=-1"):
            assert (await logs(query)).status_code == 404
        for instance in ("dep-z", "..%2f..%2fetc", "../../etc/passwd", "dep-a/1.log", ""):
            assert (await logs(instance=instance)).status_code == 404
        for query in ("?tail=99999", "?tail=x", "?tail=-1", "?q=" + "x" * 300):
            assert (await logs(query)).status_code == 400

    run(tmp_path, ports, check, assignment("dep-a", model))


def test_following_a_log_until_the_run_ends(tmp_path, ports, model):
    async def check(plane, agent, http):
        lines = []
        await plane.until_state("dep-a", "loading")
        async with http.stream("GET", "/logs/dep-a?follow=1", headers=KEY) as answer:
            async for line in answer.aiter_lines():
                lines.append(line)
                if line == "engine ready":
                    asyncio.get_running_loop().call_soon(plane.want)
        assert "engine ready" in lines

    run(tmp_path, ports, check, assignment("dep-a", model, "--start-delay=1"), ready=False)


def test_nobody_elses_listener_is_taken_for_the_engine(tmp_path, ports, model):
    """The port is free when it is chosen and taken when the engine starts: a stranger answers the
    health check. No traffic may reach it, and the engine goes to the next port."""

    async def stranger(reader, writer):
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok")
        writer.close()

    async def check(plane, agent, http):
        server = await asyncio.start_server(stranger, "127.0.0.1", ports[0])
        free = agent._edges.ports.taken
        blind = iter([frozenset()])
        ports_edge = type("Blind", (), {"taken": lambda _s, a, b: next(blind, free(a, b))})()
        object.__setattr__(agent._edges, "ports", ports_edge)
        plane.want(assignment("dep-a", model))
        ready = await plane.until_state("dep-a", "ready")
        assert ready.port == ports[0] + 1
        assert ready.run == 2
        states = [dict(r.instances).get("dep-a") for r in plane.reports]
        assert all(s is None or s.port != ports[0] or s.state.value != "ready" for s in states)
        server.close()

    run(tmp_path, ports, check)


def test_metrics(tmp_path, ports, model):
    async def check(plane, agent, http):
        port = plane.reports[-1].worker.metrics_port
        answer = await http.get(f"http://127.0.0.1:{port}/metrics")
        assert answer.headers["content-type"].startswith("text/plain")
        for line in (
            'worker_node_cpu_cores{instance="127.0.0.1",provider="aimindserve"}',
            'aims_engine_ready{model_instance="dep-a",worker="w1"} 1.0',
            "worker_node_filesystem_total_bytes{",
        ):
            assert line in answer.text
        assert (await http.get(f"http://127.0.0.1:{port}/")).status_code == 404

    run(tmp_path, ports, check, assignment("dep-a", model))


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"backend": "nothing"}, "backend_unknown"),
        ({"options": Options(env=(("LD_PRELOAD", "/x.so"),))}, "bad_param"),
        ({"options": Options(parameters=("--no-such-thing",))}, "backend_unfit"),
    ],
)
def test_what_can_never_start_is_failed_with_its_reason(tmp_path, ports, model, changes, code):
    async def check(plane, agent, http):
        failed = await plane.until_state("dep-a", "failed")
        assert failed.reason.code == code

    run(tmp_path, ports, check, assignment("dep-a", model, **changes), ready=False)


def test_secrets_do_not_reach_reports(tmp_path, ports, model):
    async def check(plane, agent, http):
        ended = await plane.until_state("dep-a", "backoff")
        assert ended.reason.code == "engine_exited"
        for process in list(agent.board.processes.values()):
            assert process.handle.secret not in str(plane.reports)

    run(tmp_path, ports, check, assignment("dep-a", model, "--start-exit=4"), ready=False)
