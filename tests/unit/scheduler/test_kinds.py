"""What was measured on one kind of device sizes a shape there, and nowhere else."""

from dataclasses import replace

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from aimindserve.core.device import Device, MemoryParts, Need
from aimindserve.core.reason import Reason
from aimindserve.core.shape import DERIVED, ESTIMATED, MEASURED, ROUGH, Layers, OnKind, Shape
from aimindserve.scheduler.base import Ask, Snapshot, WorkerView
from aimindserve.scheduler.explain import record
from aimindserve.scheduler.plan import plan
from unit.scheduler import worlds

GIB = 1024**3
FORMULA = MemoryParts(weights=30 * GIB)
RAM = MemoryParts(runtime=GIB)


def worker(name, *devices, processor="Xeon", ram_gib=64):
    """`devices`: (kind, GiB free)."""
    made = tuple(
        Device(f"{name}:cuda:{at}", at, "cuda", "", kind, 80 * GIB)
        for at, (kind, _) in enumerate(devices)
    )
    free = {each.id: gib * GIB for each, (_, gib) in zip(made, devices, strict=True)}
    ram = ram_gib * GIB
    view = WorkerView(name, True, False, "linux", "amd64", {}, ram, ram, made, free)
    return replace(view, processor=processor)


def on(kind, *sizes_gib, confidence=MEASURED, ram=RAM):
    parts = tuple(MemoryParts(weights=size * GIB) for size in sizes_gib)
    return OnKind(kind, (Need(parts, ram),), confidence=confidence)


def shape(*kinds, devices=1, **fields):
    return Shape("s", (Need((FORMULA,) * devices, RAM),), kinds=kinds, **fields)


def place(shape, *workers, **fields):
    ask = Ask("i", "d", "p", (shape,), **fields)
    return plan(Snapshot(1, workers), [ask]).placements.get("i")


def claims(placement):
    return {
        claim.device: claim.memory_bytes // GIB for rank in placement.ranks for claim in rank.claims
    }


def test_a_measurement_counts_on_its_own_kind_alone():
    known = shape(on("H200", 10))
    other = worker("l40", ("L40", 20))
    assert place(known, other) is None
    made = place(known, other, worker("h200", ("H200", 12)))
    assert (claims(made), made.confidence) == ({"h200:cuda:0": 10}, MEASURED)
    made = place(known, worker("l40", ("L40", 40)))
    assert (claims(made), made.confidence) == ({"l40:cuda:0": 30}, ESTIMATED)


def test_who_took_more_on_one_kind_is_not_refused_on_another():
    known = shape(on("H200", 50))
    assert place(known, worker("h200", ("H200", 40))) is None
    assert claims(place(known, worker("l40", ("L40", 40)))) == {"l40:cuda:0": 30}


