"""What holds for every cluster and every list of asks."""

import random
from collections import Counter
from dataclasses import replace
from itertools import permutations

from hypothesis import assume, given, settings
from hypothesis import strategies as st

from aimindserve.core.device import MemoryParts, Need
from aimindserve.core.shape import Requirement, Shape
from aimindserve.scheduler._all import filters
from aimindserve.scheduler.base import Ask, Snapshot
from aimindserve.scheduler.explain import record
from aimindserve.scheduler.pack import take
from aimindserve.scheduler.plan import plan
from aimindserve.scheduler.together import version
from unit.scheduler import worlds


def carry_out(views, ask, placement):
    """Change `views` (worker by name) as the placement of `ask` does."""
    workers = list(dict.fromkeys(rank.worker for rank in placement.ranks))
    for name in workers:
        ranks = [rank for rank in placement.ranks if rank.worker == name]
        across = ask.backend if len(workers) > 1 else ""
        views[name] = take(views[name], ranks, ask.deployment, across=across)


def after(snapshot, asks, result):
    """The workers as they are once the plan is carried out."""
    views = {worker.name: worker for worker in snapshot.workers}
    for ask in asks:
        placement = result.placements.get(ask.instance)
        if placement is not None:
            carry_out(views, ask, placement)
    return views


@given(worlds.snapshots(), worlds.ask_lists())
@settings(max_examples=30, deadline=None)
def test_nothing_is_claimed_beyond_what_is_free(snapshot, asks):
    result = plan(snapshot, asks)
    for worker in after(snapshot, asks, result).values():
        assert worker.ram_free_bytes >= 0
        assert worker.ports_free >= 0
        assert all(free >= 0 for free in worker.device_free_bytes.values())
    for name, placement in result.placements.items():
        devices = [claim.device for rank in placement.ranks for claim in rank.claims]
        assert len(devices) == len(set(devices)), f"{name} has two ranks on one device"
        assert not placement.warnings
    for decision in result.decisions.values():
        check_ranks(snapshot, decision)


def check_ranks(snapshot, decision):
    """A placement is what its shape asks for."""
    if decision.placement is None:
        return
    ranks = decision.placement.ranks
    shape = decision.ask.shapes[decision.shape]
    if shape.kinds:
        return  # what it needs where: test_kinds.py
    workers = [rank.worker for rank in ranks]
    types = {claim.device.split(":")[1] for rank in ranks for claim in rank.claims}
    if shape.layers is not None:
        check_layers(shape, ranks)
        by_name = {worker.name: worker for worker in snapshot.workers}
        here = [by_name[name] for name in dict.fromkeys(workers)]
        assert len({version(decision.ask, shape, worker) for worker in here}) == 1
        assert here[0].local or not any(worker.local for worker in here[1:])
        return
    assert len(types) <= 1
    assert [len(rank.claims) for rank in ranks] == [len(need.devices) for need in shape.ranks]
    for rank, need in zip(ranks, shape.ranks, strict=True):
        assert rank.ram == need.ram
        for claim, wanted in zip(rank.claims, need.devices, strict=True):
            assert claim.memory_bytes >= wanted.total
    if shape.across:
        assert len(set(workers)) == len(workers)
        by_name = {worker.name: worker for worker in snapshot.workers}
        assert len({by_name[name].python for name in workers}) == 1
        if shape.whole_workers:
            for rank in ranks:
                there = by_name[rank.worker].devices
                kinds = shape.requirement.device_types
                usable = [device for device in there if not kinds or device.type in kinds]
                assert len(usable) == len(rank.claims)
    else:
        assert len(set(workers)) == 1


def check_layers(shape, ranks):
    layers = shape.layers
    count = len(layers.device)
    held = sum(claim.layers for rank in ranks for claim in rank.claims)
    claims = [claim for rank in ranks[1:] for claim in rank.claims] + list(ranks[0].claims)
    assert layers.least <= held <= (layers.most or count)
    assert len(claims) <= layers.devices_max
    assert len(ranks) - 1 <= layers.remote_max
    assert all(claim.layers > 0 for claim in claims)
    at = start = count - held  # what is on devices is the end of the model, with the output
    for place, claim in enumerate(claims):
        need = sum(parts.total for parts in layers.device[at : at + claim.layers])
        need += layers.overhead.total
        need += layers.overhead_last.total if place == len(claims) - 1 else 0
        assert claim.memory_bytes == need
        at += claim.layers
    on_host = layers.host[:start]
    assert ranks[0].ram.total == shape.ranks[0].ram.total + sum(parts.total for parts in on_host)


@given(worlds.snapshots(), worlds.ask_lists())
@settings(max_examples=20, deadline=None)
def test_what_is_remembered_changes_nothing(snapshot, asks):
    """One plan for all asks is the same as a plan of its own for each, in turn."""
    views = {worker.name: worker for worker in snapshot.workers}
    together = plan(snapshot, asks)
    for name, decision in together.decisions.items():
        fresh = [replace(view) for view in views.values()]
        alone = plan(Snapshot(snapshot.revision, tuple(fresh)), [decision.ask])
        assert alone.decisions[name] == decision
        assert alone.decisions[name].results == decision.results
        assert alone.decisions[name].refusal == decision.refusal
        if decision.placement is not None:
            carry_out(views, decision.ask, decision.placement)


