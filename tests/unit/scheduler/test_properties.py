"""What holds for every cluster and every list of asks."""

import random
from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st

from aimindserve.scheduler._all import filters
from aimindserve.scheduler.base import Snapshot
from aimindserve.scheduler.explain import record
from aimindserve.scheduler.pack import take
from aimindserve.scheduler.plan import plan
from unit.scheduler import worlds


def after(snapshot, asks, result):
    """The workers as they are once the plan is carried out."""
    views = {worker.name: worker for worker in snapshot.workers}
    for ask in asks:
        placement = result.placements.get(ask.instance)
        if placement is not None:
            views[placement.worker] = take(views[placement.worker], placement.ranks, ask.deployment)
    return views


@given(worlds.snapshots(), worlds.ask_lists())
@settings(max_examples=25, deadline=None)
def test_nothing_is_claimed_beyond_what_is_free(snapshot, asks):
    result = plan(snapshot, asks)
    for worker in after(snapshot, asks, result).values():
        assert worker.ram_free_bytes >= 0
        assert worker.ports_free >= 0
        assert all(free >= 0 for free in worker.device_free_bytes.values())
    for name, placement in result.placements.items():
        devices = [claim.device for rank in placement.ranks for claim in rank.claims]
        assert len(devices) == len(set(devices)), f"{name} has two ranks on one device"
        assert len({device.split(":")[1] for device in devices}) <= 1


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
                assert any(each.reject(ask, shape, worker) for each in filters())


@given(worlds.snapshots(), worlds.asks(0, max_ranks=1))
@settings(max_examples=25, deadline=None)
def test_a_single_device_placement_is_never_missed(snapshot, ask):
    """Brute force over every device, written without the scheduler's code."""

    def fits(worker, shape):
        (rank,) = shape.ranks
        if not worker.ready or worker.cordoned or worker.ports_free < 1:
            return False
        if any(worker.labels.get(key) != value for key, value in ask.selector.items()):
            return False
        need, ram = rank.device.total, rank.ram.total
        kinds = shape.requirement.device_types
        usable = [d for d in worker.devices if not kinds or d.type in kinds]
        if kinds and not usable:
            return False
        if not need:
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
