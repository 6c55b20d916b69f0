"""A second machine joins, works, and is shut down with Ctrl-C: nobody notices but its owner."""

import json
import threading
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from e2e.system import System, eventually, running

MODEL = "smollm2"
WORDS = {"backend_parameters": ["--ctx-size=1024", "--parallel=2"]}


class Machine(System):
    """A worker without a server, joined to the one at `url`."""

    def __init__(self, data_dir: Path, url: str, token: str, name: str) -> None:
        super().__init__(data_dir)
        for flag in ("port", "bootstrap-password", "server-metrics-port"):
            del self.flags[flag]
        self.flags |= {
            "server-url": url,
            "token": token,
            "worker-name": name,
            "service-port-range": "20300-20363",
            "rpc-server-port-range": "20364-20395",
        }

    def is_ready(self) -> bool:
        assert self.process is not None
        assert self.process.poll() is None, f"it ended: {self.said()[-3000:]}"
        return "worker is ready" in self.said()


@pytest.fixture(scope="module")
def system(sample_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    with running(tmp_path_factory.mktemp("leaving") / "data") as found:
        yield found


@pytest.fixture(scope="module")
def there(
    system: System, sample_model: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Machine]:
    token = (system.data_dir / "token").read_text().strip()
    machine = Machine(tmp_path_factory.mktemp("there") / "data", system.url, token, "there")
    try:
        machine.start()
        system.deploy(MODEL, sample_model, **WORDS)
        eventually(lambda: files_ready(system) == 2, within_s=30, what="both have looked at it")
        scaled = {"spec": {"replicas": 2}}
        assert system.request("PATCH", f"/api/v1/deployments/{MODEL}", scaled)[0] == 200
        system.wait_ready(MODEL, count=2)
        yield machine
    finally:
        if machine.process is not None:
            machine.kill_everything()


def files_ready(system: System) -> int:
    """On how many workers the model has been found."""
    items = system.request("GET", "/api/v1/model-files")[1]["items"]
    seen = [each["status"]["observed"] for each in items]
    return sum(bool(each) and each["state"] == "ready" for each in seen)


def homes(system: System) -> list[str]:
    """Where the ready instances are."""
    return sorted(
        each["status"]["placement"]["ranks"][0]["worker"]
        for each in system.instances(MODEL)
        if each["status"]["phase"] == "ready"
    )


def phase(system: System, worker: str = "there") -> str:
    return str(system.get("workers", worker)["status"]["phase"])


class Clients:
    """People who ask all the time, one with short questions and two who listen to long answers."""

    def __init__(self, system: System) -> None:
        self._system = system
        self._enough = threading.Event()
        self.statuses: list[int] = []
        self.streams: list[list[str]] = [[], []]
        works = [self._ask, *(lambda lines=lines: self._listen(lines) for lines in self.streams)]
        self._threads = [threading.Thread(target=work) for work in works]

    def __enter__(self) -> "Clients":
        for each in self._threads:
            each.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._enough.set()
        for each in self._threads:
            each.join(60)

    def _ask(self) -> None:
        while not self._enough.is_set():
            self.statuses.append(self._system.chat(MODEL, "Say hi.", max_tokens=2)[0])

    def _listen(self, lines: list[str]) -> None:
        body = {
            "model": MODEL,
            "stream": True,
            "max_tokens": 40,
            "ignore_eos": True,
            "messages": [{"role": "user", "content": "Count from one to fifty in words."}],
        }
        call = urllib.request.Request(
            f"{self._system.url}/v1/chat/completions",
            data=json.dumps(body).encode(),
            headers={"content-type": "application/json"},
        )
        with urllib.request.urlopen(call, timeout=60) as answer:
            lines.extend(line.decode().strip() for line in answer if line.strip())


def test_a_worker_that_is_shut_down_loses_no_request_and_is_away_at_once(
    system: System, there: Machine
) -> None:
    assert homes(system) == ["here", "there"]
    engine = there.engines()
    assert len(engine) == 1
    with Clients(system) as clients:
        eventually(lambda: all(clients.streams), within_s=20, what="both answers have begun")
        assert there.stop(within_s=70) == 0
        # It has ended this moment; without a word it would be taken for ready for forty seconds.
        assert phase(system) == "left"
        assert not engine[0].is_running()
        asked = len(clients.statuses)
        eventually(lambda: len(clients.statuses) > asked + 3, within_s=20, what="more answers")
    assert set(clients.statuses) == {200}
    for lines in clients.streams:
        assert lines[-1] == "data: [DONE]", lines[-2:]
    eventually(
        lambda: homes(system) == ["here", "here"], within_s=30, what="its instance is elsewhere"
    )
    codes = [
        event["code"]
        for event in system.request("GET", "/api/v1/events?kind=worker&name=there")[1]["items"]
    ]
    assert "ended" in codes
    assert "lost" not in codes


def test_it_comes_back_as_itself(system: System, there: Machine) -> None:
    there.start()
    eventually(lambda: phase(system) == "ready", within_s=20, what="ready again")
    assert len(system.request("GET", "/api/v1/workers")[1]["items"]) == 2


def test_what_can_run_nowhere_else_says_that_its_worker_left(
    system: System, there: Machine, sample_model: Path
) -> None:
    name = "only-there"
    system.deploy(name, sample_model, worker_selector={"worker-name": "there"}, **WORDS)
    system.wait_ready(name)
    assert there.stop(within_s=70) == 0
    (instance,) = system.instances(name)
    told = instance["status"]
    assert (told["phase"], told["reason"]["code"]) == ("lost", "worker_left")
    assert "there was shut down" in system.chat(name, "Hi.")[1]["error"]["message"]
    there.start()
    system.wait_ready(name)
    assert [each["metadata"]["name"] for each in system.instances(name)] == [
        instance["metadata"]["name"]
    ]
