"""A model over several workers with llama.cpp's own programs: `AIMS_TEST_LLAMA_CPP` names their
directory, else what `python tests/bench/oracle/build.py` has built is taken.

Three workers on this machine, whose devices are pretended: one has the model, and a device too
small to hold any of it; two have no model, and devices of which each holds two thirds of it.
Processors compute at both ends; all the rest is as on real devices.
"""

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from aimindserve.backends.llama_cpp import PLUGIN
from aimindserve.core.facts import Options
from aimindserve.worker import gguf_model
from bench.oracle.build import place
from e2e.system import System, clean_env, eventually, free_ports

MIB = 1024**2
PROGRAMS = Path(os.environ.get("AIMS_TEST_LLAMA_CPP") or place())
WORDS = ("--ctx-size=2048", "--parallel=1", "--no-warmup")
QUESTION = "Count from one to ten."
pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(900),
    pytest.mark.skipif(
        not (PROGRAMS / "ggml-rpc-server").exists(),
        reason="no llama.cpp with RPC: AIMS_TEST_LLAMA_CPP, or tests/bench/oracle/build.py",
    ),
]


class Server(System):
    """A server without a worker of its own."""

    def command(self) -> list[str]:
        return [*super().command(), "--disable-worker"]


class Worker:
    """A worker in a process of its own, with devices that are pretended."""

    def __init__(self, root: Path, system: System, name: str, devices, *, files: bool) -> None:
        self.root = root / name
        self.root.mkdir()
        self.name = name
        (port,) = free_ports(1)
        first = 20400 + 40 * len(list(root.iterdir()))
        self.given = {
            "dir": str(self.root),
            "url": system.url,
            "token": (system.data_dir / "token").read_text().strip(),
            "name": name,
            "port": port,
            "ports": [first, first + 19],
            "tunnel_ports": [first + 20, first + 29],
            "devices": devices,
            "files": files,
            "backend_paths": [f"llama.cpp-rpc={PROGRAMS}"],
        }
        self.process = None

    def start(self) -> None:
        config = self.root / "config.json"
        config.write_text(json.dumps(self.given))
        with (self.root / "out").open("ab") as out:
            self.process = subprocess.Popen(
                [sys.executable, str(Path(__file__).with_name("pretended_worker.py")), str(config)],
                env=clean_env(),
                stdout=out,
                stderr=out,
            )

    def said(self) -> str:
        return (self.root / "out").read_text(errors="replace")

    def engines(self) -> list[psutil.Process]:
        """Processes of engines that this worker has started."""
        found = []
        for one in psutil.process_iter():
            with contextlib.suppress(psutil.Error):
                if one.environ().get("HOME", "").startswith(str(self.root)):
                    found.append(one)
        return found

    def engine_log(self) -> str:
        logs = sorted((self.root / "log" / "serve").rglob("*"), key=str)
        return "\n".join(each.read_text(errors="replace") for each in logs if each.is_file())

    def stop(self) -> None:
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.process.wait(30)
            self.process.kill()
        for one in self.engines():
            with contextlib.suppress(psutil.Error):
                one.kill()


def two_thirds(model: Path) -> int:
    """What a device must have that holds two thirds of the layers."""
    facts = gguf_model.facts(gguf_model.listing(str(model)))
    shapes = PLUGIN.shapes(facts, Options(parameters=WORDS, distributed=True))
    layers = next(each.layers for each in shapes if each.layers and each.layers.remote_max)
    held = sum(each.total for each in layers.device)
    return layers.overhead.total + layers.overhead_last.total + held * 2 // 3


@pytest.fixture(scope="module")
def cluster(sample_model, tmp_path_factory):
    """(system, the worker with the model, the two others)."""
    root = tmp_path_factory.mktemp("spread")
    system = Server(root / "server")
    (root / "workers").mkdir()
    workers = []
    try:
        system.start()
        size = two_thirds(sample_model)
        for name, devices, files in (
            ("lead", [64 * MIB], True), ("far-a", [size], False), ("far-b", [size], False),
        ):  # fmt: skip
            workers.append(Worker(root / "workers", system, name, devices, files=files))
            workers[-1].start()
        for each in workers:
            eventually(
                lambda name=each.name: system.get("workers", name)["status"]["ready"],
                within_s=30,
                what=f"{each.name} has joined: {each.said()[-2000:]}",
            )
        yield system, *workers
    finally:
        for each in workers:
            each.stop()
        if system.process is not None:
            system.stop()
            system.kill_everything()


def placed(system: System) -> dict:
    (instance,) = system.instances("spread")
    return instance["status"]


def answer(system: System, name: str) -> str:
    asked = {
        "model": name,
        "max_tokens": 12,
        "temperature": 0,
        "messages": [{"role": "user", "content": QUESTION}],
    }
    # A processor that is busy with other things computes a token in seconds.
    status, body = system.request("POST", "/v1/chat/completions", asked, timeout_s=200)
    assert status == 200, body
    return body["choices"][0]["message"]["content"]


def test_it_would_go_over_several_workers_and_says_so(cluster, sample_model):
    system, *_ = cluster
    spec = {
        "model": {"source": "local", "path": str(sample_model)},
        "backend_parameters": list(WORDS),
        "cpu_offloading": False,
    }

    def verdict(**more):
        body = {"items": [{"name": "spread", "spec": {**spec, **more}}]}
        status, found = system.request("POST", "/api/v1/fit", body)
        assert status == 200, found
        return found["items"][0]

    eventually(
        lambda: verdict(distributed_inference_across_workers=True)["verdict"] == "distributed",
        within_s=30,
        what="the model has been looked at",
    )
    refused = verdict()
    assert refused["verdict"] == "no"
    assert "distributed" in [each["kind"] for each in refused["alternatives"]]
    told = verdict(distributed_inference_across_workers=True)
    assert not [each for each in told["warnings"] if each["code"] == "across_not_started"]


