"""What it costs that agents carry what llama.cpp's processes say to each other.

    PYTHONPATH=src:tests python tests/bench/tunnel.py [MODEL.gguf] [--rounds 3]

The same two RPC servers on this machine, reached directly and through a tunnel each: the lead's
half and the door's half are processes of their own, as agents are, on the event loop of agents.
Prints the round trip of one byte and the rate of 256 MiB through an echo, then, where llama.cpp's
programs are (`AIMS_TEST_LLAMA_CPP`, or what tests/bench/oracle/build.py has built), seconds to load
the model and tokens per second, direct and tunnelled in turn, and their ratios. All on one machine:
a real network adds its own latency to both alike.
"""

import argparse
import asyncio
import contextlib
import json
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from dataclasses import replace
from pathlib import Path

from aimindserve.core.launch import Peer
from aimindserve.core.placement import Placement, Rank
from aimindserve.kit.clock import SystemClock
from aimindserve.kit.tasks import TaskSupervisor
from aimindserve.sources import pypi
from aimindserve.wire.loop import run
from aimindserve.wire.server import ServerConfig, serve
from aimindserve.worker.observed import Health
from aimindserve.worker.traffic import Traffic
from aimindserve.worker.tunnel_door import Door, DoorParts
from aimindserve.worker.tunnels import Tunnels, Ways
from bench.oracle.build import place
from unit.worker.world import process, wanted

PROGRAMS = Path(os.environ.get("AIMS_TEST_LLAMA_CPP") or place())
SECRET = "a-secret-for-a-bench"
HOST = "127.0.0.1"
MIB = 1024**2
TRIPS, TOKENS = 2000, 48
PLACED = Placement("p1", "several workers", (Rank("w1"), Rank("w2")))


async def door(port: int, engine: int) -> None:
    """The half of the worker that lends devices."""
    one = process("i1", "p1", port=engine, health=Health.READY, checked=0.0)
    there = replace(wanted("i1"), placement=PLACED, tunnel_secret=SECRET)
    parts = DoorParts(
        lambda: {"i1": there},
        lambda: {one.token: one},
        str,
        lambda _: None,
        Traffic(),
        SystemClock(),
    )
    made = Door(parts)
    await serve(made.handle, ServerConfig(port=port), SystemClock())
    await asyncio.Event().wait()


async def lead(port: int, door_port: int) -> None:
    """The half of the worker that leads."""
    clock = SystemClock()
    ways = Ways((port, port), clock, TaskSupervisor(clock), lambda: None, lambda *_: None)
    tunnels = Tunnels(ways)
    peer = Peer("w2", HOST, door_port)
    tunnels.want([replace(wanted("i1"), placement=PLACED, peers=(peer,), tunnel_secret=SECRET)], ())
    await asyncio.Event().wait()


async def echo(port: int) -> None:
    async def again(reader, writer):
        while data := await reader.read(MIB):
            writer.write(data)
            await writer.drain()

    await asyncio.start_server(again, HOST, port)
    await asyncio.Event().wait()


ROLES = {"door": door, "lead": lead, "echo": echo}


@contextlib.contextmanager
def started(*commands):
    """Processes that are gone afterwards."""
    running = [
        subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        for command in commands
    ]
    try:
        yield
    finally:
        for each in running:
            each.kill()
            each.wait()


def role(name: str, *numbers: int) -> list[str]:
    return [sys.executable, __file__, "--role", name, *map(str, numbers)]


def free_ports(count: int) -> list[int]:
    with contextlib.ExitStack() as opened:
        sockets = [opened.enter_context(socket.socket()) for _ in range(count)]
        for each in sockets:
            each.bind((HOST, 0))
        return [each.getsockname()[1] for each in sockets]


def wait_for(port: int, *, answers: bytes = b"") -> None:
    """Until it takes connections; through a tunnel, until what is behind it says `answers`."""
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        with contextlib.suppress(OSError), socket.create_connection((HOST, port), 2) as one:
            if not answers:
                return
            one.sendall(answers)
            if one.recv(len(answers)) == answers:
                return
        time.sleep(0.05)
    raise SystemExit(f"nothing listens on {port}")


