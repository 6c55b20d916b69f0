"""A server started the way people start it, on free ports and a directory of its own."""

import contextlib
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import psutil

POLL_S = 0.005
STOP_S = 60.0


@dataclass(frozen=True)
class Running:
    """A server, and how long it took until `/readyz` said so."""

    url: str
    pid: int
    ready_s: float

    def processes(self) -> list[psutil.Process]:
        """The supervisor and everything below it."""
        parent = psutil.Process(self.pid)
        return [parent, *parent.children(recursive=True)]


@contextlib.contextmanager
def running(folder: Path, *flags: str) -> Iterator[Running]:
    """Start it on `folder`, wait until it is ready, and stop it at the end."""
    port, worker, metrics, server_metrics = free_ports(4)
    command = [
        sys.executable, "-m", "aimindserve", "start",
        "--data-dir", str(folder), "--host", "127.0.0.1", "--port", str(port),
        "--worker-port", str(worker), "--metrics-port", str(metrics),
        "--server-metrics-port", str(server_metrics),
        "--service-port-range", "20000-20063", "--rpc-server-port-range", "20064-20095", *flags,
    ]  # fmt: skip
    environ = {key: value for key, value in os.environ.items() if not key.startswith("GPUSTACK_")}
    with tempfile.TemporaryFile() as said:
        began = time.monotonic()
        process = subprocess.Popen(command, stdout=said, stderr=said, env=environ)
        url = f"http://127.0.0.1:{port}"
        try:
            while not answers(f"{url}/readyz"):
                if process.poll() is not None or time.monotonic() - began > STOP_S:
                    said.seek(0)
                    raise SystemExit(said.read().decode(errors="replace"))
                time.sleep(POLL_S)
            yield Running(url, process.pid, time.monotonic() - began)
        finally:
            process.send_signal(signal.SIGINT)
            process.wait(STOP_S)


def answers(url: str) -> bool:
    """Whether `url` answers 200."""
    try:
        with urllib.request.urlopen(url, timeout=2) as answer:
            return answer.status == 200
    except OSError:
        return False


def free_ports(count: int) -> list[int]:
    """Ports that nothing listens on right now."""
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in sockets]


def verdict(name: str, value: float, limit: float, unit: str) -> bool:
    """Print a measured value beside its limit; whether it holds."""
    holds = value <= limit
    print(f"{name:<44} {value:9.1f} {unit:<4} limit {limit:g} {unit}  {'ok' if holds else 'OVER'}")
    return holds
