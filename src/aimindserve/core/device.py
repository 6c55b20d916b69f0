"""What a machine has and how much of it is in use, as a worker reports it."""

from dataclasses import dataclass, field

from aimindserve.core.ids import DeviceId

DEVICE_TYPES = ("cuda", "rocm", "npu", "dcu", "musa", "corex", "mlu", "maca", "mps")
"""What kinds of accelerators there are, by the names of their platforms."""
SYSTEMS = ("linux", "darwin", "windows")
ARCHES = ("amd64", "arm64")


@dataclass(frozen=True, slots=True)
class Device:
    """One schedulable accelerator, or a slice of one. Sizes in bytes."""

    id: DeviceId
    index: int
    type: str
    """One of `DEVICE_TYPES`."""
    vendor: str
    name: str
    memory_bytes: int
    unified_memory: bool = False
    """The device's memory *is* the host's memory (Apple silicon, some SoCs)."""
    compute_capability: str | None = None
    driver_version: str | None = None
    uuid: str | None = None
    address: str | None = None
    """Its own IP address on the accelerators' network (Ascend), where it has one and it is up."""


@dataclass(frozen=True, slots=True)
class DeviceUsage:
    """Memory in use on a device as its driver tells, by all processes together."""

    id: DeviceId
    memory_used_bytes: int
    utilization: float = 0.0
    """0 to 1."""
    temperature_c: float | None = None
    processes: tuple[tuple[int, int], ...] | None = None
    """(process id, bytes) of those that hold memory there, the largest first; None when the driver
    does not tell, or tells numbers of another process namespace."""


@dataclass(frozen=True, slots=True)
class EngineUsage:
    """What one engine of ours held when the usage it belongs to was measured. Bytes."""

    instance: str
    placement_id: str
    run: int = 0
    ready: bool = False
    """It answered then, so it had loaded everything."""
    ram_bytes: int = 0
    """Host memory that is its own: what would be available again without it."""
    peak_bytes: int = 0
    """The highest resident memory of its processes so far, shared pages and file pages included."""
    devices: tuple[tuple[DeviceId, int], ...] = ()
    """What its processes hold on each device, for devices whose driver tells."""
    reported: tuple[tuple[str, int], ...] = ()
    """(place, bytes) that it says itself it has allocated: `cpu`, or the place of a device among
    its own, `0`, `1`; empty when it says nothing."""
    requests: int = 0
    """Requests it has been handed since its start, up to the few that matter to a measurement."""


@dataclass(frozen=True, slots=True)
class FileSystem:
    """A mounted file system. Sizes in bytes."""

    mount_point: str
    device: str
    type: str
    total_bytes: int
    available_bytes: int


@dataclass(frozen=True, slots=True)
class Inventory:
    """What exists on a worker; changes seldom."""

    os: str
    """linux, darwin, windows."""
    os_name: str
    os_version: str
    kernel: str
    arch: str
    """amd64, arm64."""
    cpu_name: str
    cpu_count: int
    ram_bytes: int
    swap_bytes: int
    boot_time: float
    """Seconds since the epoch."""
    file_systems: tuple[FileSystem, ...] = ()
    devices: tuple[Device, ...] = ()


@dataclass(frozen=True, slots=True)
class Usage:
    """What is consumed on a worker at one moment."""

    cpu: float
    """0 to 1 over all cores."""
    ram_used_bytes: int
    ram_available_bytes: int
    swap_used_bytes: int
    disk_available_bytes: int
    """Free space where the worker keeps model files."""
    devices: tuple[DeviceUsage, ...] = ()
    engines: tuple[EngineUsage, ...] = ()
    """What of all this our own engines take, measured together with it."""
    measured_at: float = 0.0
    """Seconds since the epoch by the worker's clock: reports may repeat a measurement."""


@dataclass(frozen=True, slots=True)
class Reserved:
    """Memory a worker keeps for its system: RAM once, device memory on each device. Bytes."""

    ram_bytes: int = 2 * 1024**3
    vram_bytes: int = 1 * 1024**3


NOTHING_RESERVED = Reserved(0, 0)

EMPTY_USAGE = Usage(
    cpu=0.0,
    ram_used_bytes=0,
    ram_available_bytes=0,
    swap_used_bytes=0,
    disk_available_bytes=0,
)


@dataclass(frozen=True, slots=True)
class MemoryParts:
    """Why a process needs the memory it needs, by part. Bytes."""

    weights: int = 0
    kv_cache: int = 0
    compute: int = 0
    runtime: int = 0
    projector: int = 0
    draft: int = 0
    """A second, small model that proposes tokens."""

    @property
    def total(self) -> int:
        """The sum of all parts."""
        return (
            self.weights + self.kv_cache + self.compute + self.runtime + self.projector + self.draft
        )

    def __add__(self, other: "MemoryParts") -> "MemoryParts":
        return MemoryParts(
            self.weights + other.weights,
            self.kv_cache + other.kv_cache,
            self.compute + other.compute,
            self.runtime + other.runtime,
            self.projector + other.projector,
            self.draft + other.draft,
        )


NO_MEMORY = MemoryParts()


@dataclass(frozen=True, slots=True)
class Need:
    """What one process of an instance needs: memory on each of its devices, memory of the host.
    Bytes."""

    devices: tuple[MemoryParts, ...] = ()
    """One entry per device, in the order in which the process will count them."""
    ram: MemoryParts = field(default=NO_MEMORY)
