"""The shape of the `resources` setting: a machine's hardware written down by hand."""

import ipaddress
from collections.abc import Mapping, Sequence
from typing import Any, cast

VENDOR_TYPES: Mapping[str, str] = {
    "nvidia": "cuda",
    "mthreads": "musa",
    "apple": "mps",
    "huawei": "npu",
    "ascend": "npu",
    "amd": "rocm",
    "hygon": "dcu",
    "iluvatar": "corex",
    "cambricon": "mlu",
}
_NEEDED: Mapping[str, tuple[str, ...]] = {
    "cpu": ("total",),
    "memory": ("total",),
    "swap": ("total",),
    "os": ("name", "version"),
    "kernel": ("name", "release", "version"),
    "uptime": ("uptime", "boot_time"),
}
_NEEDED_IN_LISTS: Mapping[str, tuple[str, ...]] = {
    "filesystem": ("name", "mount_point", "mount_from", "total"),
    "gpu_devices": ("name", "index", "vendor", "memory"),
}


def check_hardware(document: Mapping[str, Any]) -> None:
    """Raise ValueError with the first part of `document` that is not as the reference says."""
    for key, value in document.items():
        if key in _NEEDED:
            _need(key, value, _NEEDED[key])
        elif key in _NEEDED_IN_LISTS:
            _check_list(key, value)
        else:
            known = ", ".join(sorted({**_NEEDED, **_NEEDED_IN_LISTS}))
            raise ValueError(f"hardware parts {known}; {key!r} is none of them")


def _check_list(key: str, value: object) -> None:
    if not isinstance(value, Sequence) or isinstance(value, str):
        raise ValueError(f"{key} must be a list")
    for number, entry in enumerate(cast("Sequence[object]", value)):
        place = f"{key}[{number}]"
        document = _need(place, entry, _NEEDED_IN_LISTS[key])
        if key == "gpu_devices":
            _check_gpu(place, document)


def _check_gpu(place: str, gpu: Mapping[str, Any]) -> None:
    _need(f"{place}.memory", gpu["memory"], ("total",))
    vendor = str(gpu["vendor"]).lower()
    if vendor not in VENDOR_TYPES:
        raise ValueError(f"{place}.vendor must be one of {', '.join(VENDOR_TYPES)}")
    kinds = sorted(set(VENDOR_TYPES.values()))
    if gpu.get("type", VENDOR_TYPES[vendor]) not in kinds:
        raise ValueError(f"{place}.type must be one of {', '.join(kinds)}")
    if "network" in gpu:
        network = _need(f"{place}.network", gpu["network"], ("inet",))
        try:
            ipaddress.ip_address(str(network["inet"]))
        except ValueError:
            raise ValueError(f"{place}.network.inet must be an IP address") from None
        if network.get("status", "up") not in ("up", "down"):
            raise ValueError(f"{place}.network.status must be up or down")


def _need(place: str, value: object, keys: Sequence[str]) -> Mapping[str, Any]:
    if not isinstance(value, Mapping):
        raise ValueError(f"{place} must be a mapping")
    document = cast("Mapping[str, Any]", value)
    for key in keys:
        if key not in document:
            raise ValueError(f"{place} needs {key}")
        if key == "total" and not _is_size(document[key]):
            raise ValueError(f"{place}.total must be a number from 0")
    return document


def _is_size(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0
