"""NVIDIA GPUs, and the slices of those in MIG mode, read from `nvidia-smi`.

    --query-gpu=…  one line of CSV per GPU          (nvidia-smi --help-query-gpu)
    -L             names and UUIDs of MIG slices    (MIG user guide, "Device names")
    -q -x          memory of MIG slices             (nvsmi_device_v12.dtd)
    --query-compute-apps=…  memory by process       (nvidia-smi --help-query-compute-apps)

The tool answers `[N/A]` or `[Not Supported]` for what a device does not tell; such a value is
missing here, never zero. A device whose memory nobody can tell is left out, except where the memory
is the machine's own (GB10, Jetson): then that is what it has.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from aimindserve.accelerators.base import Host
from aimindserve.core.device import Device, DeviceUsage
from aimindserve.core.ids import DeviceId, device_id
from aimindserve.core.launch import Exposure
from aimindserve.kit.units import MIB

TOOL = "nvidia-smi"
TYPE = "cuda"
_CSV = "--format=csv,noheader,nounits"
DEVICES_MAX = 512
_FIELDS: tuple[str, ...] = (
    "index",
    "uuid",
    "name",
    "memory.total",
    "memory.used",
    "utilization.gpu",
    "temperature.gpu",
    "driver_version",
)
_NEWER = ("compute_cap", "mig.mode.current")
"""Drivers before 465 refuse a query that names these."""
_UNIFIED = re.compile(r"\b(GB10|Orin|Xavier|Thor|Tegra)\b", re.IGNORECASE)
_GPU_LINE = re.compile(r"^GPU (\d+): .*\(UUID: (\S+)\)\s*$")
_SLICE_LINE = re.compile(r"^\s+MIG (\S+)\s+Device\s+(\d+): \(UUID: (\S+)\)\s*$")
_XML_GPU = re.compile(r"<gpu id=.*?</gpu>", re.DOTALL)
_XML_UUID = re.compile(r"<uuid>\s*(GPU-[^<\s]+)\s*</uuid>")
_XML_SLICE = re.compile(r"<mig_device>(.*?)</mig_device>", re.DOTALL)
_XML_MEMORY = re.compile(
    r"<fb_memory_usage>.*?<total>\s*(\d+) MiB</total>.*?<used>\s*(\d+) MiB</used>", re.DOTALL
)
_XML_INDEX = re.compile(r"<index>\s*(\d+)\s*</index>")


@dataclass(frozen=True, slots=True)
class _Gpu:
    """One line of the query."""

    uuid: str
    name: str
    memory_bytes: int | None
    used_bytes: int | None
    utilization: float
    temperature_c: float | None
    driver: str | None
    compute_capability: str | None
    sliced: bool


@dataclass(frozen=True, slots=True)
class _Slice:
    """One MIG device of a GPU."""

    profile: str
    uuid: str
    memory_bytes: int | None
    used_bytes: int


class Nvidia:
    """GPUs with CUDA."""

    name = "nvidia"

    def detect(self, host: Host) -> Sequence[Device]:
        """GPUs in the order of the tool, which is that of the bus; a sliced one as its slices."""
        return [device for device, _ in _read(host)]

    def usage(self, host: Host) -> Mapping[DeviceId, DeviceUsage]:
        """Memory and load of all of them; of whole GPUs also by process."""
        found = _read(host)
        held = _processes(host) if found else None
        if held is None:
            return {device.id: usage for device, usage in found}
        return {
            device.id: usage
            if device.uuid is None or not device.uuid.startswith("GPU-")
            else replace(usage, processes=held.get(device.uuid, ()))
            for device, usage in found
        }

    def expose(self, devices: Sequence[Device]) -> Exposure:
        """By UUID: indices change when a GPU drops off the bus, and do not name slices."""
        visible = ",".join(device.uuid or str(device.index) for device in devices)
        return Exposure((("CUDA_DEVICE_ORDER", "PCI_BUS_ID"), ("CUDA_VISIBLE_DEVICES", visible)))


def _read(host: Host) -> list[tuple[Device, DeviceUsage]]:
    gpus = _query(host)
    sliced = any(gpu.sliced for gpu in gpus)
    slices = _slices(host) if sliced else dict[str, Sequence[_Slice]]()
    found: list[tuple[Device, DeviceUsage]] = []
    for gpu in gpus:
        if gpu.sliced:
            for part in slices.get(gpu.uuid, ()):
                found.extend(_sliced(host, len(found), gpu, part))
        else:
            found.extend(_whole(host, len(found), gpu))
    return found[:DEVICES_MAX]


def _whole(host: Host, index: int, gpu: _Gpu) -> Sequence[tuple[Device, DeviceUsage]]:
    unified = gpu.memory_bytes is None and _UNIFIED.search(gpu.name) is not None
    memory_bytes = _host_memory(host) if unified else gpu.memory_bytes
    if not memory_bytes:
        return ()
    return (_pair(host, index, gpu, memory_bytes, gpu.used_bytes or 0, unified=unified),)


def _sliced(
    host: Host, index: int, gpu: _Gpu, part: _Slice
) -> Sequence[tuple[Device, DeviceUsage]]:
    if not part.memory_bytes:
        return ()
    named = _Gpu(
        uuid=part.uuid,
        name=f"{gpu.name} MIG {part.profile}",
        memory_bytes=part.memory_bytes,
        used_bytes=part.used_bytes,
        utilization=0.0,  # the driver does not tell the load of a slice
        temperature_c=gpu.temperature_c,
        driver=gpu.driver,
        compute_capability=gpu.compute_capability,
        sliced=True,
    )
    return (_pair(host, index, named, part.memory_bytes, part.used_bytes, unified=False),)


def _pair(
    host: Host, index: int, gpu: _Gpu, memory_bytes: int, used_bytes: int, *, unified: bool
) -> tuple[Device, DeviceUsage]:
    identity = device_id(host.name, TYPE, index)
    device = Device(
        id=identity,
        index=index,
        type=TYPE,
        vendor="nvidia",
        name=gpu.name,
        memory_bytes=memory_bytes,
        unified_memory=unified,
        compute_capability=gpu.compute_capability,
        driver_version=gpu.driver,
        uuid=gpu.uuid,
    )
    return device, DeviceUsage(identity, used_bytes, gpu.utilization, gpu.temperature_c)


def _query(host: Host) -> list[_Gpu]:
    names: tuple[str, ...] = (*_FIELDS, *_NEWER)
    text = _ask(host, names)
    if text is None:
        names = _FIELDS
        text = _ask(host, names) or ""
    rows = ([cell.strip() for cell in line.split(",")] for line in text.splitlines())
    lines = (dict(zip(names, row, strict=True)) for row in rows if len(row) == len(names))
    return [gpu for line in lines if (gpu := _gpu(line)) is not None]


def _ask(host: Host, names: Sequence[str]) -> str | None:
    return host.run(TOOL, f"--query-gpu={','.join(names)}", _CSV)


def _gpu(line: Mapping[str, str]) -> _Gpu | None:
    uuid = _text(line["uuid"])
    if uuid is None:
        return None
    load = _number(line["utilization.gpu"])
    return _Gpu(
        uuid=uuid,
        name=_text(line["name"]) or "NVIDIA GPU",
        memory_bytes=_mebibytes(line["memory.total"]),
        used_bytes=_mebibytes(line["memory.used"]),
        utilization=0.0 if load is None else min(1.0, load / 100.0),
        temperature_c=_number(line["temperature.gpu"]),
        driver=_text(line["driver_version"]),
        compute_capability=_text(line.get("compute_cap", "")),
        sliced=_text(line.get("mig.mode.current", "")) == "Enabled",
    )


def _processes(host: Host) -> Mapping[str, tuple[tuple[int, int], ...]] | None:
    """GPU UUID -> (process id, bytes), the largest first; None when that is not told for all.

    Inside a container the driver may give numbers of the machine's processes, which are nobody's
    here: then none of them can be believed, and a process may be hidden altogether.
    """
    text = host.run(TOOL, "--query-compute-apps=gpu_uuid,pid,used_memory", _CSV)
    if text is None:
        return None
    found: dict[str, list[tuple[int, int]]] = {}
    for line in text.splitlines():
        cells = [cell.strip() for cell in line.split(",")]
        if len(cells) != 3:
            continue
        held = _mebibytes(cells[2])
        if held is None or not cells[1].isdigit() or host.read(f"/proc/{cells[1]}/stat") is None:
            return None
        found.setdefault(cells[0], []).append((int(cells[1]), held))
    return {
        uuid: tuple(sorted(processes, key=lambda one: (-one[1], one[0])))
        for uuid, processes in found.items()
    }


def _slices(host: Host) -> Mapping[str, Sequence[_Slice]]:
    """Slices by their GPU's UUID: names from the list, memory from the XML, joined by number."""
    memory = _slice_memory(host.run(TOOL, "-q", "-x") or "")
    slices: dict[str, list[_Slice]] = {}
    gpu = ""
    for line in (host.run(TOOL, "-L") or "").splitlines():
        if head := _GPU_LINE.match(line):
            gpu = head.group(2)
        elif found := _SLICE_LINE.match(line):
            total, used = memory.get((gpu, int(found.group(2))), (None, 0))
            slices.setdefault(gpu, []).append(_Slice(found.group(1), found.group(3), total, used))
    return slices


