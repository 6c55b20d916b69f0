"""What is claimed of devices, and of the host before them, against what llama.cpp said of dozens of
models on one device, and of one model of each family on several (`rpc.py`)."""

from collections import defaultdict

import pytest

from aimindserve.formats.llama_cpp.batch import Part
from aimindserve.formats.llama_cpp.compute import device_buffer, prepared_buffer
from aimindserve.formats.llama_cpp.memory import on_devices
from golden.llama_cpp import rpc
from golden.llama_cpp.answers import facts

MIB = 1024**2
PRINTED = 0.011
"""Two digits are printed."""
COPIES = 4
SENDS = {"granite-4.0-h-micro", "granite-4.0-h-tiny", "jamba-v0.1", "mamba-130m-hf"}
"""Where a cut lies within such a family decides what is sent: bounded."""
ANSWERS = rpc.stored()
ALONE = [(slug, setting, *sizes) for slug, counts, setting, *sizes in ANSWERS if counts is None]
CUT = [answer for answer in ANSWERS if answer[1] is not None]


@pytest.mark.parametrize("slug", sorted({each[0] for each in ALONE}))
def test_one_device_is_laid_out_to_the_printed_digit(slug):
    for _, setting, (device,), host in (each for each in ALONE if each[0] == slug):
        settings = rpc.settings(*setting)
        ours = device_buffer(facts(slug), settings, Part(device=True)) / MIB
        assert device - PRINTED <= ours <= device + 2 * PRINTED, setting
        ours = prepared_buffer(facts(slug), settings) / MIB
        assert host - 3 * PRINTED <= ours <= host + 0.1, setting


@pytest.mark.parametrize("slug", sorted({each[0] for each in CUT}))
def test_of_several_none_takes_more_than_is_claimed(slug):
    found = facts(slug)
    everything = found.layer_count + found.prediction_layer_count + 1
    most = defaultdict(float)
    for _, counts, setting, devices, host in (each for each in CUT if each[0] == slug):
        settings = rpc.settings(*setting)
        partial = sum(counts) < everything
        _, layers = on_devices(found, settings, partial=partial, devices_max=3)
        each, last = layers.overhead.compute / MIB, layers.overhead_last.compute / MIB
        assert max(devices) - PRINTED <= each + last
        assert max(devices[:-1], default=0) - PRINTED <= each
        if not partial:
            most[setting] = max(most[setting], *devices)
            assert host - 5 * PRINTED <= prepared_buffer(found, settings, COPIES) / MIB
    for setting, size in most.items() if slug not in SENDS else ():
        _, layers = on_devices(found, rpc.settings(*setting), partial=False, devices_max=3)
        claimed = layers.overhead.compute + layers.overhead_last.compute
        assert claimed / MIB <= 1.02 * size + PRINTED
