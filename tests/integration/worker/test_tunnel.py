"""Connections between the processes of one instance, carried by two agents, over real sockets: the
first worker's tunnels, the other one's door behind its HTTP server, and a process that echoes."""

import asyncio
import contextlib
from contextlib import asynccontextmanager
from dataclasses import replace

import pytest

from aimindserve.core.launch import Peer
from aimindserve.core.placement import Placement, Rank
from aimindserve.kit.clock import SystemClock
from aimindserve.kit.tasks import TaskSupervisor
from aimindserve.wire.loop import new_event_loop
from aimindserve.wire.server import ServerConfig, serve
from aimindserve.wire.upstream import Pool
from aimindserve.worker.observed import Health
from aimindserve.worker.proxy import Proxy, ProxyParts, error_reply
from aimindserve.worker.traffic import Traffic
from aimindserve.worker.tunnel_door import Door, DoorParts
from aimindserve.worker.tunnels import CONNECTIONS_MAX, Tunnels, Ways
from unit.worker.world import process, wanted

SECRET = "secret-of-this-placement"
PLACED = Placement("p1", "several workers", (Rank("w1"), Rank("w2")))
MIB = 1024**2


class Pair:
    """Two workers of one instance: `w1` leads, `w2` has a process that says everything again."""

    def __init__(self, ports) -> None:
        self.ports = ports
        self.clock = SystemClock()
        self.tasks = TaskSupervisor(self.clock)
        self.traffic = Traffic()
        self.lost = []
        self.clients = []
        self.health = Health.READY
        self.there = replace(wanted("i1"), placement=PLACED, tunnel_secret=SECRET)
        self.processes = {}
        self.hold = False
        self.got = []
        self.writers = []
        self.suspected = []

    async def __aenter__(self):
        self.engine = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        port = self.engine.sockets[0].getsockname()[1]
        one = process("i1", "p1", port=port, checked=0.0)
        self.processes = {one.token: one}
        self.door = Door(
            DoorParts(
                lambda: {self.there.instance: self.there},
                lambda: {
                    token: replace(each, health=self.health)
                    for token, each in self.processes.items()
                },
                lambda instance: f"{instance} has no device left.",
                self.suspected.append,
                self.traffic,
                self.clock,
            )
        )
        parts = ProxyParts(
            key=lambda: "proxy-key",
            processes=dict,
            going=lambda *_: False,
            suspect=lambda _: None,
            traffic=self.traffic,
            shelf=None,
            pool=Pool(self.clock),
            clock=self.clock,
            door=self.door,
        )
        self.proxy = Proxy(parts)
        await self.listen(0)
        self.tunnels = Tunnels(Ways(self.ports, self.clock, self.tasks, lambda: None, self._lost))
        return self

    async def listen(self, port) -> None:
        config = ServerConfig(port=port, error_reply=error_reply)
        self.server = await serve(self.proxy.handle, config, self.clock)

    async def __aexit__(self, *_):
        self.tunnels.close()
        self.door.close()
        await self.tasks.aclose()
        await self.server.stop(0.0)
        self.engine.close()
        for task in self.clients:
            task.cancel()
        for writer in self.writers:
            writer.close()
        await asyncio.gather(*self.clients, return_exceptions=True)
        ends = (writer.wait_closed() for writer in self.writers)
        await asyncio.gather(*ends, return_exceptions=True)

    def _lost(self, *what):
        self.lost.append(what)

    def led(self, **changes):
        peer = Peer("w2", "127.0.0.1", self.server.port)
        fields = {"peers": (peer,), "tunnel_secret": SECRET, "placement": PLACED, **changes}
        return replace(wanted("i1"), **fields)

    async def until(self, condition):
        async def wait():
            while not condition():
                await asyncio.sleep(0.01)

        await asyncio.wait_for(wait(), 20)

    async def open(self, **changes):
        """(reader, writer) as rank 0 has it, once the other side is ready."""
        led = self.led(**changes)
        self.tunnels.want([led], ())
        await self.until(lambda: not self.tunnels.held())
        ((worker, port),) = self.tunnels.ports_of(led)
        assert worker == "w2"
        return await self.connect(port)

    async def connect(self, port):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        self.writers.append(writer)
        return reader, writer

    async def _serve(self, reader, writer):
        self.clients.append(asyncio.current_task())
        try:
            while self.hold:
                await asyncio.sleep(0.01)
            while data := await reader.read(MIB):
                self.got.append(len(data))
                writer.write(data)
                await writer.drain()
            writer.write(b"goodbye")
        finally:
            writer.close()