def test_it_is_started_on_all_of_them_and_answers_as_on_one(cluster, sample_model):
    system, lead, *others = cluster
    options = {"distributed_inference_across_workers": True, "cpu_offloading": False}
    system.deploy("spread", sample_model, backend_parameters=list(WORDS), **options)
    system.wait_ready("spread", within_s=90)
    ranks = placed(system)["placement"]["ranks"]
    assert [rank["worker"] for rank in ranks] == ["lead", "far-a", "far-b"]
    assert [len(rank["claims"]) for rank in ranks] == [0, 1, 1]
    (server,) = lead.engines()
    assert "llama-server" in " ".join(server.cmdline())
    for each in others:
        (process,) = each.engines()
        assert "ggml-rpc-server" in " ".join(process.cmdline())
    system.deploy("alone", sample_model, backend_parameters=[*WORDS, "--threads=1"])
    system.wait_ready("alone", within_s=90)
    assert answer(system, "spread") == answer(system, "alone")
    assert system.request("DELETE", "/api/v1/deployments/alone")[0] in {200, 202, 204}
    eventually(lambda: lead.engines() == [server], within_s=60, what="the other one has gone")


def test_layers_lie_where_they_were_placed_and_take_what_was_claimed(cluster):
    system, lead, *_ = cluster
    log = lead.engine_log()
    ranks = placed(system)["placement"]["ranks"]
    ports = re.findall(r"using device RPC\d+ \([^)]*?(127\.0\.0\.1:\d+)", log)[:2]
    assert len(ports) == 2, log[-3000:]
    for rank, port in zip(ranks[1:], ports, strict=True):
        parts = rank["claims"][0]["parts"]
        for said, claimed in (("model", "weights"), ("KV", "kv_cache"), ("compute", "compute")):
            sizes = re.findall(rf"RPC\d\[{port}\]\s+{said} buffer size = +([\d.]+) MiB", log)
            assert sizes, (port, said)
            real = float(sizes[0])
            assert real - 0.01 <= parts[claimed] / MIB, (said, parts)
            if claimed != "compute":
                assert parts[claimed] / MIB <= 1.02 * real + 0.1, (said, parts)


def test_nothing_listens_but_on_loopback_and_no_secret_is_shown(cluster):
    _, lead, *others = cluster
    for each in (lead, *others):
        for process in each.engines():
            listening = [one for one in process.net_connections() if one.status == "LISTEN"]
            assert {one.laddr.ip for one in listening} == {"127.0.0.1"}
    (server,) = lead.engines()
    words = server.cmdline()
    key = Path(words[words.index("--api-key-file") + 1]).read_text().strip()
    assert len(key) > 30
    assert key not in " ".join(words)
    assert key not in lead.said() + lead.engine_log()


def test_a_process_that_is_killed_takes_all_down_and_all_come_back(cluster):
    system, lead, far, _ = cluster
    before = answer(system, "spread")
    (server,) = lead.engines()
    (process,) = far.engines()
    process.kill()
    eventually(lambda: not server.is_running(), within_s=20, what="the first rank has ended")

    def back() -> bool:
        seen = placed(system)["observed"]
        return seen["state"] == "ready" and seen["restarts"] >= 1

    eventually(back, within_s=60, what=f"ready again: {lead.said()[-2000:]}")
    assert placed(system)["observed"]["ended"]["code"] == "rank_lost"
    assert placed(system)["observed"]["ended"]["params"]["peer"] == "far-a"
    system.wait_ready("spread", within_s=60)  # also in the gateway's table
    assert answer(system, "spread") == before


def test_a_worker_that_leaves_takes_it_down_and_brings_it_back(cluster):
    system, _, _, far = cluster
    before = answer(system, "spread")
    far.process.send_signal(signal.SIGTERM)
    assert far.process.wait(30) == 0
    assert not far.engines()
    eventually(
        lambda: system.chat("spread", "Hi", max_tokens=1)[0] == 503,
        within_s=20,
        what="nobody is sent there",
    )
    far.start()
    system.wait_ready("spread", within_s=90)
    assert answer(system, "spread") == before


def test_an_agent_that_is_killed_takes_its_tunnels_along_and_the_next_one_starts_anew(cluster):
    system, lead, *_ = cluster
    before = answer(system, "spread")
    (server,) = lead.engines()
    lead.process.kill()
    lead.process.wait()
    assert server.is_running(), "engines outlive their agent"
    lead.start()
    eventually(lambda: not server.is_running(), within_s=40, what="it could reach nobody")
    system.wait_ready("spread", within_s=90)
    assert answer(system, "spread") == before


def test_it_goes_and_leaves_nothing(cluster):
    system, *workers = cluster
    status, _ = system.request("DELETE", "/api/v1/deployments/spread")
    assert status in {200, 202, 204}
    for each in workers:
        eventually(lambda each=each: not each.engines(), within_s=60, what=f"{each.name} is empty")
    eventually(lambda: not system.instances("spread"), within_s=30, what="the instance is gone")
    ports = [tuple(each.given["tunnel_ports"]) for each in workers]

    def quiet() -> bool:
        open_ports = {
            one.laddr.port
            for each in workers
            for one in psutil.Process(each.process.pid).net_connections()
            if one.status == "LISTEN"
        }
        return not any(first <= port <= last for first, last in ports for port in open_ports)

    eventually(quiet, within_s=20, what="no tunnel is left")
