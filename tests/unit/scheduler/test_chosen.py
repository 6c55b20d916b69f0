"""Devices chosen by hand for a model that is cut between its layers: each of them gets some."""

from dataclasses import replace

import pytest

from aimindserve.core.device import Device, MemoryParts, Need
from aimindserve.core.shape import Layers, Shape
from aimindserve.scheduler.base import Ask, Snapshot
from aimindserve.scheduler.packing.layers import Model
from aimindserve.scheduler.plan import plan
from unit.scheduler import worlds

LAYER = MemoryParts(weights=1)
LAYERS = Layers(device=(LAYER,) * 6, host=(LAYER,) * 6, least=6, devices_max=4)


def worker(*free):
    ids = [f"w:cuda:{index}" for index in range(len(free))]
    devices = [Device(each, at, "cuda", "", "A", 8) for at, each in enumerate(ids)]
    return worlds.plain_worker("w", devices, dict(zip(ids, free, strict=True)), ram=64)


@pytest.mark.parametrize(
    ("free", "warned"), [((8, 8), []), ((8, 0), ["overcommitted"]), ((0, 8), ["overcommitted"])]
)
def test_a_full_one_is_not_left_out_in_silence(free, warned):
    """The other would hold all of it, and whoever chose both would never know."""
    shapes = (Shape("layers", (Need(),), layers=LAYERS),)
    chosen = ("w:cuda:0", "w:cuda:1")
    ask = Ask("d-1", "d", "p", shapes, device_ids=chosen, devices_each=2, backend="llama.cpp")
    placement = plan(Snapshot(1, (worker(*free),)), [ask]).placements["d-1"]
    assert [claim.device for claim in placement.ranks[0].claims] == list(chosen)
    assert [warning.code for warning in placement.warnings] == warned


@pytest.mark.parametrize("count", [2, 3, 7])
@pytest.mark.parametrize("devices", [1, 2, 3])
def test_each_has_some_of_what_may_leave_the_host(count, devices):
    """Also where they are too small, and are claimed all the same."""
    layers = replace(LAYERS, device=(LAYER,) * count, host=(LAYER,) * count, most=count - 1)
    model = Model(replace(layers, least=1), every=True)
    for runs in (model.cut((100,) * devices), model.stretched((1,) * devices)):
        assert runs.held == count - 1
        assert runs.used == min(devices, count - 1)
