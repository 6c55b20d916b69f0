"""What every accelerator plugin promises, and every captured host replayed. A new vendor's file is
tested by adding its captures to `tests/fixtures/hosts/<plugin>/`."""

import json
from pathlib import Path

import msgspec
import pytest

from aimindserve.accelerators._all import accelerators
from aimindserve.accelerators.fake import FakeAccelerator, FakeDevice
from aimindserve.core.device import Device

HOSTS = Path(__file__).parents[1] / "fixtures" / "hosts"
CAPTURES = sorted(HOSTS.glob("*/*/"))
PLUGINS = [*accelerators().values(), FakeAccelerator([FakeDevice("A", 10), FakeDevice("B", 20)])]


class Replay:
    """A host out of a folder."""

    name = "w1"

    def __init__(self, folder: Path | None = None) -> None:
        self.folder = folder
        self.commands = {}
        if folder is not None:
            self.commands = json.loads((folder / "commands.json").read_text())

    def run(self, *argv, timeout_s=10.0):
        name = self.commands.get(" ".join(argv))
        return None if name is None else (self.folder / name).read_text()

    def read(self, path):
        file = None if self.folder is None else self.folder / "files" / path.lstrip("/")
        return file.read_text() if file is not None and file.is_file() else None


class Garbage(Replay):
    """A host whose tools have gone mad."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.text = text

    def run(self, *argv, timeout_s=10.0):
        return self.text

    def read(self, path):
        return self.text


def name_of(capture: Path) -> str:
    return f"{capture.parent.name}-{capture.name}"


@pytest.fixture(params=CAPTURES, ids=name_of)
def capture(request):
    return request.param


def test_there_are_captures_of_every_vendor():
    vendors = {name for name, plugin in accelerators().items() if name != "fake"}
    assert {capture.parent.name for capture in CAPTURES} == vendors


def test_a_captured_host_is_read_right(capture):
    plugin = accelerators()[capture.parent.name]
    host = Replay(capture)
    expected = json.loads((capture / "expected.json").read_text())
    devices, usage = plugin.detect(host), plugin.usage(host)
    found = []
    for device in devices:
        seen = usage[device.id]
        fields = msgspec.to_builtins(device)
        for name in ("id", "type", "vendor"):
            fields.pop(name)
        if fields["address"] is None:  # few have one
            fields.pop("address")
        if seen.processes is not None:
            fields["processes"] = [list(process) for process in seen.processes]
        fields["used_bytes"] = seen.memory_used_bytes
        fields["utilization"] = seen.utilization
        fields["temperature_c"] = seen.temperature_c
        found.append(fields)
    assert found == expected["devices"]
    visible = [v for k, v in plugin.expose(devices).env if k.endswith("VISIBLE_DEVICES")]
    assert visible == [expected["visible"]]


@pytest.mark.parametrize("plugin", PLUGINS, ids=lambda p: p.name)
class TestEveryPlugin:
    def test_a_machine_without_it_has_no_devices(self, plugin):
        if plugin in accelerators().values():
            assert list(plugin.detect(Replay())) == []
            assert dict(plugin.usage(Replay())) == {}

    @pytest.mark.parametrize(
        "text", ["", "\n\n", "garbage", "0, 1, 2\n", '"', "\x00\xff" * 100, "a,b," * 1000, "<gpu"]
    )
    def test_mad_tools_do_no_harm(self, plugin, text):
        devices = plugin.detect(Garbage(text))
        assert all(isinstance(device, Device) for device in devices)
        plugin.usage(Garbage(text))

    def test_ids_name_worker_type_and_index_and_are_unique(self, plugin):
        for host in (Replay(), *(Replay(c) for c in CAPTURES if c.parent.name == plugin.name)):
            devices = list(plugin.detect(host))
            assert len({device.id for device in devices}) == len(devices)
            for device in devices:
                assert device.id == f"w1:{device.type}:{device.index}"
                assert device.memory_bytes > 0

    def test_usage_speaks_of_detected_devices(self, plugin):
        for host in (Replay(), *(Replay(c) for c in CAPTURES if c.parent.name == plugin.name)):
            assert set(plugin.usage(host)) <= {device.id for device in plugin.detect(host)}

    def test_exposing_nothing_hides_everything(self, plugin):
        env = plugin.expose([]).env
        assert any(name.endswith("VISIBLE_DEVICES") and value == "" for name, value in env)


def test_the_registered_fake_has_no_devices():
    assert list(accelerators()["fake"].detect(Replay())) == []
