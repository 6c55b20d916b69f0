"""Accounts add up, and err towards too little being free."""

from aimindserve.core.device import (
    Device,
    DeviceUsage,
    Inventory,
    MemoryParts,
    Reserved,
    Usage,
)
from aimindserve.core.placement import Claim, Placement, Rank
from aimindserve.scheduler.ledger import Holding, Machine, accounts, snapshot, view

GIB = 1024**3


def machine(*, unified=False, used_gib=0, ram_used_gib=0, device_used_gib=0):
    device = Device(
        id="w:cuda:0",
        index=0,
        type="cuda",
        vendor="",
        name="",
        memory_bytes=24 * GIB,
        unified_memory=unified,
    )
    return Machine(
        name="w",
        ready=True,
        cordoned=False,
        labels={"zone": "a"},
        inventory=Inventory(
            os="linux",
            os_name="",
            os_version="",
            kernel="",
            arch="amd64",
            cpu_name="",
            cpu_count=8,
            ram_bytes=64 * GIB,
            swap_bytes=0,
            boot_time=0.0,
            devices=(device,),
        ),
        usage=Usage(
            cpu=0.0,
            ram_used_bytes=ram_used_gib * GIB,
            ram_available_bytes=0,
            swap_used_bytes=0,
            disk_available_bytes=0,
            devices=(DeviceUsage("w:cuda:0", device_used_gib * GIB),),
        ),
        reserved=Reserved(ram_bytes=2 * GIB, vram_bytes=1 * GIB),
        service_ports=(40000, 40003),
    )


def holding(*, device_gib=8, ram_gib=4, loaded=False, rss_gib=0, worker="w"):
    rank = Rank(
        worker,
        (Claim("w:cuda:0", MemoryParts(weights=device_gib * GIB)),),
        MemoryParts(runtime=ram_gib * GIB),
    )
    return Holding("d", Placement("p", "1 device", (rank,)), loaded, rss_gib * GIB)


def test_an_idle_machine_gives_all_but_what_is_reserved():
    seen = view(machine(), [])
    assert seen.ram_free_bytes == 62 * GIB
    assert seen.device_free_bytes == {"w:cuda:0": 23 * GIB}
    assert seen.ports_free == 4
    assert seen.labels == {"zone": "a"}


def test_a_claim_counts_before_anything_runs():
    seen = view(machine(), [holding()])
    assert seen.ram_free_bytes == 58 * GIB
    assert seen.device_free_bytes["w:cuda:0"] == 15 * GIB
    assert seen.ports_free == 3
    assert seen.instances == {"d": 1}


def test_what_others_use_is_not_free():
    kept = accounts(machine(ram_used_gib=10, device_used_gib=5), [])
    assert kept.ram.foreign == 10 * GIB
    assert kept.devices["w:cuda:0"].free == 18 * GIB


def test_what_a_ready_instance_uses_is_counted_once():
    busy = machine(ram_used_gib=14, device_used_gib=8)
    kept = accounts(busy, [holding(loaded=True, rss_gib=4)])
    assert kept.ram.foreign == 10 * GIB
    assert kept.ram.free == 48 * GIB
    assert kept.devices["w:cuda:0"].foreign == 0
    assert kept.devices["w:cuda:0"].free == 15 * GIB


def test_use_that_is_not_yet_known_to_be_ours_counts_beside_the_claim():
    kept = accounts(machine(device_used_gib=8), [holding(loaded=False)])
    assert kept.devices["w:cuda:0"].free == 7 * GIB


def test_more_use_than_claimed_is_foreign():
    kept = accounts(machine(ram_used_gib=9), [holding(ram_gib=4, loaded=True, rss_gib=9)])
    assert kept.ram.foreign == 5 * GIB


def test_free_is_never_negative():
    kept = accounts(machine(ram_used_gib=63, device_used_gib=24), [holding(device_gib=30)])
    assert kept.ram.free == 0
    assert kept.devices["w:cuda:0"].free == 0


def test_unavailable_memory_counts_even_where_it_is_not_called_used():
    from dataclasses import replace

    base = machine(ram_used_gib=1)
    base = replace(base, usage=replace(base.usage, ram_available_bytes=50 * GIB))
    assert accounts(base, []).ram.foreign == 14 * GIB


def test_a_device_that_shares_the_ram_takes_from_both():
    seen = view(machine(unified=True), [holding(device_gib=8, ram_gib=4)])
    assert seen.ram_free_bytes == (64 - 2 - 8 - 4) * GIB
    assert seen.device_free_bytes["w:cuda:0"] == 16 * GIB


def test_only_ranks_on_the_worker_count():
    world = snapshot(3, [machine()], [holding(worker="elsewhere")])
    assert world.revision == 3
    assert world.workers[0].ram_free_bytes == 62 * GIB
    assert world.workers[0].instances == {}
