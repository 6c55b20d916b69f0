"""The product as a person runs it: real processes, started by the real command, on free ports."""

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil

PASSWORD = "correct horse battery staple"
ROLES = {
    "control": "aimindserve.boot.control",
    "gateway": "aimindserve.boot.gateway",
    "worker": "aimindserve.boot.worker",
}
ENGINE = "_llama_cpp_engine"


def free_ports(count: int) -> list[int]:
    """Ports that nothing listens on right now."""
    sockets = [socket.socket() for _ in range(count)]
    try:
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in sockets]
    finally:
        for one in sockets:
            one.close()


def eventually(check: Callable[[], Any], *, within_s: float, what: str) -> Any:
    """The first true result of `check`; fails with `what` when there is none in time."""
    deadline = time.monotonic() + within_s
    last: BaseException | None = None
    while time.monotonic() < deadline:
        try:
            if found := check():
                return found
        except (OSError, AssertionError, KeyError, psutil.Error) as error:
            last = error
        time.sleep(0.1)
    raise AssertionError(f"not within {within_s} s: {what} (last: {last!r})")


def command_line(process: psutil.Process) -> str:
    """The words of a process's command, or nothing when it has gone."""
    try:
        return " ".join(process.cmdline())
    except psutil.Error:
        return ""


class System:
    """One running `aimindserve start` on its own data directory."""

    def __init__(self, data_dir: Path, *, scheme: str = "http", **flags: str) -> None:
        self.data_dir = data_dir
        self.port, worker, metrics, server_metrics = free_ports(4)
        self.url = f"{scheme}://127.0.0.1:{self.port}"
        self.flags = {
            "data-dir": str(data_dir),
            "port": str(self.port),
            "worker-port": str(worker),
            "metrics-port": str(metrics),
            "server-metrics-port": str(server_metrics),
            # Below the ports that the system hands out, so that nobody else gets one of them.
            "service-port-range": "20200-20263",
            "rpc-server-port-range": "20264-20295",
            "bootstrap-password": PASSWORD,
            "worker-name": "here",
            **flags,
        }
        self.process: subprocess.Popen[bytes] | None = None
        self.output = data_dir.parent / f"{data_dir.name}.out"

    def command(self) -> list[str]:
        """The command line that starts it."""
        words = [
            word for name, value in self.flags.items() for word in (f"--{name}", value) if word
        ]
        return [sys.executable, "-m", "aimindserve", "start", *words]

    def start(self, *, within_s: float = 60.0) -> None:
        """Start it and wait until it says that it is ready."""
        with self.output.open("ab") as out:
            self.process = subprocess.Popen(self.command(), stdout=out, stderr=out, env=clean_env())
        try:
            eventually(self.is_ready, within_s=within_s, what="ready")
        except AssertionError as error:
            raise AssertionError(f"{error}; it said: {self.said()[-3000:]}") from None

    def is_ready(self) -> bool:
        assert self.process is not None
        assert self.process.poll() is None, f"it ended: {self.said()[-3000:]}"
        return self.request("GET", "/readyz")[0] == 200

    def said(self) -> str:
        """What the supervisor printed."""
        return self.output.read_text(errors="replace") if self.output.exists() else ""

    def stop(self, *, within_s: float = 40.0) -> int:
        """Stop it as Ctrl-C does and return its exit code."""
        assert self.process is not None
        self.process.send_signal(signal.SIGINT)
        return self.process.wait(within_s)

    def kill_everything(self) -> None:
        """As a power cut, as far as one can without cutting power."""
        for process in [*self.processes(), *self.engines()]:
            with contextlib.suppress(psutil.Error):
                process.kill()
        if self.process is not None:
            self.process.kill()
            self.process.wait(10)

    def processes(self) -> list[psutil.Process]:
        """Every process of ours that names this data directory or descends from the supervisor."""
        assert self.process is not None
        with contextlib.suppress(psutil.NoSuchProcess):
            return psutil.Process(self.process.pid).children(recursive=True)
        return []

    def role(self, name: str) -> psutil.Process:
        """The process of a part: control, gateway, worker."""
        found = [one for one in self.processes() if ROLES[name] in command_line(one)]
        assert found, f"no {name} among {[command_line(one) for one in self.processes()]}"
        return found[0]

    def engines(self) -> list[psutil.Process]:
        """Engines on this machine that were started from this data directory."""
        return [
            one
            for one in psutil.process_iter()
            if ENGINE in (line := command_line(one)) and str(self.data_dir) in line
        ]

    def request(
        self, method: str, path: str, body: Any = None, *, timeout_s: float = 60.0, **headers: str
    ) -> tuple[int, Any]:
        """(status, decoded JSON or text); refused connections raise OSError."""
        data = None if body is None else json.dumps(body).encode()
        words = {name.replace("_", "-"): value for name, value in headers.items()}
        if data is not None:
            words.setdefault("content-type", "application/json")
        call = urllib.request.Request(self.url + path, data=data, method=method, headers=words)
        try:
            with urllib.request.urlopen(call, timeout=timeout_s) as answer:
                status, raw = answer.status, answer.read()
        except urllib.error.HTTPError as error:
            with error:
                status, raw = error.code, error.read()
        try:
            return status, json.loads(raw)
        except ValueError:
            return status, raw.decode(errors="replace")

    def get(self, kind: str, name: str) -> dict[str, Any]:
        status, found = self.request("GET", f"/api/v1/{kind}/{name}")
        assert status == 200, found
        return found

    def deploy(self, name: str, path: Path | str, **spec: Any) -> None:
        """Create a deployment of a local file."""
        body = {
            "metadata": {"name": name},
            "spec": {"model": {"source": "local", "path": str(path)}, **spec},
        }
        status, answer = self.request("POST", "/api/v1/deployments", body)
        assert status == 201, answer

    def instances(self, deployment: str) -> list[dict[str, Any]]:
        status, answer = self.request("GET", "/api/v1/instances?per_page=100")
        assert status == 200, answer
        return [item for item in answer["items"] if item["spec"]["deployment"] == deployment]

    def wait_ready(self, deployment: str, *, count: int = 1, within_s: float = 60.0) -> None:
        """Until so many instances of it are ready and the gateway would send requests there."""

        def ready() -> bool:
            phases = [item["status"]["phase"] for item in self.instances(deployment)]
            assert phases.count("ready") >= count, self.instances(deployment)
            return self.chat(deployment, "Say hi.", max_tokens=2)[0] == 200

        eventually(ready, within_s=within_s, what=f"{count} of {deployment} ready")

    def chat(
        self, model: str, text: str, *, max_tokens: int = 16, **headers: str
    ) -> tuple[int, Any]:
        """One answer, not streamed."""
        body = {
            "model": model,
            "max_tokens": max_tokens,
            "temperature": 0,
            "messages": [{"role": "user", "content": text}],
        }
        return self.request("POST", "/v1/chat/completions", body, **headers)

    def cli(self, *words: str, timeout_s: float = 90.0) -> subprocess.CompletedProcess[str]:
        """One client command against this server."""
        return run_command(*words, "--server", self.url, timeout_s=timeout_s)


def run_command(
    *words: str, timeout_s: float = 90.0, env: dict[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """One command line, as a process; `env` comes on top of a clean environment."""
    return subprocess.run(
        [sys.executable, "-m", "aimindserve", *words],
        capture_output=True,
        text=True,
        timeout=timeout_s,
        env={**clean_env(), **(env or {})},
        check=False,
    )


def clean_env() -> dict[str, str]:
    """The environment without settings of whoever runs the tests."""
    return {name: value for name, value in os.environ.items() if not name.startswith("GPUSTACK_")}


@contextlib.contextmanager
def running(data_dir: Path, *, scheme: str = "http", **flags: str) -> Iterator[System]:
    """A system that is gone, whatever happens, when the block ends."""
    system = System(data_dir, scheme=scheme, **flags)
    try:
        system.start()
        yield system
    finally:
        if system.process is not None:
            if system.process.poll() is None:
                with contextlib.suppress(subprocess.TimeoutExpired):
                    system.stop()
            system.kill_everything()
