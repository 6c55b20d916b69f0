"""What ended by itself is remembered by place and reason, once each, whoever is gone since."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aimindserve.controllers.crashes import EVIDENCE_MAX, KEPT_MAX, LATELY_S, lately, note
from aimindserve.core.device import MemoryParts
from aimindserve.core.placement import Claim, Placement, Rank
from aimindserve.core.reason import Reason
from aimindserve.core.report import InstanceObservation, RunState
from aimindserve.resources.instance import InstanceStatus

from .world import in_world

EXITED = Reason("engine_exited", {"status": "exit code 3", "name": "a"}, "last words")


def status(restarts=1, *, name="p", worker="w", reason=EXITED, state=RunState.BACKOFF, device=True):
    claims = (Claim(f"{worker}:cuda:0", MemoryParts(1)),) if device else ()
    placement = Placement(name, "s", (Rank(worker, claims),))
    seen = InstanceObservation(name, state, 0.0, restarts=restarts, reason=reason)
    return InstanceStatus(placement=placement, observed=seen)


def test_each_end_counts_once_with_its_place_reason_and_times():
    kept = note((), [status(1)], 10.0)
    assert note(kept, [status(1)], 20.0) == kept
    [entry] = note(kept, [status(3)], 30.0)
    assert (entry.worker, entry.devices) == ("w", ("w:cuda:0",))
    assert (entry.times, entry.first_at, entry.last_at) == (3, 10.0, 30.0)
    assert (entry.reason.code, entry.reason.evidence) == ("engine_exited", "last words")


def test_a_run_that_was_given_up_ended_once_more_than_it_was_restarted():
    given_up = Reason("engine_oom_device", {"device": "x"})
    kept = note((), [status(2), status(0, name="q", reason=given_up, state=RunState.FAILED)], 0.0)
    assert {each.reason.code: each.times for each in kept} == {
        "engine_exited": 2,
        "engine_oom_device": 1,
    }
    assert note((), [status(0), status(0, name="q", state=RunState.READY)], 0.0) == ()


def test_a_loop_is_told_in_the_place_of_what_began_it_and_another_reason_apart():
    kept = note((), [status(4)], 0.0)
    loop = Reason("crash_loop", {"cause": "engine_exited", "count": 5})
    [entry] = note(kept, [status(5, reason=loop)], 1.0)
    assert (entry.times, entry.reason) == (5, loop)
    both = note([entry], [status(6, reason=Reason("engine_killed", {"signal": "SIGKILL"}))], 2.0)
    assert [(each.reason.code, each.times) for each in both] == [
        ("crash_loop", 5),
        ("engine_killed", 1),
    ]


def test_replicas_side_by_side_are_counted_together_and_none_twice():
    two = [status(1, device=False), status(2, name="q", device=False)]
    kept = note((), two, 0.0)
    assert [each.times for each in kept] == [3]
    for _ in range(3):
        kept = note(kept, two, 1.0)
    assert [each.times for each in kept] == [3]


def test_what_happened_outlives_who_it_happened_to():
    kept = note((), [status(2)], 0.0)
    gone = note(kept, [], 5.0)
    assert [(each.times, each.counted) for each in gone] == [(2, ())]
    [entry] = note(gone, [status(1, name="q")], 9.0)
    assert (entry.times, entry.counted) == (3, (("q", 1),))


def test_of_late_is_an_hour_and_other_places_are_others():
    kept = note((), [status(2), status(1, name="q", worker="v")], 0.0)
    assert lately(kept, LATELY_S) == {"v": 1, "w": 2}
    assert lately(kept, LATELY_S + 1) == {}


def test_only_so_much_is_kept():
    kept = ()
    long = Reason("engine_exited", {"status": "x"}, "y" * 2 * EVIDENCE_MAX)
    for number in range(2 * KEPT_MAX):
        kept = note(kept, [status(1, name=f"p{number}", worker=f"w{number}", reason=long)], number)
    assert len(kept) == KEPT_MAX
    assert kept[-1].worker == f"w{2 * KEPT_MAX - 1}"
    assert all(len(each.reason.evidence) == EVIDENCE_MAX for each in kept)


@given(st.lists(st.tuples(st.sampled_from("pqr"), st.integers(0, 3)), max_size=30))
def test_every_end_is_counted_whatever_is_seen_in_between(steps):
    kept, totals = (), dict.fromkeys("pqr", 0)
    for moment, (name, more) in enumerate(steps):
        totals[name] += more
        present = [status(count, name=each) for each, count in totals.items()]
        kept = note(kept, present, float(moment))
    assert sum(each.times for each in kept) == (sum(totals.values()) if steps else 0)


@pytest.mark.parametrize("restart", [False, True])
def test_the_deployment_remembers_what_its_instance_took_along(restart):
    async def test(world):
        await world.add_worker("w", devices=1)
        await world.up("a", "--vram=8GiB")
        [instance] = world.instances("a")
        placement = instance.status.placement
        seen = InstanceObservation(
            placement.id, RunState.BACKOFF, 0.0, restarts=1, reason=EXITED, run=1
        )
        await world._observe("instance", instance.name, seen)
        await world.pass_(0.1)
        await world.change("deployment", "a", replicas=0)
        await world.let_go()
        await world.pass_(1.0)
        assert not world.instances("a")
        if restart:  # whatever was in memory is gone
            world = type(world)(backing=world.backing)
            async with world.running():
                await world.pass_(1.0)
                check(world)
        else:
            check(world)

    def check(world):
        [entry] = world.status("a").crashes
        assert (entry.times, entry.devices) == (1, ("w:cuda:0",))
        assert entry.reason.code == "engine_exited"

    in_world(test)
