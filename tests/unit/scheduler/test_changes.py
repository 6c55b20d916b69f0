"""A change that is told makes the ask fit; none is told that does not, and the smallest first."""

from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st

from aimindserve.core.device import Device, Inventory, MemoryParts, Need, Reserved
from aimindserve.core.placement import Claim, Placement, Rank
from aimindserve.core.shape import Requirement, Shape
from aimindserve.scheduler import changes as changing
from aimindserve.scheduler.base import Ask, Snapshot
from aimindserve.scheduler.changes import LeftOut, Variant
from aimindserve.scheduler.ledger import Holding, Machine, snapshot
from aimindserve.scheduler.occupants import Occupant
from aimindserve.scheduler.pack import release, take
from aimindserve.scheduler.plan import plan
from aimindserve.scheduler.shrink import Crew
from unit.scheduler import worlds

GIB = 1024**3


def machine(name, devices=1, **more):
    cards = tuple(
        Device(f"{name}:cuda:{at}", at, "cuda", "nvidia", "H100", 80 * GIB) for at in range(devices)
    )
    inventory = Inventory(
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
        devices=cards,
    )
    given = {"ready": True, "cordoned": False, **more}
    return Machine(name=name, inventory=inventory, reserved=Reserved(0, 0), **given)


def ask(gib, devices=1, **more):
    need = Need(devices=(MemoryParts(weights=gib * GIB),) * devices)
    shape = Shape("on devices", (need,), Requirement(device_types=("cuda",)))
    return Ask("new-1", "new", "p", (shape,), **more)


def occupant(name, worker, gib, device=0):
    claim = Claim(f"{worker}:cuda:{device}", MemoryParts(weights=gib * GIB))
    placement = Placement(f"p-{name}", "1 device", (Rank(worker, (claim,)),))
    return Occupant(name, name.rpartition("-")[0], placement)


def world(machines, occupants=()):
    holdings = [Holding(each.deployment, each.placement) for each in occupants]
    return snapshot(1, machines, holdings)


def smallest(snapshot, wanted, variants=(), occupants=()):
    """For one ask, or several of which none has a place; each deployment stops its last first."""
    asks = wanted if isinstance(wanted, tuple) else (wanted,)
    by_name = {}
    for each in occupants:
        by_name.setdefault(each.deployment, []).insert(0, each)
    crews = [Crew(name, tuple(members)) for name, members in by_name.items()]
    left_out = LeftOut(asks, snapshot, asks, snapshot)
    return changing.smallest(left_out, variants, crews)


def to(other):
    """A variant that asks as `other`."""
    return lambda ask: replace(ask, shapes=other.shapes)


def kinds(changes):
    return [change.kind for change in changes]


def test_what_fits_needs_no_change():
    assert smallest(world([machine("a")]), ask(8)) == ()


def test_nothing_is_told_where_nothing_helps():
    assert smallest(world([machine("a")]), ask(500), (), [occupant("x-1", "a", 8)]) == ()


def test_the_rule_that_keeps_it_out_is_named_and_no_other():
    here = world([machine("a", labels={"zone": "x", "rack": "1"})])
    (change,) = smallest(here, ask(8, selector={"zone": "y", "rack": "1"}))
    assert change.kind == "worker_selector"
    assert change.params == {"rule": "zone=y", "worker": "a"}
    assert change.patch == {"worker_selector": {"zone": None}}


def test_a_cordoned_and_a_lost_worker_are_told_by_name():
    here = world([machine("a", cordoned=True), machine("b", ready=False), machine("c", devices=0)])
    changes = smallest(here, ask(8))
    assert [(each.kind, each.params["worker"]) for each in changes] == [
        ("uncordon", "a"),
        ("worker_back", "b"),
    ]


def test_one_small_instance_is_stopped_rather_than_a_large_one():
    occupants = [
        occupant("big-1", "a", 60),
        occupant("small-1", "a", 12),
        occupant("other-1", "b", 70),
    ]
    (change,) = smallest(world([machine("a"), machine("b")], occupants), ask(20), (), occupants)
    assert (change.kind, change.stop) == ("scale_down", ("small-1",))
    assert change.scale == {"small": 0}
    assert change.params["commands"] == ["aimindserve scale small 0"]
    assert change.params["size"] == 12 * GIB
    assert change.placement.worker == "a"


def test_as_many_are_stopped_as_it_takes_and_none_more():
    occupants = [occupant(f"x-{at}", "a", 20, device=at % 2) for at in range(6)]
    here = world([machine("a", devices=2)], occupants)
    (change,) = smallest(here, ask(60, devices=2), (), occupants)
    assert len(change.stop) == 4


def test_the_first_variant_that_fits_is_told_of_each_kind():
    here = world([machine("a")])
    variants = [
        Variant("context", to(ask(200)), {"to": 8192}),
        Variant("context", to(ask(70)), {"to": 4096}),
        Variant("context", to(ask(40)), {"to": 2048}),
        Variant("quantization", to(ask(50)), {"to": "Q4_K_M"}),
    ]
    changes = smallest(here, ask(300), variants)
    assert [(each.kind, each.params["to"]) for each in changes] == [
        ("context", 4096),
        ("quantization", "Q4_K_M"),
    ]


