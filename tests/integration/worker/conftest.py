import contextlib
import hashlib
import json
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

HERE = Path(__file__).parent
SRC = HERE.parents[2] / "src"
PORTS = 6


def header_only_gguf(path: Path) -> Path:
    """The smallest file that reads as a model: a llama of one layer without weights."""
    import struct

    def text(value):
        data = value.encode()
        return struct.pack("<Q", len(data)) + data

    def pair(key, kind, value):
        return text(key) + struct.pack("<I", kind) + value

    pairs = [pair("general.architecture", 8, text("llama"))]
    for key, number in {
        "block_count": 1, "context_length": 128, "embedding_length": 32,
        "feed_forward_length": 64, "attention.head_count": 4,
    }.items():  # fmt: skip
        pairs.append(pair(f"llama.{key}", 4, struct.pack("<I", number)))
    tensor = text("token_embd.weight") + struct.pack("<IQQIQ", 2, 32, 16, 0, 0)
    head = b"GGUF" + struct.pack("<IQQ", 3, 1, len(pairs)) + b"".join(pairs) + tensor
    head += b"\0" * (-len(head) % 32)
    path.write_bytes(head + b"\0" * (32 * 16 * 4))
    return path


@pytest.fixture
def model(tmp_path):
    return header_only_gguf(tmp_path / "model.gguf")


@pytest.fixture(scope="session")
def port_ranges():
    """Ranges of ports that nobody uses, a new one for every test."""

    def search():
        first = 42000
        while first < 60000:
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
