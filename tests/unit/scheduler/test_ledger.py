"""Accounts add up, and err towards too little being free."""

from dataclasses import replace

from aimindserve.core.device import (
    Device,
    DeviceUsage,
    EngineUsage,
    Inventory,
    MemoryParts,
    Reserved,
    Usage,
)
from aimindserve.core.ids import DeviceId
from aimindserve.core.placement import Claim, Placement, Rank
from aimindserve.scheduler.ledger import (
    LOOKS_AT_LEAVING,
    LOOKS_AT_NOTHING,
    Holding,
    Machine,
    Stage,
    accounts,
    attribution,
    claims_here,
    snapshot,
    view,
)

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


def holding(*, device_gib=8, ram_gib=4, worker="w", name="p", stopping=False):
    rank = Rank(
        worker,
        (Claim("w:cuda:0", MemoryParts(weights=device_gib * GIB)),),
        MemoryParts(runtime=ram_gib * GIB),
    )
    return Holding("d", Placement(name, "1 device", (rank,)), f"i-{name}", stopping)


def engine(*, name="p", ready=True, ram_gib=0, device_gib=None, run=1):
    devices = () if device_gib is None else ((DeviceId("w:cuda:0"), device_gib * GIB),)
    return EngineUsage(f"i-{name}", name, run, ready, ram_gib * GIB, ram_gib * GIB, devices)


def seen(base, *engines, before=None, holdings=()):
    """The machine with `engines` in its usage, and what follows from that."""
    usage = replace(base.usage, engines=engines)
    known = attribution(usage, claims_here("w", holdings), before or {})
    return replace(base, usage=usage, attribution=known)


def card(made, holdings=()):
    return accounts(made, holdings).devices["w:cuda:0"]


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
    account = card(machine(), [holding()])
    assert [booking.stage for booking in account.bookings] == [Stage.PLACED]
    assert account.in_flight == 8 * GIB


def test_what_others_use_is_not_free():
    kept = accounts(machine(ram_used_gib=10, device_used_gib=5), [])
    assert kept.ram.foreign == 10 * GIB
    assert kept.devices["w:cuda:0"].free == 18 * GIB


def test_what_a_ready_instance_uses_is_counted_once():
    busy = seen(machine(ram_used_gib=14, device_used_gib=8), engine(ram_gib=4, device_gib=8))
    kept = accounts(busy, [holding()])
    assert kept.ram.foreign == 10 * GIB
    assert kept.ram.free == 48 * GIB
    assert kept.devices["w:cuda:0"].foreign == 0
    assert kept.devices["w:cuda:0"].free == 15 * GIB


def test_what_is_loading_is_not_foreign_and_what_it_still_wants_stays_its_own():
    busy = seen(machine(device_used_gib=7), engine(ready=False, device_gib=3))
    account = card(busy, [holding()])
    assert account.foreign == 4 * GIB
    assert account.free == (24 - 1 - 8 - 4) * GIB
    assert account.in_flight == 8 * GIB


def test_a_driver_that_tells_nothing_is_understood_from_one_measurement_to_the_next():
    held = [holding()]
    quiet = seen(machine(device_used_gib=5), holdings=held)
    assert card(quiet, held).foreign == 5 * GIB
    loading = seen(
        machine(device_used_gib=9), engine(ready=False), before=quiet.attribution, holdings=held
    )
    assert card(loading, held).foreign == 5 * GIB
    ready = seen(machine(device_used_gib=11), engine(), before=loading.attribution, holdings=held)
    assert card(ready, held).foreign == 5 * GIB
    assert card(ready, held).bookings[0].used == 6 * GIB
    ready = seen(machine(device_used_gib=11), engine(), before=ready.attribution, holdings=held)
    less = seen(machine(device_used_gib=8), engine(), before=ready.attribution, holdings=held)
    assert card(less, held).foreign == 2 * GIB  # others gave back three
    more = seen(machine(device_used_gib=16), engine(), before=less.attribution, holdings=held)
    assert card(more, held).foreign == 10 * GIB  # whoever grew: it is not free


def test_a_driver_that_lags_does_not_make_an_engine_somebody_else():
    held = [holding()]
    world = seen(machine(device_used_gib=5), holdings=held)
    for used in (5, 5, 5, 12, 12):  # ready all the time, and told of late
        world = seen(
            machine(device_used_gib=used), engine(), before=world.attribution, holdings=held
        )
    assert card(world, held).foreign == 5 * GIB
    assert card(world, held).bookings[0].used == 7 * GIB


def test_who_began_in_the_very_place_of_another_is_not_foreign_for_ever():
    """Between two measurements one engine went and an equal one came: nothing was seen to grow."""
    held = [holding()]
    world = seen(machine(device_used_gib=7), holdings=held)
    assert card(world, held).foreign == 7 * GIB
    for _ in range(LOOKS_AT_NOTHING):
        world = seen(machine(device_used_gib=7), engine(), before=world.attribution, holdings=held)
        assert card(world, held).foreign == 7 * GIB, "a driver may lag for so long"
    world = seen(machine(device_used_gib=7), engine(), before=world.attribution, holdings=held)
    account = card(world, held)
    assert (account.foreign, account.bookings[0].used) == (0, 7 * GIB)
    assert not account.bookings[0].sure
    # Should it have been somebody else's after all, what comes later is not handed out either.
    world = seen(machine(device_used_gib=14), engine(), before=world.attribution, holdings=held)
    assert card(world, held).foreign == 7 * GIB


