"""Where llama.cpp puts layers on several devices, and what it takes there, asked of the engine
itself over RPC: against the shapes that the scheduler cuts."""

import pytest

from aimindserve.formats.llama_cpp.memory import DEVICE_RUNTIME_BYTES, on_devices
from golden.llama_cpp import rpc
from golden.llama_cpp.answers import MIX, facts
from golden.llama_cpp.headers import header
from unit.formats.gguf_files import sparse

MIB = 1024**2
SETTINGS = rpc.settings(8192, 1, 512, True)

pytestmark = [
    pytest.mark.oracle,
    pytest.mark.skipif(
        not rpc.there(),
        reason="llama.cpp with RPC is not built (tests/bench/oracle/build.py)",
    ),
]


@pytest.fixture(scope="module")
def devices():
    """Addresses of two devices."""
    with rpc.served(2) as addresses:
        yield addresses


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
    overheads = layers.overhead, layers.overhead + layers.overhead_last
    answer = rpc.ask(path, devices, counts, SETTINGS)
    for count, overhead, (weights, cache, compute) in zip(
        counts, overheads, answer.devices, strict=True
    ):
        ours = sum(layers.device[start : start + count], overhead)
        start += count
        assert weights - 1 <= ours.weights / MIB <= weights + 2
        assert cache - 1 <= ours.kv_cache / MIB <= cache + 1
        assert compute - 0.01 <= ours.compute / MIB
        assert ours.runtime == DEVICE_RUNTIME_BYTES


def test_a_device_alone_holds_no_copies(devices, tmp_path):
    found = facts("llama-3.2-1b")
    path = sparse(tmp_path / "model.gguf", *header("llama-3.2-1b", MIX))
    _, layers = on_devices(found, SETTINGS, partial=False)
    answer = rpc.ask(path, devices[:1], (len(layers.device),), SETTINGS)
    ((weights, cache, compute),) = answer.devices
    ours = sum(layers.device, layers.overhead)
    assert weights - 1 <= ours.weights / MIB <= weights + 2
    assert cache == ours.kv_cache // MIB
    assert compute - 0.01 <= ours.compute / MIB <= compute + 0.02
