"""Identifiers that must not be mixed up."""

import re
from typing import NewType

WorkerName = NewType("WorkerName", str)
InstanceName = NewType("InstanceName", str)
DeviceId = NewType("DeviceId", str)
"""`worker:type:index`, for example `gpu-07:cuda:1`; the form users write in a GPU selector."""

RamId = NewType("RamId", str)
"""`worker:ram`: host memory is claimed in the same ledger as device memory."""

NAME = re.compile(r"[a-z0-9](?:[a-z0-9._-]{0,61}[a-z0-9])?")
NAME_RULE = (
    "1 to 63 characters: lower-case letters, digits, '.', '_' and '-', "
    "beginning and ending with a letter or digit"
)


_DEVICE = re.compile(rf"{NAME.pattern}:[a-z][a-z0-9_-]{{0,30}}:[0-9]{{1,4}}")


def is_name(text: str) -> bool:
    """Whether `text` may name a resource."""
    return NAME.fullmatch(text) is not None


def device_id(worker: str, kind: str, index: int) -> DeviceId:
    """The id of the `index`-th device of type `kind` (cuda, npu, …) on `worker`."""
    return DeviceId(f"{worker}:{kind}:{index}")


def is_device_id(text: str) -> bool:
    """Whether `text` has the form of a device's id."""
    return _DEVICE.fullmatch(text) is not None


def worker_of(device: str) -> WorkerName:
    """The worker that the device belongs to."""
    return WorkerName(device.rsplit(":", 2)[0])