def test_a_deployment_stops_whom_it_would_stop_and_no_others():
    """The one on the worker in question is the last that would go."""
    occupants = [occupant(f"x-{at}", worker, 60) for at, worker in enumerate(("a", "b", "c"))]
    here = world([machine("a", labels={"zone": "y"}), machine("b"), machine("c")], occupants)
    (change,) = [
        each
        for each in smallest(here, ask(40, selector={"zone": "y"}), (), occupants)
        if each.kind == "scale_down"
    ]
    assert change.scale == {"x": 0}
    assert change.stop == ("x-0", "x-1", "x-2")


def test_nobody_is_told_to_stop_its_own_kind():
    occupants = [occupant("new-0", "a", 60)]
    assert smallest(world([machine("a")], occupants), ask(40), (), occupants) == ()


def test_two_that_are_enough_are_told_and_not_four():
    """Giving back the smallest first would keep four small ones."""
    sizes = {"p": 10, "q": 10, "r": 10, "s": 9, "t": 39}
    occupants = [occupant(f"{name}-1", "a", size) for name, size in sizes.items()]
    (change,) = smallest(world([machine("a")], occupants), ask(51), (), occupants)
    assert change.scale == {"p": 0, "t": 0}


def test_a_change_must_help_everybody_who_is_left_out():
    occupants = [occupant("x-1", "a", 60), occupant("y-1", "b", 60)]
    here = world([machine("a"), machine("b"), machine("c", cordoned=True)], occupants)
    two = tuple(replace(ask(70), instance=f"new-{at}") for at in (1, 2))
    (change,) = smallest(here, two, [Variant("context", to(ask(60)))], occupants)
    assert change.scale == {"x": 0, "y": 0}
    assert kinds(smallest(here, two[:1], (), occupants)) == ["uncordon", "scale_down"]


def test_another_spec_holds_for_those_that_have_a_place_as_well():
    """One of two is placed; a smaller cache helps the other only if both take it."""
    here = world([machine("a")])
    both = tuple(replace(ask(50), instance=f"new-{at}") for at in (1, 2))
    after = replace(
        here,
        workers=(take(here.workers[0], plan(here, both[:1]).placements["new-1"].ranks, "new"),),
    )
    left_out = LeftOut(both, here, both[1:], after)
    large, small = Variant("context", to(ask(45))), Variant("kv_type", to(ask(40)))
    assert kinds(changing.smallest(left_out, [large, small])) == ["kv_type"]


def test_the_limit_on_one_worker_is_told():
    here = world([machine("a", devices=2)])
    here = replace(here, workers=(replace(here.workers[0], instances={"new": 1}),))
    (change,) = smallest(here, ask(40, instances_per_worker_max=1))
    assert (change.kind, change.params["limit"]) == ("instances_per_worker_max", 1)
    assert change.patch == {"instances_per_worker_max": None}


@given(
    st.lists(st.tuples(st.integers(0, 2), st.integers(0, 1), st.integers(1, 40)), max_size=8),
    st.integers(1, 90),
    st.integers(1, 2),
)
@settings(max_examples=30, deadline=None)
def test_a_world_without_the_stopped_instances_takes_it(held, gib, devices):
    """The world is built anew from what is left, so the way a change was tried does not matter."""
    machines = [machine(name, devices=2) for name in ("a", "b", "c")]
    room: dict[str, int] = {}
    occupants = []
    for at, (worker, device, size) in enumerate(held):
        key = f"{'abc'[worker]}:{device}"
        if room.get(key, 0) + size <= 80:
            room[key] = room.get(key, 0) + size
            occupants.append(occupant(f"d{at % 3}-{at}", "abc"[worker], size, device))
    wanted = ask(gib, devices)
    changes = smallest(world(machines, occupants), wanted, (), occupants)
    fits_empty = bool(plan(world(machines), [wanted]).placements)
    fits_now = bool(plan(world(machines, occupants), [wanted]).placements)
    assert kinds(changes) == (["scale_down"] if fits_empty and not fits_now else [])
    for change in changes:
        left = [each for each in occupants if each.instance not in change.stop]
        assert plan(world(machines, left), [wanted]).placements
        for name, count in change.scale.items():  # of none could one more stay
            of_it = [each for each in occupants if each.deployment == name]
            assert len(of_it) - count == sum(each.instance in change.stop for each in of_it)
            staying = [*left, of_it[count]]
            assert not plan(world(machines, staying), [wanted]).placements


def test_an_empty_cluster_is_no_error():
    assert smallest(Snapshot(1, ()), ask(8)) == ()


@given(worlds.snapshots(), worlds.ask_lists())
@settings(max_examples=20, deadline=None)
def test_what_is_released_is_what_was_taken(snapshot, asks):
    before = {worker.name: worker for worker in snapshot.workers}
    for ask in asks:
        placement = plan(snapshot, [ask]).placements.get(ask.instance)
        for name in {rank.worker for rank in placement.ranks} if placement else ():
            ranks = [rank for rank in placement.ranks if rank.worker == name]
            released = release(take(before[name], ranks, ask.deployment), placement, ask.deployment)
            assert replace(released, devices_of={}) == before[name]
            assert not any(released.devices_of.values())
