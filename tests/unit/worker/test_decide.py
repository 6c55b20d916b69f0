import itertools
from dataclasses import replace

import pytest

from aimindserve.core.device import MemoryParts
from aimindserve.core.launch import DesiredSet
from aimindserve.core.placement import Claim, Placement, Rank
from aimindserve.core.reason import Reason
from aimindserve.core.report import FileObservation, FileState
from aimindserve.worker.decide import (
    SICK_LIMIT_S,
    Check,
    Forget,
    Look,
    Start,
    Stop,
    attend,
    decide,
    next_time,
)
from aimindserve.worker.observed import Course, FileSeen, Health
from unit.worker.world import MODEL, desired, observed, process, wanted

NOW = 10.0
BUSY = {"checking": True}


def of(kind, actions):
    return [action for action in actions if isinstance(action, kind)]


def run(want, seen, now=NOW):
    return decide(want, seen, now)


def test_starts_what_is_wanted_on_the_first_free_port():
    (start,) = of(Start, run(desired(wanted()), observed(taken=frozenset({40000}))))
    assert (start.assignment.instance, start.port, start.run) == ("i1", 40001, 1)


def test_two_starts_never_share_a_port():
    starts = of(Start, run(desired(wanted("a"), wanted("b")), observed()))
    assert [start.port for start in starts] == [40000, 40001]


def test_ports_of_processes_starts_and_strangers_are_not_given_away():
    seen = observed(
        process("x", port=40000),
        courses={"y": Course("id-y", "p1", starting_port=40001)},
        taken=frozenset({40002}),
    )
    starts = of(Start, run(desired(wanted("x"), wanted("y"), wanted("z"), wanted("zz")), seen))
    assert [(start.assignment.instance, start.port) for start in starts] == [("z", 40003)]


@pytest.mark.parametrize(
    "file",
    [
        None,
        FileSeen(looked=NOW),
        FileSeen(FileObservation(FileState.MISSING), looked=NOW),
        FileSeen(FileObservation(FileState.FAILED), looked=NOW),
        FileSeen(FileObservation(FileState.FETCHING), looked=NOW),
    ],
)
def test_nothing_starts_without_its_model(file):
    files = {} if file is None else {MODEL: file}
    assert not of(Start, run(desired(wanted()), observed(files=files)))


def test_nothing_starts_while_a_process_of_that_name_may_live():
    """The old placement's process holds the port and the memory until it is gone."""
    for stopping, gone in itertools.product((True, False), (None, Reason("engine_exited"))):
        old = process("i1", "p0", stopping=stopping, gone=gone, **BUSY)
        actions = run(desired(wanted("i1", "p1")), observed(old))
        assert not of(Start, actions)
        assert bool(of(Stop, actions)) is not stopping


@pytest.mark.parametrize(
    ("course", "starts"),
    [
        (None, True),
        (Course("id-i1", "p1", runs=3), True),
        (Course("id-i1", "p1", starting_port=40000), False),
        (Course("id-i1", "p1", next_start=NOW + 0.1), False),
        (Course("id-i1", "p1", next_start=NOW), True),
        (Course("id-i1", "p1", given_up=True), False),
        (Course("id-i1", "p0", given_up=True), True),
        (Course("id-old", "p1", given_up=True), True),
        (Course("id-i1", "p0", next_start=NOW + 50), True),
    ],
)
def test_when_a_start_is_due(course, starts):
    courses = {} if course is None else {"i1": course}
    found = of(Start, run(desired(wanted()), observed(courses=courses)))
    assert bool(found) is starts
    if found:
        assert found[0].run == (1 if course is None else course.runs + 1)


