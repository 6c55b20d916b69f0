"""Logs come from the worker that runs the instance, over real HTTP."""

import asyncio
import contextlib

from integration.server.control_plane import Open, plane
from integration.server.test_worker_protocol import across, place, report, seen


class Machine:
    """A worker's HTTP server that answers what it was told to and remembers what it was asked."""

    def __init__(self) -> None:
        self.asked = []
        self.status = "200 OK"
        self.body = b"one\ntwo\n"
        self.hold = asyncio.Event()
        self.hung_up = asyncio.Event()

    async def answer(self, reader, writer):
        self.asked.append((await reader.readuntil(b"\r\n\r\n")).decode())
        head = f"HTTP/1.1 {self.status}\r\ncontent-type: text/plain\r\nconnection: close\r\n\r\n"
        writer.write(head.encode() + self.body)
        await writer.drain()
        if "follow=1" in self.asked[-1]:
            waiting = asyncio.ensure_future(reader.read())
            hold = asyncio.ensure_future(self.hold.wait())
            await asyncio.wait({waiting, hold}, return_when=asyncio.FIRST_COMPLETED)
            if waiting.done():
                self.hung_up.set()
            waiting.cancel()
            hold.cancel()
        writer.close()


@contextlib.asynccontextmanager
async def machine():
    made = Machine()
    server = await asyncio.start_server(made.answer, "127.0.0.1", 0)
    async with server:
        yield made, server.sockets[0].getsockname()[1]


def run(scenario):
    async def go():
        async with plane() as found, machine() as (made, port):
            await found.add_worker("w")
            await place(found, "d-1", "w")
            answer = await report(found, "w", observed=seen(host="127.0.0.1", port=port))
            assert answer.status_code == 200
            await scenario(found, made)

    asyncio.run(go())


def test_each_process_of_an_instance_on_several_workers_has_a_log():
    async def scenario(found, made):
        await found.add_worker("v")
        await found.store.update("instance", "d-1", across("v", "w"))
        path = "/api/v1/instances/d-1/logs?worker="
        answer = await found.call("GET", f"{path}w", "ada")
        assert (answer.status_code, answer.text) == (200, "one\ntwo\n")
        assert "worker" not in made.asked[0].split()[1]
        assert (await found.call("GET", path, "ada")).status_code == 503, "v has not reported"
        elsewhere = await found.call("GET", f"{path}x", "ada")
        assert elsewhere.status_code == 404
        assert elsewhere.json()["hint"] == "It runs on v, w."

    run(scenario)


def test_the_last_lines():
    async def scenario(found, made):
        path = "/api/v1/instances/d-1/logs?tail=20&run=previous&q=err%20or"
        answer = await found.call("GET", path, "ada")
        assert answer.status_code == 200, answer.text
        assert answer.text == "one\ntwo\n"
        assert answer.headers["content-type"].startswith("text/plain")
        (asked,) = made.asked
        assert asked.startswith("GET /logs/d-1?tail=20&follow=0&run=previous&q=err")
        key = found.store.get("worker", "w").spec.proxy_key
        assert f"authorization: Bearer {key}" in asked
        assert "cookie" not in asked.lower()

    run(scenario)


def test_following_ends_with_the_reader():
    async def scenario(found, made):
        path = "/api/v1/instances/d-1/logs"
        stream = Open(found.app, path, found.headers["ada"], "follow=1")
        while b"two" not in stream._text:
            await asyncio.sleep(0.01)
        await stream.close()
        await asyncio.wait_for(made.hung_up.wait(), 3)
        assert found.app.services.streams.count() == 0

    run(scenario)


def test_refusals_are_told_apart():
    async def scenario(found, made):
        made.status = "404 Not Found"
        path = "/api/v1/instances/d-1/logs"
        assert (await found.call("GET", path, "ada")).json()["code"] == "not_found"
        made.status = "500 Oops"
        assert (await found.call("GET", path, "ada")).json()["code"] == "upstream"
        missing = await found.call("GET", "/api/v1/instances/none/logs", "ada")
        assert missing.status_code == 404
        for query in ("tail=10001", "tail=-1", "run=../../etc", "run=-1", "q=" + "x" * 201):
            answer = await found.call("GET", f"{path}?{query}", "ada")
            assert answer.status_code == 400, query
        await place(found, "d-2", "gone")
        assert (await found.call("GET", "/api/v1/instances/d-2/logs", "ada")).status_code == 503

    run(scenario)


def test_a_worker_that_is_away():
    async def scenario(found, made):
        await report(found, "w", observed=seen(host="127.0.0.1", port=9))
        answer = await found.call("GET", "/api/v1/instances/d-1/logs", "ada")
        assert (answer.status_code, answer.json()["code"]) == (503, "unavailable")
        assert not made.asked

    run(scenario)