@given(worlds.snapshots(), worlds.ask_lists())
@settings(max_examples=25, deadline=None)
def test_every_ask_is_placed_or_refused_with_reasons(snapshot, asks):
    result = plan(snapshot, asks)
    named = {ask.instance for ask in asks}
    assert set(result.placements) | set(result.refusals) == named
    assert not set(result.placements) & set(result.refusals)
    for refusal in result.refusals.values():
        assert refusal.summary.message
        assert {name for name, _ in refusal.workers} == {w.name for w in snapshot.workers}
    for decision in result.decisions.values():
        assert record(decision)["instance"] in named


@given(worlds.snapshots(), worlds.ask_lists())
@settings(max_examples=25, deadline=None)
def test_what_is_refused_fits_nowhere_even_now(snapshot, asks):
    """Free memory only shrinks during a plan: what fits at its end would have fitted before."""
    result = plan(snapshot, asks)
    views = after(snapshot, asks, result).values()
    for ask in asks:
        if ask.instance in result.placements:
            continue
        for worker in views:
            for shape in ask.shapes:
                refused = any(each.reject(ask, shape, worker) for each in filters())
                assert refused or shape.across


@given(worlds.snapshots(), worlds.asks(0, max_ranks=1))
@settings(max_examples=25, deadline=None)
def test_a_single_device_placement_is_never_missed(snapshot, ask):
    """Brute force over every device, written without the scheduler's code."""
    assume(all(len(rank.devices) < 2 for shape in ask.shapes for rank in shape.ranks))

    def fits(worker, shape):
        (rank,) = shape.ranks
        if not worker.ready or worker.cordoned or worker.ports_free < 1:
            return False
        if any(worker.labels.get(key) != value for key, value in ask.selector.items()):
            return False
        need, ram = sum(each.total for each in rank.devices), rank.ram.total
        kinds = shape.requirement.device_types
        usable = [d for d in worker.devices if not kinds or d.type in kinds]
        if kinds and not usable:
            return False
        if not rank.devices:
            return ram <= worker.ram_free_bytes
        for device in usable:
            claim = max(need, int(device.memory_bytes * shape.device_fraction))
            shared = claim if device.unified_memory else 0
            if (
                claim <= worker.device_free_bytes[device.id]
                and ram + shared <= worker.ram_free_bytes
            ):
                return True
        return False

    possible = any(fits(worker, shape) for worker in snapshot.workers for shape in ask.shapes)
    assert (ask.instance in plan(snapshot, [ask]).placements) == possible


@given(worlds.snapshots(), worlds.asks(0))
@settings(max_examples=30, deadline=None)
def test_several_devices_of_a_worker_are_never_missed(snapshot, ask):
    """Brute force over every choice of devices."""

    def fits(worker, shape):
        sizes = [parts.total for rank in shape.ranks for parts in rank.devices]
        ram = sum(rank.ram.total for rank in shape.ranks)
        if not worker.ready or worker.cordoned or worker.ports_free < len(shape.ranks):
            return False
        if any(worker.labels.get(key) != value for key, value in ask.selector.items()):
            return False
        kinds = shape.requirement.device_types
        if kinds and not any(device.type in kinds for device in worker.devices):
            return False
        if ram > worker.ram_free_bytes:
            return False
        usable = [device for device in worker.devices if not kinds or device.type in kinds]
        for chosen in permutations(usable, len(sizes)):
            claims = [
                max(size, int(device.memory_bytes * shape.device_fraction))
                for size, device in zip(sizes, chosen, strict=True)
            ]
            shared = sum(c for c, d in zip(claims, chosen, strict=True) if d.unified_memory)
            if (
                len({device.type for device in chosen}) <= 1
                and ram + shared <= worker.ram_free_bytes
                and all(
                    claim <= worker.device_free_bytes[device.id]
                    for claim, device in zip(claims, chosen, strict=True)
                )
            ):
                return True
        return False

    possible = any(fits(worker, shape) for worker in snapshot.workers for shape in ask.shapes)
    assert (ask.instance in plan(snapshot, [ask]).placements) == possible


@given(worlds.snapshots(), worlds.asks(0, kinds=worlds.across()))
@settings(max_examples=30, deadline=None)
def test_workers_for_equal_ranks_are_never_missed(snapshot, ask):
    """Each rank alone on each worker tells who could take one; enough alike must be enough."""

    def found(shape):
        alone = replace(shape, ranks=shape.ranks[:1], across=False)
        kinds = sorted({device.type for worker in snapshot.workers for device in worker.devices})
        for kind in kinds:
            typed = replace(alone, requirement=replace(alone.requirement, device_types=(kind,)))
            allowed = shape.requirement.device_types
            if allowed and kind not in allowed:
                continue
            could = Counter()
            for worker in snapshot.workers:
                usable = [d for d in worker.devices if not allowed or d.type in allowed]
                if shape.whole_workers and len(usable) != len(shape.ranks[0].devices):
                    continue
                one = plan(Snapshot(1, (worker,)), [replace(ask, shapes=(typed,))])
                could[worker.python] += len(one.placements)
            if any(count >= len(shape.ranks) for count in could.values()):
                return True
        return False

    assert (ask.instance in plan(snapshot, [ask]).placements) == any(map(found, ask.shapes))