@pytest.mark.parametrize("instance_id", ["id-i1", "other"])
@pytest.mark.parametrize("placement", ["p1", "p0"])
@pytest.mark.parametrize("is_wanted", [True, False])
@pytest.mark.parametrize("stopping", [True, False])
@pytest.mark.parametrize("gone", [None, Reason("engine_exited")])
@pytest.mark.parametrize("stop_after", [0.0, NOW + 1])
def test_every_process_that_is_not_exactly_wanted_is_stopped(
    instance_id, placement, is_wanted, stopping, gone, stop_after
):
    one = process(
        "i1", placement, instance_id=instance_id, stopping=stopping, gone=gone,
        stop_after=stop_after, **BUSY,
    )  # fmt: skip
    want = desired(wanted()) if is_wanted else desired()
    stops = of(Stop, run(want, observed(one)))
    right = is_wanted and placement == "p1" and instance_id == "id-i1"
    waits = stopping or stop_after > NOW
    if waits or (right and gone is None):
        assert stops == []
    else:
        assert [stop.process for stop in stops] == [one]
        assert stops[0].failure == (gone if right else None)
        assert (stops[0].grace_s == 0.0) is (gone is not None)


def test_an_unknown_process_with_our_mark_is_stopped():
    stray = process("", "", token="stray", **BUSY)
    assert [stop.process for stop in of(Stop, run(desired(wanted()), observed(stray)))] == [stray]


def test_of_two_processes_of_one_placement_the_ready_one_stays():
    old = process(token="a", run=1, health=Health.READY, **BUSY)
    new = process(token="b", run=2, **BUSY)
    assert [stop.process for stop in of(Stop, run(desired(wanted()), observed(old, new)))] == [new]


def test_of_two_processes_the_living_one_stays():
    dead = process(token="a", health=Health.READY, gone=Reason("engine_exited"), **BUSY)
    alive = process(token="b", **BUSY)
    stops = of(Stop, run(desired(wanted()), observed(dead, alive)))
    assert [(stop.process, stop.failure) for stop in stops] == [(dead, None)]


def test_a_start_without_progress_ends():
    one = process(progress=0.0, **BUSY)
    assert not of(Stop, run(desired(wanted()), observed(one), now=99.9))
    (stop,) = of(Stop, run(desired(wanted()), observed(one), now=100.0))
    assert stop.failure.code == "start_timeout"
    assert stop.failure.params["stage"] == "silent"


def test_a_slow_start_with_progress_goes_on():
    one = process(progress=950.0, **BUSY)
    assert not of(Stop, run(desired(wanted()), observed(one), now=1000.0))


def test_a_sick_engine_is_killed_after_a_minute():
    one = process(health=Health.SICK, missing_since=5.0, misses=9, **BUSY)
    assert not of(Stop, run(desired(wanted()), observed(one), now=5.0 + SICK_LIMIT_S - 0.1))
    (stop,) = of(Stop, run(desired(wanted()), observed(one), now=5.0 + SICK_LIMIT_S))
    assert (stop.failure.code, stop.grace_s) == ("unhealthy", 0.0)


def test_restart_on_error_travels_with_the_stop():
    one = process(gone=Reason("engine_exited"))
    want = desired(wanted(restart_on_error=False))
    (stop,) = of(Stop, run(want, observed(one)))
    assert stop.restart_on_error is False


@pytest.mark.parametrize(
    ("changes", "due"),
    [
        ({}, 0.0),
        ({"checked": 10.0}, 10.25),
        ({"checked": 10.0, "health": Health.LOADING}, 10.25),
        ({"checked": 10.0, "health": Health.READY}, 12.0),
        ({"checked": 10.0, "health": Health.READY, "misses": 1}, 10.5),
        ({"checked": 10.0, "health": Health.SICK, "missing_since": 9.0}, 12.0),
    ],
)
def test_when_a_check_is_due(changes, due):
    one = process(progress=9.0, **changes)
    for now, expected in ((due - 0.01, 0), (due, 1)):
        actions = decide(desired(wanted()), observed(one), now)
        assert len(of(Check, actions)) == expected