def raw(port: int) -> tuple[float, float]:
    """(microseconds for one byte there and back, MiB/s there and back)."""
    with socket.create_connection((HOST, port)) as one:
        one.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        times = []
        for _ in range(TRIPS):
            began = time.perf_counter()
            one.sendall(b"x")
            one.recv(1)
            times.append(time.perf_counter() - began)
        chunk = bytes(MIB)
        left, began = 256, time.perf_counter()
        for _ in range(left):
            one.sendall(chunk)
            taken = 0
            while taken < MIB:
                taken += len(one.recv(MIB))
        return statistics.median(times) * 1e6, left / (time.perf_counter() - began)


def served(model: str, ports: list[int]) -> tuple[float, float]:
    """(seconds until it has loaded, tokens per second) with RPC servers behind `ports`."""
    (port,) = free_ports(1)
    servers = ",".join(f"{HOST}:{each}" for each in ports)
    command = [
        *(PROGRAMS / "llama-server", "--model", model, "--host", HOST, "--port", str(port)),
        *("--rpc", servers, "--device", "RPC0,RPC1", "--n-gpu-layers", "99"),
        *("--ctx-size", "2048", "--parallel", "1", "--fit", "off", "--threads", "1"),
    ]
    began = time.perf_counter()
    with started(command):
        while True:
            with (
                contextlib.suppress(OSError),
                urllib.request.urlopen(f"http://{HOST}:{port}/health"),
            ):
                break
            time.sleep(0.02)
        loaded = time.perf_counter() - began
        body = {"prompt": "Once upon a time", "n_predict": TOKENS, "temperature": 0}
        call = urllib.request.Request(
            f"http://{HOST}:{port}/completion",
            json.dumps({**body, "ignore_eos": True}).encode(),
            {"content-type": "application/json"},
        )
        with urllib.request.urlopen(call) as answer:
            return loaded, json.load(answer)["timings"]["predicted_per_second"]


def compare(what: str, unit: str, direct: list[float], tunnelled: list[float]) -> None:
    one, two = statistics.median(direct), statistics.median(tunnelled)
    print(
        f"{what:22}{one:10.2f} {unit} direct {two:10.2f} {unit} tunnelled   ratio {two / one:.2f}"
    )


def main() -> None:
    given = argparse.ArgumentParser()
    given.add_argument("model", nargs="?")
    given.add_argument("--rounds", type=int, default=3)
    given.add_argument("--role", nargs="+")
    words = given.parse_args()
    if words.role:
        run(ROLES[words.role[0]](*map(int, words.role[1:])))
        return
    behind, outer, inner = free_ports(3)
    with started(role("echo", behind), role("door", outer, behind), role("lead", inner, outer)):
        wait_for(behind)
        wait_for(inner, answers=b"x")
        rounds = [(raw(behind), raw(inner)) for _ in range(words.rounds)]
    for at, (what, unit) in enumerate((("one byte and back", "us"), ("256 MiB and back", "MiB/s"))):
        compare(what, unit, [each[0][at] for each in rounds], [each[1][at] for each in rounds])
    if not (PROGRAMS / "ggml-rpc-server").exists():
        print("llama.cpp with RPC is not built: tests/bench/oracle/build.py")
        return
    with tempfile.TemporaryDirectory() as folder:
        model = words.model or asyncio.run(pypi.PLUGIN.fetch(pypi.SAMPLE, folder, _quiet))
        carried(model, words.rounds)


def carried(model: str, rounds: int) -> None:
    engines, outer, inner = free_ports(2), free_ports(2), free_ports(2)
    commands = [
        [PROGRAMS / "ggml-rpc-server", "-H", HOST, "-p", str(port), "-d", "CPU", "-t", "1"]
        for port in engines
    ]
    commands += [role("door", *each) for each in zip(outer, engines, strict=True)]
    commands += [role("lead", *each) for each in zip(inner, outer, strict=True)]
    with started(*commands):
        for port in (*engines, *outer, *inner):
            wait_for(port)
        found = [(served(model, engines), served(model, inner)) for _ in range(rounds)]
    for at, (what, unit) in enumerate(
        (("loading the model", "s"), ("writing an answer", "tokens/s"))
    ):
        compare(what, unit, [each[0][at] for each in found], [each[1][at] for each in found])


async def _quiet(_done: int, _total: int) -> None:
    return


if __name__ == "__main__":
    main()