def test_engines_that_load_together_are_told_apart_when_all_of_them_are_ready():
    held = [holding(name="p"), holding(name="q")]
    world = seen(machine(device_used_gib=5), holdings=held)
    # The first is ready and holds six of its eight; the second still reads its file.
    for used, second_ready in ((11, False), (11, False), (17, False), (17, True), (17, True)):
        engines = (engine(name="p"), engine(name="q", ready=second_ready))
        world = seen(
            machine(device_used_gib=used), *engines, before=world.attribution, holdings=held
        )
        assert card(world, held).foreign == 5 * GIB
    assert [booking.used for booking in card(world, held).bookings] == [6 * GIB, 6 * GIB]


def test_without_any_memory_of_before_who_is_ready_is_believed_his_claim():
    held = [holding()]
    ready = seen(machine(device_used_gib=10), engine(), holdings=held)
    assert card(ready, held).foreign == 2 * GIB
    loading = seen(machine(device_used_gib=10), engine(ready=False), holdings=held)
    assert card(loading, held).foreign == 10 * GIB
    then = seen(machine(device_used_gib=10), engine(), before=loading.attribution, holdings=held)
    assert card(then, held).foreign == 2 * GIB  # not double for ever


def test_the_next_run_of_an_engine_begins_with_nothing():
    held = [holding()]
    before = seen(machine(device_used_gib=5), holdings=held)
    first = seen(machine(device_used_gib=13), engine(), before=before.attribution, holdings=held)
    second = seen(
        machine(device_used_gib=6),
        engine(ready=False, run=2),
        before=first.attribution,
        holdings=held,
    )
    assert card(second, held).foreign == 5 * GIB


def test_what_has_ended_is_not_foreign_for_a_while_and_not_free_before_it_is_proven():
    held = [holding()]
    ready = seen(machine(device_used_gib=10), engine(device_gib=8), holdings=held)
    world = ready
    for _ in range(LOOKS_AT_LEAVING):
        world = seen(machine(device_used_gib=10), before=world.attribution)
        account = card(world)
        assert (account.foreign, account.free) == (2 * GIB, 13 * GIB)
        assert account.bookings[0].stage is Stage.LEAVING
    stuck = seen(machine(device_used_gib=10), before=world.attribution)
    assert (card(stuck).foreign, card(stuck).free) == (10 * GIB, 13 * GIB)
    gone = seen(machine(device_used_gib=2), before=world.attribution)
    assert (card(gone).foreign, card(gone).free) == (2 * GIB, 21 * GIB)


def test_an_instance_that_is_to_stop_keeps_what_it_holds_until_it_has():
    busy = seen(machine(device_used_gib=8), engine(device_gib=8))
    account = card(busy, [holding(stopping=True)])
    assert account.bookings[0].stage is Stage.LEAVING
    assert account.free == 15 * GIB
    deleted = card(busy, [])  # nobody knows the instance any more, and its engine lives
    assert (deleted.foreign, deleted.free) == (0, 15 * GIB)


def test_more_use_than_claimed_counts_too():
    busy = seen(machine(ram_used_gib=9, device_used_gib=10), engine(ram_gib=9, device_gib=10))
    kept = accounts(busy, [holding()])
    assert (kept.ram.foreign, kept.ram.over, kept.ram.free) == (0, 5 * GIB, 53 * GIB)
    assert (kept.devices["w:cuda:0"].over, kept.devices["w:cuda:0"].free) == (2 * GIB, 13 * GIB)


def test_several_instances_share_a_device():
    held = [holding(), holding(name="q", device_gib=4)]
    busy = seen(
        machine(device_used_gib=13),
        engine(device_gib=7),
        engine(name="q", device_gib=4),
        holdings=held,
    )
    assert card(busy, held).foreign == 2 * GIB
    assert card(busy, held).free == (24 - 1 - 8 - 4 - 2) * GIB


def test_a_report_from_before_the_placement_says_nothing_against_it():
    old = seen(machine(device_used_gib=3))
    account = card(old, [holding()])
    assert (account.foreign, account.claimed) == (3 * GIB, 8 * GIB)


def test_what_is_measured_counts_in_whole_grains_and_claims_to_the_byte():
    busy = machine(device_used_gib=0)
    busy = replace(
        busy, usage=replace(busy.usage, devices=(DeviceUsage("w:cuda:0", GIB // 2 + 1),))
    )
    seen = view(busy, [holding()], grain=GIB)
    assert seen.device_free_bytes["w:cuda:0"] == (24 - 1 - 8 - 1) * GIB


def test_free_is_never_negative():
    kept = accounts(machine(ram_used_gib=63, device_used_gib=24), [holding(device_gib=30)])
    assert kept.ram.free == 0
    assert kept.devices["w:cuda:0"].free == 0


def test_unavailable_memory_counts_even_where_it_is_not_called_used():
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