def test_no_check_of_what_is_being_checked_or_stopped():
    for changes in ({"checking": True}, {"stopping": True}, {"gone": Reason("engine_exited")}):
        assert not of(Check, run(desired(wanted()), observed(process(**changes))))
    assert not of(Check, run(desired(), observed(process())))


def test_files_are_looked_at_at_once_and_again_later():
    fresh = observed(files={})
    assert of(Look, run(desired(), fresh)) == [Look(MODEL)]
    looking = observed(files={MODEL: FileSeen(looking=True)})
    assert not of(Look, run(desired(wanted()), looking))
    missing = observed(files={MODEL: FileSeen(FileObservation(FileState.MISSING), looked=NOW)})
    assert not of(Look, run(desired(), missing, now=NOW + 4.9))
    assert of(Look, run(desired(), missing, now=NOW + 5.0))


def test_a_model_is_looked_at_even_when_only_an_instance_names_it():
    want = desired(wanted())
    want = type(want)(1, "w1", want.instances, ())
    assert of(Look, run(want, observed(files={}))) == [Look(MODEL)]


def test_what_is_over_is_forgotten_and_not_before():
    courses = {"i1": Course("id-i1", "p1", runs=1), "i2": Course("id-i2", "p1", starting_port=1)}
    assert of(Forget, run(desired(), observed(courses=courses))) == [Forget("i1")]
    living = observed(process(**BUSY), courses=courses)
    assert not of(Forget, run(desired(), living))


def test_before_the_desired_set_is_known_nothing_is_started_or_stopped():
    due, busy = process("a", token="a"), process("b", token="b", checking=True)
    gone = process("c", token="c", gone=Reason("engine_exited"))
    assert attend(observed(due, busy, gone), NOW) == (Check(due),)


def test_the_next_time_is_never_now():
    """A time that has passed and led to nothing must not turn the loop into a spin."""
    course = Course("id-i1", "p1", next_start=NOW - 1)
    full = observed(courses={"i1": course}, ports=(40000, 39999))
    assert decide(desired(wanted()), full, NOW) == ()
    assert next_time(desired(wanted()), full, NOW) == 30.0  # the next look at the file


def test_the_next_time_is_the_soonest_of_all():
    seen = observed(
        process("a", token="a", checked=NOW, health=Health.READY),
        process("b", token="b", checked=NOW, progress=NOW),
        courses={"c": Course("id-c", "p1", next_start=NOW + 0.1)},
    )
    want = desired(wanted("a"), wanted("b"), wanted("c"))
    assert next_time(want, seen, NOW) == pytest.approx(NOW + 0.1)
    assert next_time(None, seen, NOW) == pytest.approx(NOW + 0.25)
    assert next_time(None, observed(), NOW) is None


LENT = Placement(
    "p1",
    "several workers",
    (Rank("w9"), Rank("w1", (Claim("w1:cuda:0", MemoryParts(), 3),))),
)


def test_who_only_lends_devices_needs_none_of_the_files():
    lent = replace(wanted(), placement=LENT)
    nothing = observed(files={}, worker="w1")
    assert of(Start, run(desired(lent), nothing))
    assert [look.model for look in of(Look, run(DesiredSet(1, "w1", (lent,)), nothing))] == []
    led = replace(wanted(), placement=replace(LENT, ranks=tuple(reversed(LENT.ranks))))
    assert not of(Start, run(desired(led), nothing)), "the first one reads them"
    whole = replace(LENT, ranks=(Rank("w9"), Rank("w1", (Claim("w1:cuda:0", MemoryParts()),))))
    assert not of(Start, run(desired(replace(wanted(), placement=whole)), nothing)), (
        "it reads its own part"
    )


def test_what_is_held_back_does_not_start():
    held = {"i1": Reason("rank_waiting")}
    assert not of(Start, run(desired(wanted()), observed(held=held)))
    assert of(Start, run(desired(wanted()), observed(held={"other": Reason("rank_waiting")})))
