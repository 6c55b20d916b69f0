"""What we claim on devices of other workers against what llama.cpp's server allocates there.

    PYTHONPATH=src:tests python tests/bench/memory_llama_cpp_rpc.py [SLUG …]

For models of the golden headers (`llama-3.2-1b gemma-3-4b-it` without arguments; weights are zeros
in a sparse file), over one to three RPC servers on this machine: weights, cache and compute buffer
of each device as the server's log says them, and ours, in MiB. Needs llama.cpp's programs
(`AIMS_TEST_LLAMA_CPP`, or what tests/bench/oracle/build.py has built) and RAM for the model.
"""

import contextlib
import os
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from aimindserve.formats.llama_cpp.memory import on_devices
from aimindserve.formats.llama_cpp.settings import Settings
from bench.oracle.build import place
from bench.tunnel import HOST, free_ports, started, wait_for
from golden.llama_cpp.answers import MIX, facts
from golden.llama_cpp.headers import header
from unit.formats.gguf_files import sparse

MIB = 1024**2
PROGRAMS = Path(os.environ.get("AIMS_TEST_LLAMA_CPP") or place())
SETTINGS = Settings(8192, parallel=1)
LOAD_S = 120.0
_ENDS = "graph: nodes"


def said(path: Path, ports: list[int], counts: list[int], folder: Path) -> list[list[float]]:
    """[weights, cache, compute] of each device, from the server's log."""
    log = folder / "log"
    (port,) = free_ports(1)
    command = [
        *(PROGRAMS / "llama-server", "--model", path, "--host", HOST, "--port", str(port)),
        *("--rpc", ",".join(f"{HOST}:{each}" for each in ports)),
        *("--device", ",".join(f"RPC{at}" for at in range(len(ports)))),
        *("--n-gpu-layers", str(sum(counts)), "--tensor-split", ",".join(map(str, counts))),
        *("--ctx-size", str(SETTINGS.context), "--parallel", "1", "--fit", "off"),
        *("--verbosity", "4", "--no-warmup"),
    ]
    with log.open("wb") as out:
        server = subprocess.Popen(
            command, stdout=out, stderr=out, env={**os.environ, "GGML_NO_BACKTRACE": "1"}
        )
    deadline = time.monotonic() + LOAD_S
    try:
        while _ENDS not in log.read_text(errors="replace"):
            if server.poll() is not None or time.monotonic() > deadline:
                raise SystemExit(log.read_text(errors="replace")[-2000:])
            time.sleep(0.1)
    finally:
        server.kill()
        server.wait()
    text = log.read_text(errors="replace")
    pattern = r"RPC\d\[{}\] {} buffer size = +([\d.]+)"
    return [
        [
            sum(map(float, re.findall(pattern.format(f"{HOST}:{each}", kind), text)))
            for kind in ("model", "KV", "compute")
        ]
        for each in ports
    ]


def main() -> None:
    with tempfile.TemporaryDirectory() as name, contextlib.suppress(KeyboardInterrupt):
        for slug in sys.argv[1:] or ["llama-3.2-1b", "gemma-3-4b-it"]:
            path = sparse(Path(name) / f"{slug}.gguf", *header(slug, MIX))
            for devices in (1, 2, 3):
                compare(slug, path, devices, Path(name))


def compare(slug: str, path: Path, devices: int, folder: Path) -> None:
    _, layers = on_devices(facts(slug), SETTINGS, partial=False, devices_max=devices)
    everything = len(layers.device)
    counts = [everything // devices] * (devices - 1)
    counts.append(everything - sum(counts))
    ports = free_ports(devices)
    lenders = [
        [PROGRAMS / "ggml-rpc-server", "-H", HOST, "-p", str(port), "-d", "CPU"] for port in ports
    ]
    with started(*lenders):
        for port in ports:
            wait_for(port)
        theirs = said(path, ports, counts, folder)
    start = 0
    for place_, (count, real) in enumerate(zip(counts, theirs, strict=True)):
        parts = sum(layers.device[start : start + count], layers.overhead)
        start += count
        ours = [parts.weights / MIB, parts.kv_cache / MIB, parts.compute / MIB]
        numbers = "  ".join(f"{mine:9.2f}/{its:9.2f}" for mine, its in zip(ours, real, strict=True))
        total = sum(ours) / sum(real)
        print(f"{slug:16} device {place_} of {devices}  {numbers}  ratio {total:.4f}", flush=True)


if __name__ == "__main__":
    main()
