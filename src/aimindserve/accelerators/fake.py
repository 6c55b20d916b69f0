"""Devices that exist because somebody says so: for the demo and the simulation.

The plugin as registered has none, so it finds nothing on a real machine.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from aimindserve.accelerators.base import Host
from aimindserve.core.device import Device, DeviceUsage
from aimindserve.core.ids import DeviceId, device_id
from aimindserve.core.launch import Exposure


@dataclass(frozen=True, slots=True)
class FakeDevice:
    """One device by declaration. Bytes."""

    name: str
    memory_bytes: int
    type: str = "cuda"
    vendor: str = "fake"
    compute_capability: str | None = None


class FakeAccelerator:
    """A family of declared devices; `used_bytes` by index says what is in use on them."""

    name = "fake"

    def __init__(self, devices: Sequence[FakeDevice] = ()) -> None:
        self._devices = tuple(devices)
        self.used_bytes: dict[int, int] = {}

    def detect(self, host: Host) -> Sequence[Device]:
        """The declared devices, under the host's name."""
        return [
            Device(
                id=device_id(host.name, declared.type, index),
                index=index,
                type=declared.type,
                vendor=declared.vendor,
                name=declared.name,
                memory_bytes=declared.memory_bytes,
                compute_capability=declared.compute_capability,
                uuid=f"fake-{host.name}-{index}",
            )
            for index, declared in enumerate(self._devices)
        ]

    def usage(self, host: Host) -> Mapping[DeviceId, DeviceUsage]:
        """What `used_bytes` says."""
        return {
            device.id: DeviceUsage(device.id, self.used_bytes.get(device.index, 0))
            for device in self.detect(host)
        }

    def expose(self, devices: Sequence[Device]) -> Exposure:
        """Indices, as a fake engine can show them."""
        indices = ",".join(str(device.index) for device in devices)
        return Exposure((("FAKE_VISIBLE_DEVICES", indices),), pretended=bool(devices))


PLUGIN = FakeAccelerator()
