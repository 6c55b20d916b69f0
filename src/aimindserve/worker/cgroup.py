"""What a control group leaves of the machine: the container's limits, not the host's size.

Pure: files come through `read`. Both layouts of Linux: the unified one (cgroup v2, memory.max,
cpu.max) and the older one (memory.limit_in_bytes, cpu.cfs_quota_us); kernel documentation,
admin-guide/cgroup-v2.rst and cgroup-v1/.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

Read = Callable[[str], str | None]
"""A file's text, or None when it cannot be read."""

ROOT = "/sys/fs/cgroup"
_UNLIMITED = 2**60


@dataclass(frozen=True, slots=True)
class Limits:
    """None where nothing is limited."""

    memory_bytes: int | None = None
    memory_used_bytes: int | None = None
    """Without caches that the kernel would give back."""
    cpus: float | None = None


def limits(read: Read) -> Limits:
    """The tightest limits among this process's group and all groups above it."""
    unified, memory, cpu = _own_groups(read("/proc/self/cgroup") or "")
    if unified is not None and read(f"{ROOT}/cgroup.controllers") is not None:
        return _unified(read, unified)
    return _older(read, memory or "/", cpu or "/")


def _own_groups(text: str) -> tuple[str | None, str | None, str | None]:
    """(unified, memory, cpu) paths out of /proc/self/cgroup."""
    unified = memory = cpu = None
    for line in text.splitlines():
        number, controllers, path = [*line.split(":", 2), "", "", ""][:3]
        if number == "0" and not controllers:
            unified = path
        names = controllers.split(",")
        if "memory" in names:
            memory = path
        if "cpu" in names:
            cpu = path
    return unified, memory, cpu


def _unified(read: Read, path: str) -> Limits:
    memory: int | None = None
    used: int | None = None
    cpus: float | None = None
    for group in _upwards(ROOT, path):
        limit = _number(read(f"{group}/memory.max"))
        if limit is not None and (memory is None or limit < memory):
            memory = limit
            used = _used(read, f"{group}/memory.current", f"{group}/memory.stat", "inactive_file")
        quota = (read(f"{group}/cpu.max") or "").split()
        if len(quota) == 2 and quota[0].isdigit() and int(quota[1]) > 0:
            cpus = _least(cpus, int(quota[0]) / int(quota[1]))
    return Limits(memory, used, cpus)


def _older(read: Read, memory_path: str, cpu_path: str) -> Limits:
    memory: int | None = None
    used: int | None = None
    cpus: float | None = None
    for group in _upwards(f"{ROOT}/memory", memory_path):
        limit = _number(read(f"{group}/memory.limit_in_bytes"))
        if limit is not None and (memory is None or limit < memory):
            memory = limit
            usage, stat = f"{group}/memory.usage_in_bytes", f"{group}/memory.stat"
            used = _used(read, usage, stat, "total_inactive_file")
    for group in _upwards(f"{ROOT}/cpu", cpu_path):
        quota = _number(read(f"{group}/cpu.cfs_quota_us"))
        period = _number(read(f"{group}/cpu.cfs_period_us"))
        if quota is not None and period:
            cpus = _least(cpus, quota / period)
    return Limits(memory, used, cpus)


def _upwards(root: str, path: str) -> Iterator[str]:
    """The group and all above it. Inside a container the path may not exist: reads then say None,
    and the root, which is the container's own group there, still counts."""
    parts = [part for part in path.split("/") if part and part != ".."]
    for length in range(len(parts), -1, -1):
        yield "/".join((root, *parts[:length]))


def _used(read: Read, current: str, stat: str, inactive: str) -> int | None:
    total = _number(read(current))
    if total is None:
        return None
    for line in (read(stat) or "").splitlines():
        name, _, value = line.partition(" ")
        if name == inactive and value.strip().isdigit():
            return max(0, total - int(value))
    return total


def _number(text: str | None) -> int | None:
    """A limit, or None for `max`, -1, and the huge numbers that mean no limit."""
    stripped = (text or "").strip()
    if not stripped.isdigit():
        return None
    return int(stripped) if int(stripped) < _UNLIMITED else None


def _least(one: float | None, other: float) -> float:
    return other if one is None else min(one, other)