def _slice_memory(xml: str) -> Mapping[tuple[str, int], tuple[int | None, int]]:
    """(GPU UUID, slice number) -> (total, used) bytes."""
    memory: dict[tuple[str, int], tuple[int | None, int]] = {}
    for block in _XML_GPU.findall(xml):
        uuid = _XML_UUID.search(_XML_SLICE.sub("", block))
        for part in _XML_SLICE.findall(block):
            number, sizes = _XML_INDEX.search(part), _XML_MEMORY.search(part)
            if uuid is not None and number is not None and sizes is not None:
                total, used = int(sizes.group(1)) * MIB, int(sizes.group(2)) * MIB
                memory[uuid.group(1), int(number.group(1))] = (total, used)
    return memory


def _host_memory(host: Host) -> int | None:
    for line in (host.read("/proc/meminfo") or "").splitlines():
        parts = line.split()
        if len(parts) >= 2 and parts[0] == "MemTotal:" and parts[1].isdigit():
            return int(parts[1]) * 1024
    return None


def _text(value: str) -> str | None:
    value = value.strip()
    return None if not value or value.startswith("[") or value == "N/A" else value


def _number(value: str) -> float | None:
    try:
        return float(value)
    except ValueError:
        return None


def _mebibytes(value: str) -> int | None:
    number = _number(value)
    return None if number is None else int(number * MIB)


PLUGIN = Nvidia()
