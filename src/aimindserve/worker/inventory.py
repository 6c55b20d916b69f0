"""Reading this machine: processors, memory, disks, system; within the limits of its container."""

import math
import platform
import socket
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from urllib.parse import urlsplit

import psutil

from aimindserve.core.device import Device, DeviceUsage, FileSystem, Inventory, Usage
from aimindserve.worker import cgroup

FILE_SYSTEMS_MAX = 64
_PSEUDO = frozenset({"squashfs", "overlay", "tmpfs", "devtmpfs", "autofs", "nsfs", "ramfs"})
_ARCHES = {"x86_64": "amd64", "amd64": "amd64", "aarch64": "arm64", "arm64": "arm64"}
_SYSTEMS = {"linux": "linux", "darwin": "darwin", "win32": "windows"}


def read_inventory(devices: Sequence[Device], cache_dir: Path) -> Inventory:
    """What this machine has. Blocks for some milliseconds."""
    limits = cgroup.limits(read_text)
    ram = psutil.virtual_memory().total
    name, version = _system()
    return Inventory(
        os=_SYSTEMS.get(sys.platform, sys.platform),
        os_name=name,
        os_version=version,
        kernel=platform.release(),
        arch=_ARCHES.get(platform.machine().lower(), platform.machine().lower()),
        cpu_name=_cpu_name(),
        cpu_count=_cpu_count(limits),
        ram_bytes=ram if limits.memory_bytes is None else min(ram, limits.memory_bytes),
        swap_bytes=psutil.swap_memory().total,
        boot_time=psutil.boot_time(),
        file_systems=tuple(_file_systems(cache_dir)),
        devices=tuple(devices),
    )


def read_usage(devices: Sequence[DeviceUsage], cache_dir: Path) -> Usage:
    """What is in use. The processor's share is since the last call."""
    limits = cgroup.limits(read_text)
    memory = psutil.virtual_memory()
    used, available = memory.total - memory.available, memory.available
    if limits.memory_bytes is not None and limits.memory_bytes < memory.total:
        used = limits.memory_used_bytes if limits.memory_used_bytes is not None else used
        available = min(available, max(0, limits.memory_bytes - used))
    return Usage(
        cpu=psutil.cpu_percent(interval=None) / 100.0,
        ram_used_bytes=used,
        ram_available_bytes=available,
        swap_used_bytes=psutil.swap_memory().used,
        disk_available_bytes=psutil.disk_usage(str(_existing(cache_dir))).free,
        devices=tuple(devices),
    )


def oom_kills() -> int:
    """How many processes the kernel has killed for memory since it started; 0 where unknown."""
    for line in (read_text("/proc/vmstat") or "").splitlines():
        name, _, value = line.partition(" ")
        if name == "oom_kill" and value.isdigit():
            return int(value)
    return 0


def address_towards(server_url: str) -> str:
    """This machine's address on the way to the server. Nothing is sent: connecting a datagram
    socket only asks the routing table."""
    parts = urlsplit(server_url)
    host = parts.hostname or "127.0.0.1"
    try:
        found = socket.getaddrinfo(host, parts.port or 80, type=socket.SOCK_DGRAM)
        family, kind, protocol, _, address = found[0]
        with socket.socket(family, kind, protocol) as asking:
            asking.connect(address)
            return str(asking.getsockname()[0])
    except OSError:
        return "127.0.0.1"


def read_text(path: str) -> str | None:
    """A small text file, or None."""
    try:
        with Path(path).open("rb") as file:
            return file.read(1024 * 1024).decode("utf-8", "replace")
    except OSError:
        return None


def _cpu_count(limits: cgroup.Limits) -> int:
    count = len(psutil.Process().cpu_affinity()) if sys.platform == "linux" else 0
    count = count or psutil.cpu_count() or 1
    return count if limits.cpus is None else max(1, min(count, math.ceil(limits.cpus)))


def _cpu_name() -> str:
    for line in (read_text("/proc/cpuinfo") or "").splitlines():
        key, _, value = line.partition(":")
        if key.strip() in {"model name", "Model", "Hardware"}:
            return value.strip()
    return platform.processor() or platform.machine()


def _system() -> tuple[str, str]:
    if sys.platform == "darwin":
        return "macOS", platform.mac_ver()[0]
    if sys.platform == "win32":
        return "Windows", platform.version()
    try:
        release = platform.freedesktop_os_release()
    except OSError:
        return platform.system(), platform.release()
    return release.get("NAME", "Linux"), release.get("VERSION_ID", "")


def _file_systems(cache_dir: Path) -> Iterator[FileSystem]:
    """Real disks, each once, and whatever holds the model files."""
    cache_mount = _mount_of(cache_dir)
    seen: set[str] = set()
    for part in psutil.disk_partitions(all=True):
        holds_cache = part.mountpoint == cache_mount
        real = part.device.startswith(("/dev/", "//")) or sys.platform == "win32"
        if not holds_cache and (not real or part.fstype in _PSEUDO or part.device in seen):
            continue
        if part.mountpoint in seen or not Path(part.mountpoint).is_dir():
            continue
        seen.update((part.device, part.mountpoint))
        try:
            usage = psutil.disk_usage(part.mountpoint)
        except OSError:
            continue
        yield FileSystem(part.mountpoint, part.device, part.fstype, usage.total, usage.free)
        if len(seen) >= FILE_SYSTEMS_MAX * 2:
            return


def _mount_of(path: Path) -> str:
    place = _existing(path).resolve()
    while not place.is_mount() and place != place.parent:
        place = place.parent
    return str(place)


def _existing(path: Path) -> Path:
    while not path.exists() and path != path.parent:
        path = path.parent
    return path
