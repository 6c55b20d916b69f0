"""What may be handed out: one account per device and one for the RAM of each worker.

    free = total − reserved − claimed − foreign

* *reserved* is kept for the system, on every device and of the RAM.
* *claimed* is the sum of all committed placements, running or not: nothing is booked twice.
* *foreign* is what is measured to be in use and is not ours: other people's processes, and ours
  where they take more than they claimed. What an instance of ours is known to use (the engine's
  resident memory; on devices its claim, once it is ready) is not foreign; while that is not known,
  it counts as foreign beside the claim. So the account errs towards too little being free, and only
  until the next report.

Pure. Reads nothing; the caller brings what the store knows.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from aimindserve.core.device import EMPTY_USAGE, Inventory, Reserved, Usage
from aimindserve.core.ids import DeviceId, WorkerName
from aimindserve.core.placement import Placement
from aimindserve.scheduler.base import Snapshot, WorkerView


@dataclass(frozen=True, slots=True)
class Machine:
    """A worker as the store knows it."""

    name: WorkerName
    ready: bool
    cordoned: bool
    inventory: Inventory
    labels: Mapping[str, str] = field(default_factory=dict[str, str])
    usage: Usage = EMPTY_USAGE
    reserved: Reserved = field(default_factory=Reserved)
    service_ports: tuple[int, int] = (40000, 40063)


@dataclass(frozen=True, slots=True)
class Holding:
    """A committed placement and what is known of the processes behind it."""

    deployment: str
    placement: Placement
    loaded: bool = False
    """It answers requests, so all its memory is in use."""
    rss_bytes: int = 0
    """Resident memory of its processes; zero while they are not seen."""


@dataclass(frozen=True, slots=True)
class Account:
    """One device's memory or a worker's RAM, explained. Bytes."""

    total: int
    reserved: int
    claimed: int
    foreign: int

    @property
    def free(self) -> int:
        """What may be handed out; never below zero."""
        return max(self.total - self.reserved - self.claimed - self.foreign, 0)


@dataclass(frozen=True, slots=True)
class Accounts:
    """All accounts of one worker."""

    ram: Account
    devices: Mapping[DeviceId, Account]


def snapshot(revision: int, machines: Iterable[Machine], holdings: Iterable[Holding]) -> Snapshot:
    """Every worker with what is free on it, at `revision`."""
    by_worker: dict[WorkerName, list[Holding]] = defaultdict(list)
    for holding in holdings:
        for name in {rank.worker for rank in holding.placement.ranks}:
            by_worker[name].append(holding)
    ordered = sorted(machines, key=lambda machine: machine.name)
    return Snapshot(revision, tuple(view(each, by_worker[each.name]) for each in ordered))


def view(machine: Machine, holdings: Sequence[Holding]) -> WorkerView:
    """One worker as the scheduler sees it; `holdings` are those with a rank on it."""
    kept = accounts(machine, holdings)
    inventory = machine.inventory
    low, high = machine.service_ports
    ranks = sum(_ranks_here(machine.name, holding) for holding in holdings)
    return WorkerView(
        name=machine.name,
        ready=machine.ready,
        cordoned=machine.cordoned,
        os=inventory.os,
        arch=inventory.arch,
        labels=machine.labels,
        ram_bytes=inventory.ram_bytes,
        ram_free_bytes=kept.ram.free,
        devices=inventory.devices,
        device_free_bytes={
            device.id: min(kept.devices[device.id].free, kept.ram.free)
            if device.unified_memory
            else kept.devices[device.id].free
            for device in inventory.devices
        },
        ports_free=max(high - low + 1 - ranks, 0),
        service_ports=machine.service_ports,
        instances=Counter(holding.deployment for holding in holdings),
    )


def accounts(machine: Machine, holdings: Sequence[Holding]) -> Accounts:
    """The accounts of one worker; `holdings` are those with a rank on it."""
    claimed: Counter[DeviceId] = Counter()
    loaded: Counter[DeviceId] = Counter()
    for holding in holdings:
        for rank in holding.placement.ranks:
            for claim in rank.claims if rank.worker == machine.name else ():
                claimed[claim.device] += claim.memory_bytes
                loaded[claim.device] += claim.memory_bytes if holding.loaded else 0
    used = {usage.id: usage.memory_used_bytes for usage in machine.usage.devices}
    devices = {
        device.id: Account(
            total=device.memory_bytes,
            reserved=0 if device.unified_memory else machine.reserved.vram_bytes,
            claimed=claimed[device.id],
            foreign=max(used.get(device.id, 0) - loaded[device.id], 0),
        )
        for device in machine.inventory.devices
    }
    unified = {device.id for device in machine.inventory.devices if device.unified_memory}
    shared = sum(bytes_ for device, bytes_ in claimed.items() if device in unified)
    return Accounts(_ram(machine, holdings, shared), devices)


def _ram(machine: Machine, holdings: Sequence[Holding], shared: int) -> Account:
    claimed = shared
    own = 0
    for holding in holdings:
        claim = sum(
            rank.ram.total for rank in holding.placement.ranks if rank.worker == machine.name
        )
        claimed += claim
        own += min(holding.rss_bytes, claim)
    usage = machine.usage
    total = machine.inventory.ram_bytes
    # What is not available is more than what is called used: shared memory cannot be taken back.
    taken = max(total - usage.ram_available_bytes, 0) if usage.ram_available_bytes else 0
    used = max(usage.ram_used_bytes, taken)
    return Account(total, machine.reserved.ram_bytes, claimed, max(used - own, 0))


def _ranks_here(name: WorkerName, holding: Holding) -> int:
    return sum(1 for rank in holding.placement.ranks if rank.worker == name)
