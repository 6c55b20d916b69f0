"""The latest picture of the machine: refreshed on its own beat, so that no report waits for a tool.

An inventory that differs only by a little free disk space is the same inventory: the server stores
inventories, and what changes all the time has no place in a store.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from aimindserve.core.device import EMPTY_USAGE, Device, Inventory, Usage
from aimindserve.core.launch import Installation
from aimindserve.kit.clock import Clock
from aimindserve.worker.edges import Machine
from aimindserve.worker.measured import Engine, joined

INVENTORY_S = 60.0
USAGE_S = 10.0
NOISE_BYTES = 1024**3
NOISE_SHARE = 0.02


class Survey:
    """What the machine has and uses, as seen last."""

    def __init__(
        self, machine: Machine, clock: Clock, engines: Callable[[], Sequence[Engine]] = tuple
    ) -> None:
        """`engines` says which of ours live, and what each holds of the host."""
        self._engines = engines
        self._machine = machine
        self._clock = clock
        self._inventory: Inventory | None = None
        self._due = 0.0
        self._begun = 0
        self._newest = 0
        self.devices: Mapping[str, Sequence[Device]] = {}
        self.installations: Sequence[Installation] = ()
        self.usage: Usage = EMPTY_USAGE

    @property
    def inventory(self) -> Inventory:
        """What there is; `refresh` has run before anybody asks."""
        if self._inventory is None:
            raise RuntimeError("the machine has not been surveyed yet")
        return self._inventory

    @property
    def done(self) -> bool:
        """Whether the machine has been looked at."""
        return self._inventory is not None

    async def refresh(self, worker: str) -> None:
        """Look again: usage always, the inventory when its time has come."""
        now = self._clock.monotonic()
        if self._inventory is None or now >= self._due:
            self.devices = await self._machine.devices(worker)
            self.installations = await self._machine.installations()
            found = [device for devices in self.devices.values() for device in devices]
            fresh = await self._machine.inventory(found)
            self._inventory = settled(self._inventory, fresh)
            self._due = now + INVENTORY_S
        self._begun += 1
        mine, before = self._begun, self._engines()
        at = round(self._clock.now(), 3)
        usage = joined(await self._machine.usage(worker), before, self._engines())
        usage = replace(usage, measured_at=at)
        if mine > self._newest:  # one that began later may have been quicker
            self._newest, self.usage = mine, usage

    async def watch(self, worker: str) -> None:
        """Refresh for ever."""
        while True:
            await self._clock.sleep(USAGE_S)
            await self.refresh(worker)


def settled(before: Inventory | None, fresh: Inventory) -> Inventory:
    """`fresh`, or `before` when the difference is only noise."""
    if before is None:
        return fresh
    steady = replace(fresh, boot_time=before.boot_time)
    if abs(fresh.boot_time - before.boot_time) > 60.0:
        return fresh
    levelled = replace(steady, file_systems=())
    if levelled != replace(before, file_systems=()) or _moved(before, fresh):
        return steady
    return before


def _moved(before: Inventory, fresh: Inventory) -> bool:
    if len(before.file_systems) != len(fresh.file_systems):
        return True
    for old, new in zip(before.file_systems, fresh.file_systems, strict=True):
        limit = max(NOISE_BYTES, int(old.total_bytes * NOISE_SHARE))
        change = abs(old.available_bytes - new.available_bytes)
        if replace(new, available_bytes=old.available_bytes) != old or change > limit:
            return True
    return False