def test_a_worker_with_both_kinds_uses_either_by_its_own_size():
    known = shape(on("H200", 10))
    assert claims(place(known, worker("w", ("L40", 20), ("H200", 12)))) == {"w:cuda:1": 10}
    assert claims(place(known, worker("w", ("L40", 32), ("H200", 8)))) == {"w:cuda:0": 30}
    roomy = worker("w", ("L40", 70), ("H200", 60))
    assert claims(place(known, roomy)) == {"w:cuda:0": 30}
    assert claims(place(known, roomy, strategy="binpack")) == {"w:cuda:1": 10}
    made = plan(
        Snapshot(1, (worker("w", ("L40", 20), ("H200", 8)),)), [Ask("i", "d", "p", (known,))]
    )
    answers = record(made.decisions["i"])["devices"]
    assert [each["need_bytes"] // GIB for each in answers] == [30, 10]


def test_several_devices_of_unlike_kinds_take_the_larger_of_what_each_needs():
    known = shape(on("H200", 10, 12), on("L40", 22, 20), devices=2)
    mixed = worker("w", ("L40", 32), ("H200", 32))
    made = place(known, mixed)
    assert (sorted(claims(made).values()), made.confidence) == ([20, 22], DERIVED)
    alike = worker("w", ("L40", 32), ("H200", 32), ("H200", 32))
    assert set(claims(place(known, alike))) == {"w:cuda:1", "w:cuda:2"}
    # Where just that mix was measured, it is known; not, which of the two had which.
    made = place(replace(known, kinds=(*known.kinds, on("H200, L40", 14, 15))), mixed)
    assert (claims(made), made.confidence) == ({"w:cuda:0": 15, "w:cuda:1": 15}, MEASURED)
    # And where one of the kinds is unknown, the formula stands for it.
    made = place(known, worker("w", ("A100", 32), ("H200", 32)))
    assert (claims(made), made.confidence) == ({"w:cuda:0": 30, "w:cuda:1": 30}, ESTIMATED)


def test_without_devices_it_is_the_processor_that_counts():
    small = MemoryParts(runtime=2 * GIB)
    known = Shape("cpu", (Need(ram=MemoryParts(runtime=8 * GIB)),), kinds=(on("EPYC", ram=small),))
    assert place(known, worker("a", ram_gib=4)) is None
    made = place(known, worker("a", ram_gib=4), worker("b", ram_gib=4, processor="EPYC"))
    assert (made.worker, made.ranks[0].ram, made.confidence) == ("b", small, MEASURED)


def test_a_cut_model_is_cut_by_what_its_kind_takes():
    layers = Layers((MemoryParts(GIB),) * 10, (MemoryParts(GIB),) * 10, least=1)
    heavy = OnKind(
        "H200", (Need(ram=RAM),), replace(layers, overhead=MemoryParts(4 * GIB)), DERIVED
    )
    cut = Shape("s", (Need(ram=RAM),), layers=layers, kinds=(heavy,))
    made = place(cut, worker("w", ("H200", 8)))
    assert [claim.layers for claim in made.ranks[0].claims] == [4]
    assert made.confidence == DERIVED
    made = place(cut, worker("w", ("L40", 8)), worker("v", ("H200", 8)))
    assert (made.worker, made.ranks[0].claims[0].layers) == ("w", 8)  # more of it on the device


def test_each_rank_on_several_workers_takes_what_its_own_kind_does():
    rank = Need((FORMULA,), RAM)
    kinds = tuple(
        OnKind(kind, (Need((MemoryParts(size * GIB),), RAM),) * 2)
        for kind, size in (("H200", 10), ("L40", 20))
    )
    across = Shape("s", (rank, rank), across=True, kinds=kinds)
    made = place(across, worker("a", ("H200", 12)), worker("b", ("L40", 24)))
    assert claims(made) == {"a:cuda:0": 10, "b:cuda:0": 20}
    assert made.confidence == MEASURED
    assert place(across, worker("a", ("H200", 12)), worker("b", ("A100", 24))) is None
    made = place(across, worker("a", ("H200", 12)), worker("b", ("A100", 40)))
    assert made.confidence == ESTIMATED


def test_devices_of_other_workers_take_the_most_of_any_that_could_be_meant():
    layers = Layers(
        (MemoryParts(10 * GIB),) * 4, (MemoryParts(10 * GIB),) * 4,
        least=4, devices_max=4, remote_max=2,
    )  # fmt: skip
    heavy = OnKind("H200", (Need(ram=RAM),), replace(layers, overhead=MemoryParts(GIB)), DERIVED)
    cut = Shape("s", (Need(ram=RAM),), layers=layers, kinds=(heavy,))
    made = place(cut, worker("a", ("H200", 22)), worker("b", ("L40", 22)))
    assert sorted(claims(made).values()) == [21, 21]
    assert place(cut, worker("a", ("H200", 20)), worker("b", ("L40", 20))) is None


def test_where_it_ran_out_of_memory_it_is_judged_by_the_size_it_has_there():
    failed = {"w:cuda:0": Reason("oom_before", {"shape": "other", "failed_bytes": 20 * GIB})}
    h200 = worker("w", ("H200", 60))
    assert place(shape(), h200, failures=failed) is None
    assert place(shape(on("H200", 10)), h200, failures=failed) is not None
    ram = {"w:ram": Reason("oom_before", {"shape": "other", "failed_bytes": GIB // 2})}
    less = MemoryParts(runtime=GIB // 4)
    assert place(shape(), h200, failures=ram) is None
    assert place(shape(on("H200", 10, ram=less)), h200, failures=ram) is not None


def test_what_is_trusted_least_is_what_is_said():
    mixed = shape(on("H200", 40, confidence=DERIVED), confidence=ROUGH)
    assert mixed.over({"H200", "L40"}).confidence == ROUGH
    assert mixed.over({"H200"}).confidence == DERIVED
    assert mixed.over(()) == replace(mixed, kinds=())


@pytest.mark.parametrize("strategy", ["spread", "binpack"])
def test_chosen_by_hand_it_is_claimed_by_its_kind_with_or_without_room(strategy):
    known = shape(on("H200", 10))
    crowded = worker("w", ("L40", 2), ("H200", 4))
    made = place(known, crowded, device_ids=("w:cuda:1",), devices_each=1, strategy=strategy)
    assert claims(made) == {"w:cuda:1": 10}
    assert [each.code for each in made.warnings] == ["overcommitted"]


@given(worlds.snapshots(), worlds.asks(0, kinds=worlds.measured(worlds.shapes(1))))
@settings(max_examples=150, deadline=None)
def test_a_place_on_one_device_is_never_missed_and_never_too_small(snapshot, ask):
    """Brute force over every device, each with what the shape needs on its kind."""
    assume(all(len(shape.ranks[0].devices) < 2 for shape in ask.shapes))

    def room(worker, shape):
        if not worker.ready or worker.cordoned or worker.ports_free < 1:
            return
        if any(worker.labels.get(key) != value for key, value in ask.selector.items()):
            return
        types = shape.requirement.device_types
        if not shape.takes_devices:
            need = shape.on(worker.processor).ranks[0]
            usable = not types or any(device.type in types for device in worker.devices)
            if usable and need.ram.total <= worker.ram_free_bytes:
                yield worker.name, (), need.ram
            return
        for device in worker.devices:
            need = shape.on(device.name).ranks[0]
            claim = max(need.devices[0].total, int(device.memory_bytes * shape.device_fraction))
            shared = claim if device.unified_memory else 0
            if (
                (not types or device.type in types)
                and claim <= worker.device_free_bytes[device.id]
                and need.ram.total + shared <= worker.ram_free_bytes
            ):
                yield worker.name, ((device.id, claim),), need.ram

    rooms = [[*room(worker, shape)] for shape in ask.shapes for worker in snapshot.workers]
    found = [each for some in rooms for each in some]
    decision = plan(snapshot, [ask]).decisions[ask.instance]
    placement = decision.placement
    assert (placement is not None) == bool(found)
    if placement is not None:
        (rank,) = placement.ranks
        held = tuple((claim.device, claim.memory_bytes) for claim in rank.claims)
        assert (rank.worker, held, rank.ram) in found


@given(st.lists(st.sampled_from(("A", "B", "C")), min_size=1), worlds.measured(worlds.shapes()))
def test_enough_for_a_mix_is_enough_for_each_of_it(kinds, shape):
    assume(all(each.kind != "A, B" for each in shape.kinds))
    mixed = shape.over(set(kinds))
    for kind in kinds:
        for most, need in zip(mixed.ranks, shape.on(kind).ranks, strict=True):
            assert most.ram.total >= need.ram.total
            for larger, parts in zip(most.devices, need.devices, strict=True):
                assert larger.total >= parts.total
