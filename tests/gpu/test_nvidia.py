"""Real NVIDIA devices: the plugin finds what the driver says. Skipped where there is none."""

import shutil

import pytest

from aimindserve.accelerators._all import accelerators
from aimindserve.worker.host import SystemHost

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(shutil.which("nvidia-smi") is None, reason="no NVIDIA driver here"),
]


def test_every_device_is_found_with_its_memory() -> None:
    host = SystemHost("here")
    listed = host.run("nvidia-smi", "-L") or ""
    devices = accelerators()["nvidia"].detect(host)
    assert len(devices) == len([line for line in listed.splitlines() if line.startswith("GPU ")])
    assert all(device.memory_bytes > 1024**3 for device in devices)
    assert all(device.uuid and device.uuid in listed for device in devices)


def test_usage_is_within_what_there_is() -> None:
    host = SystemHost("here")
    plugin = accelerators()["nvidia"]
    sizes = {device.id: device.memory_bytes for device in plugin.detect(host)}
    usage = plugin.usage(host)
    assert set(usage) == set(sizes)
    assert all(0 <= used.memory_used_bytes <= sizes[name] for name, used in usage.items())
