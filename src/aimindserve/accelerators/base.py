"""Three verbs per vendor: detect, usage, expose. The host is injected, so tests replay captures."""

from collections.abc import Mapping, Sequence
from typing import Protocol

from aimindserve.core.device import Device, DeviceUsage
from aimindserve.core.ids import DeviceId
from aimindserve.core.launch import Exposure


class Host(Protocol):
    """The machine as an accelerator plugin may see it."""

    name: str
    """The worker's name, for device ids."""

    def run(self, *argv: str, timeout_s: float = 10.0) -> str | None:
        """Standard output of a vendor's tool, or None when there is none or it failed."""
        ...

    def read(self, path: str) -> str | None:
        """A text file's content, or None."""
        ...


class Accelerator(Protocol):
    """A vendor's plugin and its family of devices."""

    name: str

    def detect(self, host: Host) -> Sequence[Device]:
        """The devices there are; empty on a machine without this vendor's tools. Never raises."""
        ...

    def usage(self, host: Host) -> Mapping[DeviceId, DeviceUsage]:
        """What is in use on them, by everybody."""
        ...

    def expose(self, devices: Sequence[Device]) -> Exposure:
        """What a process needs to see exactly these devices."""
        ...
