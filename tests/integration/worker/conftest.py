import contextlib
import hashlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from unit.worker.world import header_only_gguf

HERE = Path(__file__).parent
SRC = HERE.parents[2] / "src"
PORTS = 6


@pytest.fixture
def model(tmp_path):
    return header_only_gguf(tmp_path / "model.gguf")


@pytest.fixture(scope="session")
def port_ranges():
    """Ranges of ports that nobody uses, a new one for every test: other ones in each process that
    runs tests, and none that systems give to connections (from 32768 on Linux)."""
    beside = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))

    def search():
        first = 20000 + beside % 8 * 1500
        end = first + 1500
        while first < end:
            if all(_free(port) for port in range(first, first + PORTS)):
                yield first, first + PORTS - 1
            first += PORTS

    return search()


@pytest.fixture
def ports(port_ranges):
    return next(port_ranges)


def _free(port):
    with socket.socket() as trial, contextlib.suppress(OSError):
        trial.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        trial.bind(("127.0.0.1", port))
        return True
    return False


class AgentProcess:
    """Agents in processes of their own on one data directory."""

    def __init__(self, root: Path, ports) -> None:
        self.root = root
        self.ports = ports
        self.process = None
        real_root = (root / "data" / "worker").resolve()
        self.mark = hashlib.sha256(str(real_root).encode()).hexdigest()[:16]

    def start(self, url: str, **more) -> None:
        given = {"dir": str(self.root), "url": url, "token": "join-token", "ports": self.ports}
        config = self.root / "agent.json"
        config.write_text(json.dumps({**given, **more}))
        with (self.root / "agent.log").open("ab") as output:
            self.process = subprocess.Popen(
                [sys.executable, str(HERE / "agent_process.py"), str(config)],
                env={"PYTHONPATH": str(SRC), "PATH": "/usr/bin:/bin", "HOME": str(self.root)},
                stdout=output,
                stderr=subprocess.STDOUT,
            )

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()

    def end(self, limit_s=20.0) -> int:
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(limit_s)

    def engines(self):
        """Every living process with this agent's mark."""
        found = []
        for process in psutil.process_iter():
            with contextlib.suppress(psutil.Error):
                if process.environ().get("AIMS_MARK") == self.mark:
                    found.append(process)
        return found

    def until_engines(self, count, limit_s=15.0):
        deadline = time.monotonic() + limit_s
        while len(found := self.engines()) != count:
            assert time.monotonic() < deadline, f"{len(found)} engines instead of {count}"
            time.sleep(0.05)
        return found

    def log(self) -> str:
        return (self.root / "agent.log").read_text()

    def close(self):
        if self.process is not None and self.process.poll() is None:
            self.kill()
        for engine in self.engines():
            with contextlib.suppress(psutil.Error):
                engine.kill()


@pytest.fixture
def agent(tmp_path, ports):
    one = AgentProcess(tmp_path, ports)
    yield one
    one.close()