@given(worlds.snapshots(), worlds.ask_lists())
@settings(max_examples=30, deadline=None)
def test_every_stated_shortfall_is_true(snapshot, asks):
    result = plan(snapshot, asks)
    for name, refusal in result.refusals.items():
        views = {worker.name: worker for worker in result.decisions[name].judged.workers}
        for worker, reason in refusal.workers:
            view, params = views[worker], reason.params
            free = params.get("free_bytes")
            if reason.code == "no_fit_ram":
                assert free == view.ram_free_bytes
                assert params["need_bytes"] > free
            elif reason.code in {"no_fit_vram", "no_fit_devices"}:
                assert free in view.device_free_bytes.values()
                assert params["need_bytes"] > free
                assert params["found"] < params["wanted"]
            elif reason.code == "no_fit_layers":
                assert free <= sum(view.device_free_bytes.values())
                assert params["found"] < params["wanted"]
            elif reason.code == "too_few_devices":
                assert params["found"] < params["wanted"]


@given(worlds.snapshots(), worlds.ask_lists(), st.integers(0, 99))
@settings(max_examples=25, deadline=None)
def test_the_order_of_the_input_does_not_matter(snapshot, asks, seed):
    mixed = random.Random(seed)
    workers = list(snapshot.workers)
    shuffled = list(asks)
    mixed.shuffle(workers)
    mixed.shuffle(shuffled)
    workers = [
        replace(w, device_free_bytes=dict(reversed(w.device_free_bytes.items()))) for w in workers
    ]
    one = plan(snapshot, asks)
    other = plan(Snapshot(snapshot.revision, tuple(workers)), shuffled)
    assert list(one.placements.items()) == list(other.placements.items())
    assert list(one.refusals.items()) == list(other.refusals.items())


@given(worlds.snapshots(), worlds.ask_lists(), st.data())
@settings(max_examples=60, deadline=None)
def test_devices_chosen_by_hand_are_used_as_they_are_chosen(snapshot, others, data):
    assume(any(worker.devices for worker in snapshot.workers))
    mine = [data.draw(worlds.chosen(snapshot, 20 + at)) for at in range(data.draw(sizes_of_few))]
    result = plan(snapshot, [*others, *mine])
    for ask in mine:
        placement = result.placements.get(ask.instance)
        if placement is None:
            continue
        held = [claim.device for rank in placement.ranks for claim in rank.claims]
        assert set(held) <= set(ask.device_ids)
        shape = ask.shapes[result.decisions[ask.instance].shape]
        everything = shape.layers is None or shape.layers.least >= len(shape.layers.device)
        if ask.devices_each is not None and everything:
            layers = len(shape.layers.device) if shape.layers else ask.devices_each
            assert len(held) == min(ask.devices_each, layers)
    # Who chose nothing never takes what is not there.
    views = {worker.name: worker for worker in snapshot.workers}
    for ask in others:
        placement = result.placements.get(ask.instance)
        if placement is not None:
            assert not placement.warnings
            carry_out(views, ask, placement)
    for worker in views.values():
        assert worker.ram_free_bytes >= 0
        assert all(free >= 0 for free in worker.device_free_bytes.values())


sizes_of_few = st.integers(1, 3)


a_rank = st.tuples(sizes_of_few, st.integers(1, 9), st.integers(0, 9))


@given(st.lists(a_rank, min_size=2, max_size=3), worlds.snapshots())
@settings(max_examples=60, deadline=None)
def test_workers_for_unequal_ranks_are_never_missed(ranks, snapshot):
    """Every way of giving each rank a worker of its own is tried here."""
    needs = tuple(
        Need((MemoryParts(weights=size),) * count, MemoryParts(runtime=ram))
        for count, size, ram in ranks
    )
    ask = Ask("i", "d", "p", (Shape("s", needs, across=True),), backend="engine")

    def takes(need, worker, kind):
        typed = Shape("r", (need,), Requirement(device_types=(kind,)))
        return bool(plan(Snapshot(1, (worker,)), [replace(ask, shapes=(typed,))]).placements)

    kinds = {device.type for worker in snapshot.workers for device in worker.devices}
    possible = any(
        len({worker.python for worker in some}) == 1
        and all(takes(need, worker, kind) for need, worker in zip(needs, some, strict=True))
        for kind in sorted(kinds)
        for some in permutations(snapshot.workers, len(needs))
    )
    assert (ask.instance in plan(snapshot, [ask]).placements) == possible
