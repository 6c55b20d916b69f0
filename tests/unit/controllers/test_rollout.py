"""What to add and stop next, from the copies as they are."""

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aimindserve.controllers.rollout import Aim, Copy, Steps, next_steps


def copy(name, **facts):
    return Copy(name=name, **{"current": True, **facts})


def ready(name, **facts):
    return copy(name, placed=True, ready=True, **facts)


def test_missing_copies_are_added_all_at_once():
    assert next_steps(Aim(3), [ready("a")]) == Steps(create=2)


def test_enough_copies_need_nothing():
    assert next_steps(Aim(2), [ready("a"), ready("b")]) == Steps()


def test_stopping_copies_do_not_count():
    assert next_steps(Aim(1), [ready("a", stopping=True)]) == Steps(create=1)


@pytest.mark.parametrize(
    ("copies", "victim"),
    [
        ([ready("a"), copy("b"), copy("c", placed=True)], "b"),
        ([ready("a"), copy("b", placed=True, created_at=1.0), ready("c", created_at=2.0)], "b"),
        ([ready("a", created_at=1.0), ready("b", created_at=3.0), ready("c", created_at=2.0)], "b"),
        ([ready("a"), copy("b", placed=True, away=True), copy("c", placed=True)], "b"),
    ],
    ids=["not placed", "not ready", "newest", "out of reach"],
)
def test_scaling_down_takes_the_least_useful(copies, victim):
    assert next_steps(Aim(2), copies) == Steps(stop=(victim,))


def test_zero_replicas_stop_everything():
    assert set(next_steps(Aim(0), [ready("a"), copy("b", current=False)]).stop) == {"a", "b"}


def test_a_new_generation_replaces_one_at_a_time_and_never_loses_a_ready_copy():
    old = [ready(name, current=False) for name in "abc"]
    assert next_steps(Aim(3), old) == Steps(create=1)
    assert next_steps(Aim(3), [*old, copy("x", placed=True)]) == Steps()
    assert next_steps(Aim(3), [*old, ready("x")]) == Steps(create=1, stop=("a",))
    two_old = old[:2]
    assert next_steps(Aim(3), [*two_old, ready("x"), copy("y")]) == Steps()


def test_old_copies_that_never_got_a_place_make_way_at_once():
    assert next_steps(Aim(1), [copy("a", current=False, no_room=True)]) == Steps(
        create=1, stop=("a",)
    )


def test_a_new_copy_without_room_waits_and_then_an_old_one_makes_room():
    copies = [ready("a", current=False), ready("b", current=False), copy("x", no_room=True)]
    assert next_steps(Aim(2), copies) == Steps(cramped=True)
    assert next_steps(Aim(2, make_room=True), copies).stop == ("a",)
    freeing = [replace(copies[0], stopping=True), *copies[1:]]
    assert next_steps(Aim(2, make_room=True), freeing).stop == ()


def test_a_copy_out_of_reach_is_kept_until_its_replacement_is_ready():
    home, away = ready("a"), copy("b", placed=True, away=True)
    aim = Aim(2, elsewhere=True)
    assert next_steps(aim, [home, away]) == Steps(create=1)
    assert next_steps(aim, [home, away, copy("c", placed=True)]) == Steps()
    assert next_steps(aim, [home, away, ready("c")]) == Steps(stop=("b",))


def test_a_copy_out_of_reach_that_could_run_nowhere_else_is_left_alone():
    assert next_steps(Aim(1), [copy("b", placed=True, away=True)]) == Steps()


def test_when_the_lost_worker_returns_first_the_replacement_goes():
    assert next_steps(Aim(1, elsewhere=True), [ready("b"), copy("c")]) == Steps(stop=("c",))


copies_strategy = st.lists(
    st.builds(
        lambda away, ready, **facts: Copy(away=away, ready=ready and not away, **facts),
        name=st.uuids().map(str),
        current=st.booleans(),
        placed=st.just(True),
        ready=st.booleans(),
        away=st.booleans(),
        stopping=st.booleans(),
        created_at=st.floats(0, 100),
    ),
    max_size=8,
)


def follow(aim, copies):
    """Apply the steps as a perfect world would, until nothing is left to do."""
    for round_ in range(100):
        steps, before = next_steps(aim, copies), copies
        copies = [c for c in copies if not c.stopping or c.away]
        copies = [replace(c, stopping=True) if c.name in steps.stop else c for c in copies]
        copies += [copy(f"new-{round_}-{n}", placed=True) for n in range(steps.create)]
        copies = [c if c.away else replace(c, ready=True) for c in copies]
        yield steps, copies
        if steps == Steps() and copies == before:
            return
    pytest.fail("it never settles")


@settings(max_examples=60, deadline=None)
@given(copies_strategy, st.integers(0, 5), st.booleans())
def test_it_settles_at_the_count_and_never_goes_beyond_the_surge(copies, replicas, elsewhere):
    aim = Aim(replicas, elsewhere=elsewhere)
    if not elsewhere:  # a copy out of reach that can run nowhere else is waited for, for ever
        copies = [c for c in copies if not c.away]
    for _steps, state in follow(aim, copies):
        last = [c for c in state if not c.stopping]
    counted = [c for c in last if not (c.away and elsewhere)]
    assert len(counted) == replicas
    assert all(c.current for c in last)


@settings(max_examples=60, deadline=None)
@given(copies_strategy, st.integers(1, 5))
def test_no_step_takes_away_a_ready_copy_that_is_needed(copies, replicas):
    steps = next_steps(Aim(replicas), copies)
    live = [c for c in copies if not c.stopping]
    before = sum(c.ready and not c.away for c in live)
    after = sum(c.ready and not c.away for c in live if c.name not in steps.stop)
    assert after >= min(before, replicas)