@asynccontextmanager
async def pair(ports):
    async with Pair(ports) as made:
        yield made


@pytest.fixture(params=[asyncio.new_event_loop, new_event_loop], ids=["asyncio", "uvloop"])
def run(request):
    """Runs a check on the event loop of tests, and on that of real workers."""

    def work(ports, check):
        async def main():
            async with pair(ports) as made:
                await check(made)

        loop = request.param()
        try:
            loop.run_until_complete(main())
        finally:
            loop.close()

    return work


def test_bytes_go_both_ways_as_they_are(run, ports):
    async def check(both):
        reader, writer = await both.open()
        sent = bytes(range(256)) * (4 * MIB // 256)
        writer.write(sent)
        assert await reader.readexactly(len(sent)) == sent
        (token,) = both.processes
        assert both.traffic.count(token) == 1, "a polite stop waits for it"
        writer.close()

    run(ports, check)


def test_a_side_that_has_said_all_may_still_listen(run, ports):
    async def check(both):
        reader, writer = await both.open()
        writer.write(b"question")
        writer.write_eof()
        assert await reader.read() == b"questiongoodbye"
        (token,) = both.processes
        await both.until(lambda: not both.traffic.count(token))
        assert both.lost == [], "it ended because rank 0 wanted it to"
        assert both.suspected == []

    run(ports, check)


def test_a_slow_reader_slows_the_sender_down(run, ports):
    async def check(both):
        both.hold = True
        reader, writer = await both.open()
        sent = 0
        chunk = b"x" * MIB
        for _ in range(256):
            writer.write(chunk)
            sent += len(chunk)
            try:
                await asyncio.wait_for(writer.drain(), 0.5)
            except asyncio.TimeoutError:
                break
        assert sent < 64 * MIB, "nobody in between takes what nobody reads"
        both.hold = False
        assert len(await reader.readexactly(sent)) == sent
        writer.close()

    run(ports, check)


@pytest.mark.parametrize("given", ["", "wrong", "proxy-key"])
def test_a_wrong_secret_opens_nothing(run, ports, given):
    async def check(both):
        led = both.led(tunnel_secret=given)
        both.tunnels.want([led], ())
        await both.until(lambda: "secret" in both.tunnels.held()["i1"].message)
        ((_, port),) = both.tunnels.ports_of(led)
        reader, writer = await both.connect(port)
        writer.write(b"hello")
        with contextlib.suppress(ConnectionError):
            assert await reader.read() == b""
        assert both.got == []
        assert SECRET not in str(both.tunnels.held())

    run(ports, check)


def test_the_worker_that_leads_lets_nobody_in(run, ports):
    async def check(both):
        both.there = both.led()
        both.tunnels.want([both.led()], ())
        await both.until(lambda: "secret" in both.tunnels.held()["i1"].message)

    run(ports, check)


def test_a_name_nobody_knows_is_answered_like_a_wrong_secret(run, ports):
    async def check(both):
        answers = []
        for path in ("/tunnel/i1", "/tunnel/other", "/tunnel/", "/tunnel/i1/x"):
            reader, writer = await both.connect(both.server.port)
            writer.write(
                f"GET {path} HTTP/1.1\r\nhost: w\r\nconnection: upgrade\r\n"
                "upgrade: aims-tunnel\r\nauthorization: Bearer nothing\r\n\r\n".encode()
            )
            writer.write_eof()
            answer = await reader.readuntil(b"\r\n\r\n")
            answers.append(answer.split(b"\r\n")[0])
            writer.close()
        assert set(answers) == {b"HTTP/1.1 401 Unauthorized"}

    run(ports, check)


def test_a_process_that_is_not_ready_is_waited_for(run, ports):
    async def check(both):
        both.health = Health.SILENT
        led = both.led()
        both.tunnels.want([led], ())
        await both.until(lambda: "no device left" in both.tunnels.held()["i1"].message)
        assert both.tunnels.held()["i1"].code == "rank_waiting"
        both.health = Health.READY
        await both.until(lambda: not both.tunnels.held())

    run(ports, check)


def test_an_agent_that_has_gone_is_told_and_found_again(run, ports):
    async def check(both):
        reader, writer = await both.open()
        writer.write(b"x")
        await reader.readexactly(1)
        port = both.server.port
        both.door.close()
        await both.server.stop(0.0)
        await both.until(lambda: both.lost)
        assert both.lost == [("i1", "p1", "w2")]
        assert await reader.read() == b""
        both.tunnels.close()
        both.tunnels.want([both.led()], ())
        await both.until(lambda: "does not answer" in both.tunnels.held()["i1"].message)
        await both.listen(port)
        await both.until(lambda: not both.tunnels.held())

    run(ports, check)


def test_a_process_that_ends_is_lost_though_nobody_was_talking(run, ports):
    async def check(both):
        _, writer = await both.open()
        writer.write(b"x")
        await both.until(lambda: both.got)
        for task in both.clients:
            task.cancel()
        await both.until(lambda: both.lost)
        assert both.lost == [("i1", "p1", "w2")]
        (token,) = both.processes
        assert both.suspected == [token], "its own agent looks at it at once"

    run(ports, check)


@pytest.mark.parametrize("doubt", [{"checked": None}, {"misses": 1}])
def test_a_process_under_suspicion_is_not_ready(run, ports, doubt):
    async def check(both):
        (token,) = both.processes
        both.processes[token] = replace(both.processes[token], **doubt)
        both.tunnels.want([both.led()], ())
        await both.until(lambda: "no device left" in both.tunnels.held()["i1"].message)
        both.processes[token] = replace(both.processes[token], checked=1.0, misses=0)
        await both.until(lambda: not both.tunnels.held())

    run(ports, check)


def test_it_ends_with_the_placement_but_not_before_its_process(run, ports):
    async def check(both):
        reader, writer = await both.open()
        both.tunnels.want([], {("i1", "p1")})
        writer.write(b"still here")
        assert await reader.readexactly(10) == b"still here"
        both.tunnels.want([], ())
        assert await reader.read() == b""
        assert both.lost == [], "it was us"
        assert both.tunnels.held() == {}

    run(ports, check)


def test_a_process_whose_tunnels_went_with_an_agent_is_lost(run, ports):
    async def check(both):
        both.tunnels.want([both.led()], {("i1", "p1")})
        assert both.lost == [("i1", "p1", "w2")]
        both.tunnels.want([both.led()], {("i1", "p1")})
        assert len(both.lost) == 1, "said once"

    run(ports, check)


def test_connections_are_bounded(run, ports):
    async def check(both):
        pairs = [await both.open() for _ in range(CONNECTIONS_MAX)]
        for reader, writer in pairs:
            writer.write(b"x")
            await reader.readexactly(1)
        ((_, port),) = both.tunnels.ports_of(both.led())
        reader, _ = await both.connect(port)
        with contextlib.suppress(ConnectionError):
            assert await reader.read() == b""

    run(ports, check)


def test_ports_come_from_the_range_and_a_taken_one_is_passed_over(run, ports):
    async def check(both):
        first = both.ports[0]
        taken = await asyncio.start_server(lambda *_: None, "127.0.0.1", first)
        await both.open()
        ((_, port),) = both.tunnels.ports_of(both.led())
        assert first < port <= both.ports[1]
        taken.close()

    run(ports, check)


def test_no_port_left_is_said(run, ports):
    async def check(both):
        both.tunnels._ways = replace(both.tunnels._ways, ports=(ports[0], ports[0]))
        taken = await asyncio.start_server(lambda *_: None, "127.0.0.1", ports[0])
        both.tunnels.want([both.led()], ())
        await both.until(lambda: "rpc-server-port-range" in both.tunnels.held()["i1"].message)
        taken.close()
        await both.until(lambda: not both.tunnels.held())

    run(ports, check)


def test_what_is_sent_ahead_of_the_answer_is_refused(run, ports):
    async def check(both):
        reader, writer = await both.connect(both.server.port)
        head = (
            "GET /tunnel/i1 HTTP/1.1\r\nhost: w\r\nconnection: upgrade\r\nupgrade: aims-tunnel\r\n"
            f"authorization: Bearer {SECRET}\r\n\r\n"
        )
        writer.write(head.encode() + b"GET / HTTP/1.1\r\n")
        with contextlib.suppress(ConnectionError):
            assert b" 101 " not in await reader.read()
        assert both.got == []

    run(ports, check)
