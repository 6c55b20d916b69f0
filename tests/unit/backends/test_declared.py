"""Declared memory takes the place of the estimate, exactly, for shapes of every kind."""

import pytest

from aimindserve.backends._all import choose, find, shapes_for
from aimindserve.backends._declared import (
    RAM_CLAIM,
    VRAM_CLAIM,
    Claims,
    apply_claims,
    engine_env,
    read_claims,
    scale,
)
from aimindserve.core.device import MemoryParts, Need
from aimindserve.core.facts import ModelFacts, Options
from aimindserve.core.reason import Reason
from aimindserve.core.shape import DECLARED, ESTIMATED, Layers, Shape

GIB = 1024**3
TWO = Shape(
    "2 devices",
    ranks=(
        Need(
            devices=(MemoryParts(weights=3 * GIB, kv_cache=GIB), MemoryParts(weights=2 * GIB)),
            ram=MemoryParts(runtime=GIB),
        ),
    ),
)


def declared(**claims):
    return apply_claims((TWO,), Claims(**claims))[0]


def test_the_whole_instance_takes_what_was_declared_and_keeps_its_proportions():
    shape = declared(vram_bytes=12 * GIB)
    (rank,) = shape.ranks
    assert [device.total for device in rank.devices] == [8 * GIB, 4 * GIB]
    assert rank.devices[0].kv_cache == 2 * GIB
    assert rank.ram == TWO.ranks[0].ram
    assert shape.confidence == DECLARED
    assert TWO.confidence == ESTIMATED


def test_host_memory_is_declared_apart():
    shape = declared(ram_bytes=5)
    assert shape.ranks[0].ram.total == 5
    assert shape.ranks[0].devices == TWO.ranks[0].devices


def test_a_shape_without_devices_has_no_use_for_a_claim_on_them():
    cpu = Shape("cpu", (Need(ram=MemoryParts(weights=GIB)),))
    assert apply_claims((cpu,), Claims(vram_bytes=GIB)) == (cpu,)


def test_layers_sum_up_to_what_was_declared():
    layer = MemoryParts(weights=3, kv_cache=4)
    layers = Layers((layer,) * 5, (layer,) * 5, overhead=MemoryParts(compute=11))
    shape = Shape("any", (Need(ram=MemoryParts(runtime=1)),), layers=layers)
    (done,) = apply_claims((shape,), Claims(vram_bytes=1_000_003))
    after = done.layers
    total = sum(each.total for each in after.device)
    assert total + after.overhead.total + after.overhead_last.total == 1_000_003
    assert after.host == layers.host


@pytest.mark.parametrize("total", [0, 1, 7, 12345])
def test_scaling_loses_no_byte(total):
    parts = [MemoryParts(weights=3, compute=1), MemoryParts(kv_cache=2), MemoryParts()]
    assert sum(part.total for part in scale(parts, total)) == total
    assert sum(part.total for part in scale([MemoryParts()] * 3, total)) == total


@pytest.mark.parametrize("value", ["", "much", "-1", "12 parsecs", "9999999 TiB", "nan"])
@pytest.mark.parametrize("name", [VRAM_CLAIM, RAM_CLAIM])
def test_what_is_no_size_is_refused_by_name(name, value):
    reason = read_claims("vllm", Options(env=((name, value),)))
    assert isinstance(reason, Reason)
    assert reason.code == "bad_param"
    assert name in reason.message


def test_every_backend_honours_it_and_no_engine_sees_it():
    facts = ModelFacts("gguf", "llama", GIB, layer_count=2, embedding_length=8, head_count=1)
    options = Options(env=((VRAM_CLAIM, "3GiB"), (RAM_CLAIM, "1024")), parameters=("--vram=1GiB",))
    backend = choose(facts, "fake", options)
    assert backend is find("fake")
    (shape,) = shapes_for(backend, facts, options)
    assert shape.ranks[0].devices[0].total == 3 * GIB
    assert shape.ranks[0].ram.total == 1024
    assert engine_env((*options.env, ("TZ", "UTC"))) == (("TZ", "UTC"),)
    bad = choose(facts, "fake", Options(env=((VRAM_CLAIM, "?"),)))
    assert isinstance(bad, Reason)
