"""What somebody sees who has just got the program: the quick start, twice, and the demo."""

import contextlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from pathlib import Path

import psutil
import pytest

from aimindserve.sources import pypi
from e2e.system import clean_env, eventually, free_ports


class Command:
    """A command in the foreground, as in a terminal."""

    def __init__(self, folder: Path, *words: str) -> None:
        self.output = folder / "said"
        command = [sys.executable, "-m", "aimindserve", *words]
        with self.output.open("wb") as out:
            self.process = subprocess.Popen(command, stdout=out, stderr=out, env=clean_env())

    def __enter__(self) -> "Command":
        return self

    def __exit__(self, *_: object) -> None:
        """Nothing outlives a test that failed."""
        if self.process.poll() is None:
            below = psutil.Process(self.process.pid).children(recursive=True)
            for one in [self.process, *below]:
                with contextlib.suppress(psutil.Error):
                    one.kill()
            self.process.wait(10)

    def said(self) -> str:
        return self.output.read_text(errors="replace")

    def wait_for(self, text: str, *, within_s: float = 90.0) -> str:
        def there() -> bool:
            assert self.process.poll() is None, self.said()
            return text in self.said()

        eventually(there, within_s=within_s, what=f"{text!r} in {self.said()}")
        return self.said()

    def interrupt(self) -> tuple[int, list[psutil.Process]]:
        """Ctrl-C; the exit code, and what of it still lives."""
        below = psutil.Process(self.process.pid).children(recursive=True)
        self.process.send_signal(signal.SIGINT)
        code = self.process.wait(60)
        return code, [one for one in below if one.is_running()]


def ports() -> list[str]:
    names = ("port", "worker-port", "metrics-port", "server-metrics-port")
    chosen = dict(zip(names, map(str, free_ports(len(names))), strict=True))
    # Ranges where no free port is ever handed out, so that none of ours can lie in them.
    chosen |= {"service-port-range": "20100-20163", "rpc-server-port-range": "20164-20195"}
    return [word for name, value in chosen.items() for word in (f"--{name}", value)]


@pytest.mark.timeout(300)
def test_the_quick_start_answers_and_comes_back_as_it_was(tmp_path, sample_model):
    data = tmp_path / "data"
    put_sample(sample_model, data)
    words = ("quickstart", "--data-dir", str(data), "--host", "127.0.0.1", *ports())

    with Command(tmp_path, *words) as first:
        said = first.wait_for("Serving; Ctrl-C stops everything.")
        answer = said.partition("> Why is the sky blue? Answer in one sentence.")[2]
        assert len(answer.partition("Address  ")[0].split()) > 3, said
        assert "--token" not in said, "no machine can join one that listens on its own alone"
        assert "initial_admin_password" in said
        key = re.search(r"sk-aims_\S+", said)
        assert key is not None
        url = re.search(r"OpenAI base URL +(\S+)", said)
        assert url is not None
        assert models(url.group(1), key.group()) == ["smollm2"]
        assert first.interrupt() == (0, [])
    assert not list((data / "worker").rglob("engine.json")), "it holds the engine's key"

    with Command(tmp_path, *words) as again:
        said = again.wait_for("Serving; Ctrl-C stops everything.")
        assert "fetching" not in said
        assert "deploying" not in said
        assert "sk-aims_" not in said
        assert again.interrupt() == (0, [])


@pytest.mark.timeout(200)
def test_a_quick_start_that_is_stopped_half_way_ends_well_and_goes_on_next_time(
    tmp_path, sample_model
):
    data = tmp_path / "data"
    put_sample(sample_model, data)
    words = ("quickstart", "--data-dir", str(data), "--host", "127.0.0.1", *ports())
    for stage in ("worker is ready", "starting on"):
        with Command(tmp_path, *words) as stopped:
            stopped.wait_for(stage)
            assert stopped.interrupt() == (0, [])
            assert "Traceback" not in stopped.said()
            assert "failed" not in stopped.said()
    with Command(tmp_path, *words) as again:
        again.wait_for("Serving; Ctrl-C stops everything.")
        assert again.interrupt() == (0, [])


def put_sample(sample_model: Path, data: Path) -> None:
    """Where the quick start keeps what it has fetched."""
    place = data / "cache" / "pypi" / f"{pypi.SAMPLE.repo}-{pypi.SAMPLE.revision}"
    place.mkdir(parents=True)
    try:
        os.link(sample_model, place / str(pypi.SAMPLE.file))
    except OSError:
        shutil.copy(sample_model, place)


def models(base_url: str, key: str) -> list[str]:
    request = urllib.request.Request(
        f"{base_url}/models", headers={"authorization": f"Bearer {key}"}
    )
    with urllib.request.urlopen(request, timeout=10) as answered:
        return [model["id"] for model in json.load(answered)["data"]]


@pytest.mark.timeout(120)
def test_the_demo_shows_a_cluster_and_leaves_nothing(tmp_path):
    [port] = free_ports(1)
    words = ("demo", "--workers", "5", "--port", str(port), "--seed", "3")
    with Command(tmp_path, *words) as demo:
        demo.wait_for("aiMindServe is ready")

        def joined() -> bool:
            url = f"http://127.0.0.1:{port}/api/v1/workers"
            with urllib.request.urlopen(url, timeout=5) as answer:
                items = json.load(answer)["items"]
            return [item["status"]["phase"] for item in items] == ["ready"] * 5

        eventually(joined, within_s=30, what="five workers")

        def answered() -> dict | None:
            body = {
                "model": "smollm2-edge",
                "messages": [{"role": "user", "content": "Hello lighthouse"}],
            }
            request = urllib.request.Request(
                f"http://127.0.0.1:{port}/v1/chat/completions",
                data=json.dumps(body).encode(),
                headers={"content-type": "application/json"},
            )
            try:
                with urllib.request.urlopen(request, timeout=20) as answer:
                    return json.load(answer)
            except urllib.error.HTTPError as error:
                error.close()  # not ready yet; whoever keeps it open keeps its socket
                return None

        told = eventually(answered, within_s=60, what="a simulated engine answers")
        assert told["model"] == "smollm2-edge"
        assert "Hello lighthouse" in told["choices"][0]["message"]["content"]
        with urllib.request.urlopen(
            f"http://127.0.0.1:{port}/api/v1/events?kind=worker", timeout=5
        ) as answer:
            codes = {each["code"] for each in json.load(answer)["items"]}
        assert "joined" in codes
        folder = re.search(r"password in (\S+)/initial_admin_password", demo.said())
        assert folder is not None
        assert demo.interrupt() == (0, [])
        assert not Path(folder.group(1)).exists()
