"""What was measured corrects what was predicted, and never below the highest that was seen."""

import itertools
import random
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aimindserve.core.device import Device, MemoryParts, Need
from aimindserve.core.measurement import Footprint, Sample, Shortage, accepted, believed, peak
from aimindserve.core.placement import Placement, Rank
from aimindserve.core.shape import DECLARED, DERIVED, MEASURED, ROUGH, Layers, Shape
from aimindserve.scheduler.base import Ask, Snapshot, WorkerView
from aimindserve.scheduler.estimates import (
    SAMPLES_KEPT,
    SHORT_MAX,
    STALE_S,
    Known,
    correct,
    footprint,
    keep,
    learn,
    predicted,
    run_out,
)
from aimindserve.scheduler.plan import plan

MIB = 1024**2
GIB = 1024**3


def shape(*, ram=GIB, devices=(8 * GIB,), **fields):
    parts = tuple(MemoryParts(weights=size // 2, kv_cache=size - size // 2) for size in devices)
    return Shape(
        "s", (Need(parts, MemoryParts(weights=ram // 2, runtime=ram - ram // 2)),), **fields
    )


def sample(ram=GIB, devices=(8 * GIB,), *, run="p/1", worked=True, claimed=None):
    return Sample(run, "w", 0.0, Footprint(ram, tuple(devices)), worked, claimed)


class HiddenEngine:
    """Takes what its own curve says, which the formula does not know, and a little noise."""

    def __init__(self, seed):
        self.rng = random.Random(seed)

    def truth(self, context, parallel):
        return int(3.1 * GIB + 900 * MIB * parallel**0.5 + 90_000 * context * parallel**0.8)

    def predicted(self, context, parallel):
        return int(2.2 * GIB + 150_000 * context * parallel)

    def load(self, context, parallel):
        return int(self.truth(context, parallel) * self.rng.uniform(0.985, 1.0))


@pytest.mark.parametrize("confidence", ["high", ROUGH])
def test_three_loads_bring_the_error_below_five_percent_and_no_claim_below_a_peak(confidence):
    engine = HiddenEngine(1)
    before, after = [], []
    for context, parallel in itertools.product((512, 4096, 16384, 65536), (1, 4, 8)):
        guess = shape(devices=(engine.predicted(context, parallel),), confidence=confidence)
        samples, highest = (), 0
        for load in range(3):
            claimed = footprint(correct(guess, samples)).devices[0]
            assert claimed >= highest
            took = engine.load(context, parallel)
            highest = max(highest, took)
            samples = keep(samples, sample(devices=(took,), run=f"p{load}/1"))
        truth = engine.truth(context, parallel)
        corrected = correct(guess, samples)
        assert corrected.confidence == MEASURED
        assert footprint(corrected).devices[0] >= highest
        before.append(abs(engine.predicted(context, parallel) / truth - 1))
        after.append(abs(footprint(corrected).devices[0] / truth - 1))
    assert max(before) > 0.5
    assert max(after) < 0.05


sizes = st.integers(1, 64 * GIB)


@given(st.lists(st.tuples(sizes, sizes, st.booleans()), min_size=1, max_size=10), sizes, sizes)
def test_never_below_the_highest_that_is_believed(taken, ram, device):
    samples = ()
    for number, (held, on_device, worked) in enumerate(taken):
        samples = keep(samples, sample(held, (on_device,), run=f"p{number}/1", worked=worked))
    highest = peak(samples)
    corrected = footprint(correct(shape(ram=ram, devices=(device,)), samples))
    assert corrected.ram_bytes >= highest.ram_bytes
    assert corrected.devices[0] >= highest.devices[0]
    assert len(samples) <= SAMPLES_KEPT


def test_without_samples_nothing_changes_and_a_declaration_stays():
    plain = shape()
    assert correct(plain, ()) is plain
    declared = shape(confidence=DECLARED)
    assert correct(declared, [sample(devices=(GIB,))]) is declared


def test_an_engine_that_never_worked_raises_and_does_not_lower():
    idle = sample(GIB // 2, (12 * GIB,), worked=False)
    corrected = correct(shape(), [idle])
    assert footprint(corrected).ram_bytes == GIB
    assert footprint(corrected).devices[0] > 12 * GIB
    assert corrected.confidence == DERIVED
    above = correct(shape(), [sample(2 * GIB, (12 * GIB,), worked=False)])
    assert above.confidence == DERIVED  # also where all of it was more than predicted
    assert correct(shape(), [sample(GIB // 2, (4 * GIB,), worked=False)]) == shape()


def test_what_is_measured_on_one_kind_says_nothing_of_another():
    made = learn(shape(), {"H200": Known([sample(devices=(4 * GIB,))]), "L40": Known()})
    assert [each.kind for each in made.kinds] == ["H200"]
    assert made.on("H200").confidence == MEASURED
    assert 4 * GIB <= footprint(made.on("H200")).devices[0] < 4.2 * GIB
    for kind in ("L40", "A100", ""):
        assert made.on(kind) == shape()
    assert learn(shape(), {}) == shape()


def test_an_odd_one_is_believed_when_it_is_confirmed():
    usual = [sample(devices=(8 * GIB,), run=f"p{n}/1") for n in range(3)]
    odd = sample(devices=(40 * GIB,), run="q/1")
    assert odd not in accepted([*usual, odd])
    assert peak([*usual, odd]).devices == (8 * GIB,)
    again = sample(devices=(41 * GIB,), run="r/1")
    assert set(accepted([*usual, odd, again])) == {*usual, odd, again}
    assert peak([*usual, odd, again]).devices == (41 * GIB,)


def test_odd_memory_of_one_kind_is_found_among_much_of_another():
    """A mapped file in the resident memory of an engine that has most of its memory on a device."""
    usual = [sample(GIB, (80 * GIB,), run=f"p{n}/1") for n in range(2)]
    mapped = sample(6 * GIB, (80 * GIB,), run="q/1")
    assert accepted([*usual, mapped]) == (*usual, mapped)  # hardly more altogether
    assert peak([*usual, mapped]) == Footprint(GIB, (80 * GIB,))


def test_the_formula_is_a_witness_when_there_are_few_samples():
    formula = Footprint(GIB, (8 * GIB,))
    first = sample(devices=(8 * GIB,), claimed=formula)
    odd = sample(devices=(40 * GIB,), run="q/1", claimed=formula)
    assert peak([first, odd]).devices == (8 * GIB,)
    # Alone against a formula that may be wrong by a factor: too much does less harm.
    assert peak([odd]).devices == (40 * GIB,)
    plain = [replace(each, claimed=None) for each in (first, odd)]
    assert peak(plain).devices == (40 * GIB,)


def test_one_run_does_not_lower_below_half_and_three_do():
    low = [sample(GIB // 10, (GIB,), run=f"p{n}/1") for n in range(3)]
    for runs in (low[:1], low[:2]):
        made = correct(shape(), runs)
        assert footprint(made) == Footprint(GIB // 2, (4 * GIB,))
        assert made.confidence == DERIVED
    made = correct(shape(), low)
    assert footprint(made).devices[0] < 1.1 * GIB
    assert made.confidence == MEASURED
    idle = [*low[:2], replace(low[2], worked=False)]
    assert footprint(correct(shape(), idle)).devices == (4 * GIB,)


def test_an_odd_one_makes_room_like_any_other():
    usual = [sample(devices=(8 * GIB,), run=f"p{n}/1") for n in range(SAMPLES_KEPT - 1)]
    odd = sample(devices=(40 * GIB,), run="q/1")
    later = replace(sample(devices=(8 * GIB,), run="r/1"), time=2 * STALE_S)
    kept = keep((odd, *usual), later)
    assert odd not in kept
    assert kept[-1] == later


usual_sizes = st.lists(st.integers(100, 110), min_size=2, max_size=6)


@given(usual_sizes, st.integers(0, 10**6), st.integers(0, 6), st.booleans())
def test_one_strange_measurement_does_not_spoil_an_estimate(usual, strange, place, of_ram):
    """Whatever it is, and wherever among the others: the estimate is at most half as much again
    above what the others say, and never below it."""

    def taken(size):
        size *= GIB
        return (size, (100 * GIB,)) if of_ram else (100 * GIB, (size,))

    good = [sample(*taken(size), run=f"p{n}/1") for n, size in enumerate(usual)]
    both = [*good]
    both.insert(place, sample(*taken(strange), run="q/1"))
    formula = shape(ram=100 * GIB, devices=(100 * GIB,))
    before, after = (footprint(correct(formula, each)) for each in (good, both))
    for plain, spoilt, highest in (
        (before.ram_bytes, after.ram_bytes, max(taken(size)[0] for size in usual)),
        (before.devices[0], after.devices[0], max(taken(size)[1][0] for size in usual)),
    ):
        assert highest <= spoilt <= 1.5 * 1.1 * 1.1 * highest
        assert plain <= 1.1 * highest


@given(st.lists(st.integers(1, 1000), min_size=1, max_size=8), st.randoms(), st.integers(0, 1000))
def test_in_what_order_they_were_measured_does_not_matter(sizes, rng, formula):
    values = [size * GIB for size in sizes]
    shuffled = rng.sample(values, len(values))
    told = believed(values, formula * GIB)
    assert sorted(told) == sorted(believed(shuffled, formula * GIB))
    assert told
    assert min(values) in told


def test_a_run_has_one_sample_which_only_grows():
    first = keep((), sample(devices=(8 * GIB,), worked=False))
    assert keep(first, sample(devices=(8 * GIB + MIB,), worked=False)) == first
    grown = keep(first, sample(devices=(9 * GIB,), worked=False))
    assert grown[0].taken.devices == (9 * GIB,)
    worked = keep(grown, sample(devices=(5 * GIB,)))
    assert (len(worked), worked[0].taken.devices, worked[0].worked) == (1, (9 * GIB,), True)


def test_parts_that_are_known_best_are_cut_last():
    small = correct(shape(ram=GIB), [sample(ram=600 * MIB)]).ranks[0].ram
    assert small.weights == 512 * MIB
    assert small.total == 600 * MIB + int(600 * MIB * 0.03)
    large = correct(shape(ram=GIB), [sample(ram=2 * GIB)]).ranks[0].ram
    assert (large.weights, large.runtime > GIB) == (512 * MIB, True)


def test_ranks_share_the_ram_as_predicted():
    rank = Need((), MemoryParts(weights=GIB))
    both = Shape("s", (rank, Need((), MemoryParts(weights=3 * GIB))))
    made = correct(both, [sample(ram=8 * GIB, devices=())])
    totals = [each.ram.total for each in made.ranks]
    assert sum(totals) == footprint(made).ram_bytes >= 8 * GIB
    assert totals[1] > 2.9 * totals[0]


def test_ranks_that_are_alike_stay_alike():
    made = correct(shape(devices=(8 * GIB,) * 2), [sample(devices=(4 * GIB, 5 * GIB))])
    first, second = footprint(made).devices
    assert first == second > 5 * GIB
    unlike = correct(shape(devices=(8 * GIB, 9 * GIB)), [sample(devices=(4 * GIB, 5 * GIB))])
    assert len(set(footprint(unlike).devices)) == 2


def test_a_share_of_a_device_is_no_need():
    fraction = shape(device_fraction=0.9)
    made = correct(fraction, [sample(ram=2 * GIB, devices=(70 * GIB,))])
    assert footprint(made).devices == (8 * GIB,)
    assert footprint(made).ram_bytes > 2 * GIB
    assert made.confidence == "high"
    rough = correct(replace(fraction, confidence=ROUGH), [sample(devices=(70 * GIB,))])
    assert rough.confidence == ROUGH


def cut(**fields):
    layers = Layers((MemoryParts(GIB),) * 10, (MemoryParts(GIB),) * 10, MemoryParts(GIB), **fields)
    return Shape("s", (Need((), MemoryParts(GIB)),), layers=layers)


def test_a_cut_model_is_only_raised_in_proportion_and_never_called_measured():
    partly = cut(devices_max=4)
    more = sample(2 * GIB, (6 * GIB, GIB), claimed=Footprint(GIB, (5 * GIB, 2 * GIB)))
    made = correct(partly, [more])
    assert made.confidence == DERIVED
    assert footprint(made).devices[0] == pytest.approx(1.2 * 11 * GIB, rel=0.01)
    assert footprint(made).ram_bytes == 2 * GIB
    less = replace(more, taken=Footprint(GIB, (4 * GIB, GIB)))
    assert correct(partly, [less]) is partly
    assert correct(partly, [replace(more, claimed=None)]) is partly
    assert correct(cut(least=10, devices_max=2), [less]).confidence != MEASURED


def test_all_of_a_model_on_one_device_is_always_cut_the_same_way():
    whole = cut(least=10)
    for held in (6, 10, 10.5, 20):
        made = correct(whole, [sample(GIB // 2, (int(held * GIB),))])
        assert made.confidence == MEASURED
        assert footprint(made).devices == (int(held * GIB) + int(int(held * GIB) * 0.03),)
        assert footprint(made).ram_bytes < 0.6 * GIB
    two = sample(devices=(6 * GIB, 6 * GIB))
    assert correct(whole, [two]) is whole


def test_a_sample_of_other_devices_than_the_shape_has_is_of_another_shape():
    two = shape(devices=(8 * GIB,) * 2)
    for devices in ((), (8 * GIB,), (2 * GIB,) * 3):
        assert correct(two, [sample(devices=devices)]) is two


@pytest.mark.parametrize("least", [1, 4, 10])
def test_what_the_formula_claims_in_a_place_is_found_again(least):
    """Placed by the scheduler itself, so the two cannot drift apart."""
    devices = tuple(Device(f"w:cuda:{at}", at, "cuda", "", "", 9 * GIB) for at in range(2))
    free = {"w:cuda:0": 5 * GIB, "w:cuda:1": 7 * GIB}
    ram = 64 * GIB
    worker = WorkerView("w", True, False, "linux", "amd64", {}, ram, ram, devices, free)
    fraction = shape(devices=(2 * GIB,), device_fraction=0.5)
    for each in (cut(devices_max=2, least=least), shape(devices=(GIB, 3 * GIB)), fraction):
        placement = plan(Snapshot(1, (worker,)), [Ask("i", "d", "p", (each,))]).placements["i"]
        (rank,) = placement.ranks
        claims = tuple(claim.memory_bytes for claim in rank.claims)
        assert predicted(each, placement) == Footprint(rank.ram.total, claims)
    far = Placement("p", "s", (Rank("w"), Rank("v")))
    assert predicted(cut(devices_max=2), far) is None


def short(*devices, ram=0, formula=(8 * GIB,), name="p1", time=0.0, before=None):
    fresh = Shortage(
        name, time, 0.0, 1, Footprint(ram, devices), Footprint(GIB, formula) if formula else None
    )
    return run_out(before, fresh, lambda times: 600.0 * times)


def test_after_a_shortage_it_claims_more_for_a_while_and_nothing_lowers_it_for_a_day():
    low = [sample(GIB, (4 * GIB,))]
    found = short(8 * GIB)
    assert (found.until, found.times) == (600.0, 1)
    raised = correct(shape(), low, found, 599.0)
    assert footprint(raised) == Footprint(int(GIB * 1.03), (int(9.6 * GIB),))
    assert raised.confidence == DERIVED
    assert footprint(correct(shape(), low, found, 601.0)).devices == (8 * GIB,)
    later = correct(shape(), low, found, STALE_S + 1)
    assert (later.confidence, later) == (MEASURED, correct(shape(), low))
    assert correct(shape(), [], found, STALE_S + 1) == shape()


def test_only_the_memory_that_was_short_is_raised():
    assert footprint(correct(shape(), [], short(0, ram=GIB))).devices == (8 * GIB,)
    assert footprint(correct(shape(), [], short(0, ram=GIB))).ram_bytes == int(1.2 * GIB)


def test_one_shortage_counts_once_and_each_further_one_raises_what_was_claimed():
    first = short(8 * GIB)
    assert short(8 * GIB, before=first) is None
    # Another that was placed before the claim was raised says no more than the first.
    twin = short(8 * GIB, name="p2", before=first)
    assert (twin.times, twin.claims) == (2, first.claims)
    second = short(*first.claims.devices, name="p3", time=10.0, before=first)
    assert second.claims.devices[0] == pytest.approx(1.44 * 8 * GIB, rel=0.001)
    assert second.until == 10.0 + 1200.0
    anew = short(8 * GIB, name="p4", time=STALE_S + 11.0, before=second)
    assert (anew.times, anew.claims) == (1, first.claims)


@given(st.integers(1, 80), st.integers(1, 30))
def test_raising_ends_at_twice_the_formula_or_what_was_measured(claimed, times):
    found, claim = None, claimed * GIB
    for number in range(times):
        found = short(claim, name=f"p{number}", before=found)
        assert found.claims.devices[0] >= claim
        claim = found.claims.devices[0]
    assert claim <= max(SHORT_MAX * 8 * GIB, claimed * GIB)
    assert short(claimed * GIB, formula=None).claims.devices == (int(claimed * GIB * 1.2),)


def test_a_share_of_a_device_is_not_raised_and_a_cut_is_raised_in_proportion():
    fraction = shape(device_fraction=0.9)
    assert correct(fraction, [], short(72 * GIB)) == fraction
    ram = correct(fraction, [], short(72 * GIB, ram=GIB))
    assert (footprint(ram).devices, footprint(ram).ram_bytes) == ((8 * GIB,), int(1.2 * GIB))
    partly = cut(devices_max=4)
    made = correct(partly, [], short(5 * GIB, formula=(5 * GIB,)))
    assert footprint(made).devices[0] == pytest.approx(1.2 * 11 * GIB, rel=0.01)
    whole = correct(cut(least=10), [], short(11 * GIB, formula=(11 * GIB,)))
    assert footprint(whole).devices[0] == pytest.approx(1.2 * 11 * GIB, rel=0.01)
    assert correct(shape(devices=(GIB, GIB)), [], short(8 * GIB)).kinds == ()


def test_many_instances_of_one_kind_do_not_write_for_ever():
    samples = ()
    for number in range(SAMPLES_KEPT):
        samples = keep(samples, sample(devices=(8 * GIB,), run=f"p{number}/1"))
    again = keep(samples, sample(devices=(8 * GIB,), run="other/1"))
    assert again == samples
    higher = keep(samples, sample(devices=(9 * GIB,), run="higher/1"))
    assert higher[-1].run == "higher/1"
    assert len(higher) == SAMPLES_KEPT
    later = replace(sample(devices=(7 * GIB,), run="later/1"), time=2 * 86_400.0)
    aged = keep(higher, later)
    assert aged[-1].run == "later/1"
    assert any(each.run == "higher/1" for each in aged)
