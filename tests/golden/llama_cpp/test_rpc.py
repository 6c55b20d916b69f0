"""Where llama.cpp puts layers on several devices, and what it takes there: two devices of other
processes, reached over loopback, against the shapes that the scheduler cuts.

Needs programs that the embedded engine does not have: `python tests/bench/oracle/build.py`.
"""

import os
import re
import socket
import subprocess
import time
from pathlib import Path

import pytest

from aimindserve.formats.llama_cpp.memory import DEVICE_RUNTIME_BYTES, on_devices
from aimindserve.formats.llama_cpp.settings import Settings
from golden.llama_cpp.answers import MIX, facts
from golden.llama_cpp.headers import header
from unit.formats.gguf_files import sparse

MIB = 1024**2
CACHE = Path(os.environ.get("AIMINDSERVE_TEST_CACHE", Path.home() / ".cache/aimindserve-tests"))
PROGRAMS = CACHE / "llama.cpp-11434"
HOST = "127.0.0.1"
# A dry run of this program gives every token of a step an output.
SETTINGS = Settings(8192, embedding=True)
_COMPUTE = re.compile(r"RPC0\[([\d.:]+)\] compute buffer size = +([\d.]+) MiB")
_TABLE = re.compile(r"- (RPC\d|Host|CPU_REPACK)[^|]*\|[^=]*=?.*?\(?\s*\d+ = +(\d+) \+ +(\d+) \+")

pytestmark = [
    pytest.mark.oracle,
    pytest.mark.skipif(
        not (PROGRAMS / "ggml-rpc-server").exists(),
        reason="llama.cpp with RPC is not built (tests/bench/oracle/build.py)",
    ),
]


@pytest.fixture(scope="module")
def devices():
    """Addresses of two devices."""
    ports = [free_port(), free_port()]
    servers = [
        subprocess.Popen(
            [PROGRAMS / "ggml-rpc-server", "-H", HOST, "-p", str(port)],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        for port in ports
    ]
    for port in ports:
        wait_for(port)
    yield [f"{HOST}:{port}" for port in ports]
    for server in servers:
        server.kill()
        server.wait()


def free_port():
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        return probe.getsockname()[1]


def wait_for(port):
    for _ in range(200):
        with socket.socket() as probe:
            if probe.connect_ex((HOST, port)) == 0:
                return
        time.sleep(0.05)
    raise AssertionError("the device did not come up")


def asked(path, devices, counts):
    """{device: (weights, cache, compute)} in MiB, as the engine plans it."""
    report = subprocess.run(
        [
            *(PROGRAMS / "llama-fit-params", "-m", path, "--rpc", ",".join(devices)),
            *("-ngl", str(sum(counts)), "-ts", ",".join(map(str, counts))),
            *("-c", str(SETTINGS.context), "-np", "1", "-fit", "off", "--verbosity", "5"),
        ],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    text = report.stdout + report.stderr
    compute = {address: float(size) for address, size in _COMPUTE.findall(text)}
    parts = [found for found in _TABLE.findall(text) if found[0].startswith("RPC")]
    assert len(parts) == len(devices), text[-2000:]
    return [
        (int(weights), int(cache), compute.get(address, 0.0))
        for (_, weights, cache), address in zip(parts, devices, strict=True)
    ]


@pytest.mark.parametrize("slug", ["llama-3.2-1b", "gemma-3-4b-it", "qwen3-30b-a3b", "glm-4.5-air"])
@pytest.mark.parametrize("first", [1, 5, None])
def test_whole_numbers_of_layers_come_out_as_they_go_in(slug, first, devices, tmp_path):
    found = facts(slug)
    path = sparse(tmp_path / "model.gguf", *header(slug, MIX))
    _, layers = on_devices(found, SETTINGS, partial=False, devices_max=2)
    everything = len(layers.device)
    held = everything if first else everything // 2  # or half of them on the host
    counts = (first or held // 3, held - (first or held // 3))
    if held < everything:
        _, layers = on_devices(found, SETTINGS, partial=True, devices_max=2)
    start = everything - held
    for count, (weights, cache, compute) in zip(counts, asked(path, devices, counts), strict=True):
        ours = sum(layers.device[start : start + count], layers.overhead)
        start += count
        assert weights - 1 <= ours.weights / MIB <= weights + 2
        assert cache - 1 <= ours.kv_cache / MIB <= cache + 1
        assert compute - 0.01 <= ours.compute / MIB
        assert ours.runtime == DEVICE_RUNTIME_BYTES


def test_a_device_alone_holds_no_copies(devices, tmp_path):
    found = facts("llama-3.2-1b")
    path = sparse(tmp_path / "model.gguf", *header("llama-3.2-1b", MIX))
    _, layers = on_devices(found, SETTINGS, partial=False)
    ((weights, cache, compute),) = asked(path, devices[:1], (len(layers.device),))
    ours = sum(layers.device, layers.overhead)
    assert weights - 1 <= ours.weights / MIB <= weights + 2
    assert cache == ours.kv_cache // MIB
    # Two widths of a batch are counted for what a device may have to copy in, and this one has not.
    width = 4 * found.embedding_length * SETTINGS.ubatch / MIB
    assert compute <= ours.compute / MIB <= compute + 2 * width + 0.1
