"""What llama.cpp takes on devices, asked of it over RPC: each device is another process of this
machine, reached over loopback, and computes on its processors.

Needs programs that the embedded engine does not have: `python tests/bench/oracle/build.py`. What
they said of well-known models is kept in `device_answers.json`, so that `test_devices.py` needs
none of it; `python tests/bench/memory_devices.py --write` asks again.
"""

import json
import os
import re
import socket
import subprocess
import time
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from aimindserve.formats.llama_cpp.settings import Settings

CACHE = Path(os.environ.get("AIMINDSERVE_TEST_CACHE", Path.home() / ".cache/aimindserve-tests"))
PROGRAMS = CACHE / "llama.cpp-11434"
ANSWERS = Path(__file__).with_name("device_answers.json")
HOST = "127.0.0.1"
GRID = (
    (512, 1, 512, True),
    (8192, 1, 512, True),
    (8192, 4, 512, True),
    (8192, 1, 2048, True),
    (8192, 1, 512, False),
    (32768, 2, 512, True),
)
"""Context, slots, ubatch and flash attention of one device."""
FEW = ((8192, 1, 512, True), (8192, 4, 512, True), (8192, 1, 512, False), (32768, 2, 2048, True))
"""The same of several."""
_COMPUTE = re.compile(r"RPC\d\[([\d.:]+)\] compute buffer size = +([\d.]+) MiB")
_HOST_COMPUTE = re.compile(r"CPU[\w ]* compute buffer size = +([\d.]+) MiB")
_TABLE = re.compile(r"- (RPC\d|Host|CPU_REPACK)[^|]*\|[^=]*=?.*?\(?\s*\d+ = +(\d+) \+ +(\d+) \+")


@dataclass(frozen=True)
class Answer:
    """MiB, as printed."""

    devices: tuple[tuple[int, int, float], ...]
    """Weights, cache and compute of each."""
    host_compute: float


def there():
    return (PROGRAMS / "ggml-rpc-server").exists()


@contextmanager
def served(count):
    """Addresses of so many devices."""
    ports = [_free_port() for _ in range(count)]
    servers = [
        subprocess.Popen(
            [PROGRAMS / "ggml-rpc-server", "-H", HOST, "-p", str(port)],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        for port in ports
    ]
    try:
        for port in ports:
            _wait_for(port)
        yield [f"{HOST}:{port}" for port in ports]
    finally:
        for server in servers:
            server.kill()
            server.wait()


def ask(path, devices, counts, settings):
    """How the engine plans it, with so many entries on each of the devices. A dry run of this
    program gives every token of a step an output: what `Settings(embedding=True)` says."""
    flash = "on" if settings.flash_attention else "off"
    report = subprocess.run(
        [
            *(PROGRAMS / "llama-fit-params", "-m", path, "--rpc", ",".join(devices)),
            *("-ngl", str(sum(counts)), "-ts", ",".join(map(str, counts)), "-fa", flash),
            *("-c", str(settings.context), "-np", str(settings.parallel)),
            *("-b", str(settings.batch), "-ub", str(settings.ubatch)),
            *("-fit", "off", "--verbosity", "5"),
        ],
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    text = report.stdout + report.stderr
    compute = {address: float(size) for address, size in _COMPUTE.findall(text)}
    parts = [found for found in _TABLE.findall(text) if found[0].startswith("RPC")]
    if len(parts) != len(devices):
        return None  # it has refused
    return Answer(
        tuple(
            (int(weights), int(cache), compute.get(address, 0.0))
            for (_, weights, cache), address in zip(parts, devices, strict=True)
        ),
        max(map(float, _HOST_COMPUTE.findall(text)), default=0.0),
    )


def settings(context, parallel, ubatch, flash):
    return Settings(
        context, parallel=parallel, ubatch=ubatch, flash_attention=flash, embedding=True
    )


def cuts(facts):
    """Ways to cut a model over two and three devices: all of it, then the end of it."""
    everything = facts.layer_count + facts.prediction_layer_count + 1
    half, third, quarter = everything // 2, everything // 3, everything // 4
    return (
        (half, everything - half),
        (1, everything - 1),
        (everything - 1, 1),
        (third, third, everything - 2 * third),
        (quarter, quarter),
        (half,),
    )


def stored():
    """[(slug, counts or None for one device with all, setting, MiB of each device, of the host)]"""
    return [
        (slug, counts and tuple(counts), tuple(setting), devices, host)
        for slug, counts, setting, devices, host in json.loads(ANSWERS.read_text())["answers"]
    ]


def write(answers):
    rows = ",\n".join(json.dumps(row) for row in answers)
    ANSWERS.write_text(f'{{"engine": "{PROGRAMS.name}", "answers": [\n{rows}\n]}}\n')


def _free_port():
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        return probe.getsockname()[1]


def _wait_for(port):
    for _ in range(200):
        with socket.socket() as probe:
            if probe.connect_ex((HOST, port)) == 0:
                return
        time.sleep(0.05)
    raise AssertionError("the device did not come up")
