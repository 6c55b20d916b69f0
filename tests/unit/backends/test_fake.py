"""The fake backend can ask for every way of packing."""

import pytest

from aimindserve.backends.fake import PLUGIN
from aimindserve.core.facts import ModelFacts, Options

GIB = 1024**3
MODEL = ModelFacts(format="gguf", architecture="llama", size_bytes=1)


def shapes(*words, **more):
    return PLUGIN.shapes(MODEL, Options(parameters=words, **more))


def test_devices_of_one_worker():
    (shape,) = shapes("--vram=8GiB", "--devices=2")
    assert [device.total for device in shape.ranks[0].devices] == [8 * GIB] * 2
    assert not shape.across


def test_the_same_devices_on_several_workers():
    (shape,) = shapes("--vram=8GiB", "--devices=2", "--workers=3")
    assert shape.across
    assert [len(rank.devices) for rank in shape.ranks] == [2, 2, 2]


@pytest.mark.parametrize(("offloading", "least"), [(True, [41, 1]), (False, [41])])
def test_layers_over_devices(offloading, least):
    found = shapes("--vram=82GiB", "--devices=4", "--layers=40", cpu_offloading=offloading)
    assert [shape.layers.least for shape in found] == least
    layers = found[0].layers
    assert len(layers.device) == len(layers.host) == 41
    assert sum(parts.total for parts in layers.device) == 82 * GIB
    assert layers.devices_max == 4
