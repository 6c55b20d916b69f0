from dataclasses import replace

import pytest

from aimindserve.core.launch import Counters
from aimindserve.core.reason import Reason
from aimindserve.core.report import FileObservation, FileState, RunState
from aimindserve.worker import told
from aimindserve.worker.observed import Counted, Course, FileSeen, Health, Moment, Pace
from unit.worker.world import MODEL, PRESENT, PROBE, desired, observed, process, wanted

AT = Moment(10.0, 1000.0)


def tell(want, seen, before=None, at=AT):
    return dict(told.instances("w1", want, seen, before or {}, at))


def one(want, seen, before=None, at=AT):
    return tell(want, seen, before, at)["i1"]


def test_every_wanted_instance_is_told_in_order():
    want = desired(wanted("b"), wanted("a"))
    assert list(tell(want, observed())) == ["a", "b"]


@pytest.mark.parametrize(
    ("changes", "state"),
    [
        ({}, RunState.STARTING),
        ({"health": Health.LOADING}, RunState.LOADING),
        ({"health": Health.READY}, RunState.READY),
        ({"health": Health.SICK}, RunState.STARTING),
        ({"health": Health.READY, "stopping": True}, RunState.STOPPING),
        ({"health": Health.READY, "gone": Reason("engine_exited")}, RunState.STOPPING),
    ],
)
def test_the_state_of_a_process(changes, state):
    seen = one(desired(wanted()), observed(process(**changes)))
    assert (seen.state, seen.placement_id, seen.pid, seen.port) == (state, "p1", 100, 40000)


def test_why_it_is_not_ready():
    last = Course("id-i1", "p1", restarts=2, reason=Reason("engine_exited"))
    sick = one(desired(wanted()), observed(process(health=Health.SICK), courses={"i1": last}))
    assert sick.reason.code == "unhealthy"
    again = one(desired(wanted()), observed(process(), courses={"i1": last}))
    assert (again.reason.code, again.restarts) == ("engine_exited", 2)
    ready = one(desired(wanted()), observed(process(health=Health.READY), courses={"i1": last}))
    assert ready.reason is None


@pytest.mark.parametrize(
    ("course", "state", "next_start"),
    [
        (Course("id-i1", "p1", starting_port=40001), RunState.STARTING, None),
        (
            Course("id-i1", "p1", next_start=11.0, next_start_epoch=1001.0),
            RunState.BACKOFF,
            1001.0,
        ),
        (Course("id-i1", "p1", next_start=9.0, next_start_epoch=999.0), RunState.WAITING, None),
        (Course("id-i1", "p1", given_up=True), RunState.FAILED, None),
        (Course("id-i1", "p0", given_up=True), RunState.WAITING, None),
    ],
)
def test_the_state_without_a_process(course, state, next_start):
    seen = one(desired(wanted()), observed(courses={"i1": course}))
    assert (seen.state, seen.next_start) == (state, next_start)


@pytest.mark.parametrize(
    ("seen", "code"),
    [
        (observed(files={}), "file_checking"),
        (observed(files={MODEL: FileSeen()}), "file_checking"),
        (
            observed(
                files={
                    MODEL: FileSeen(
                        FileObservation(FileState.MISSING, reason=Reason("path_missing"))
                    )
                }
            ),
            "path_missing",
        ),
        (observed(ports=(40000, 40000), taken=frozenset({40000})), "port_exhausted"),
    ],
)
def test_what_it_waits_for(seen, code):
    told_one = one(desired(wanted()), seen)
    assert (told_one.state, told_one.reason.code) == (RunState.WAITING, code)


def test_an_old_placement_still_ending_is_not_taken_for_the_new_one():
    seen = one(desired(wanted(placement="p2")), observed(process(placement="p1", stopping=True)))
    assert (seen.placement_id, seen.state, seen.pid) == ("p2", RunState.WAITING, 0)


def test_what_is_not_wanted_is_told_until_it_is_gone():
    seen = one(desired(), observed(process(health=Health.READY)))
    assert (seen.state, seen.placement_id) == (RunState.STOPPING, "p1")
    assert tell(desired(), observed()) == {}


def test_before_the_desired_set_is_known_adopted_engines_are_told_as_they_are():
    seen = one(None, observed(process(health=Health.READY, adopted=True)))
    assert (seen.state, seen.adopted) == (RunState.READY, True)


def test_an_unchanged_world_is_told_in_the_same_words():
    want = desired(wanted())
    first = tell(want, observed(process(health=Health.READY)))
    later = tell(want, observed(process(health=Health.READY)), first, Moment(99.0, 2000.0))
    assert later == first
    assert first["i1"].since == 1000.0
    worse = one(want, observed(process(health=Health.SICK)), first, Moment(99.0, 2000.0))
    assert worse.since == 2000.0


def test_memory_alone_is_no_news():
    want = desired(wanted())
    small = (tuple(tell(want, observed(process(rss_bytes=1))).items()), ())
    large = (tuple(tell(want, observed(process(rss_bytes=9))).items()), ())
    assert told.essence(small) == told.essence(large)


def test_what_it_has_generated_is_told_and_is_no_news():
    want = desired(wanted())
    counting = replace(PROBE, counters=Counters("tokens", "seconds", first_too=True))
    pace = Pace(2, Counted(102.0, 5.0), 102.0, 5.0, 2.0)
    before = tell(want, observed(process(health=Health.READY, probe=counting)))
    after = tell(want, observed(process(health=Health.READY, probe=counting, pace=pace)))
    assert before["i1"].generated_tokens is None
    assert (after["i1"].generated_tokens, after["i1"].generated_s) == (100, 5.0)
    first, second = ((tuple(each.items()), ()) for each in (before, after))
    assert told.essence(first) == told.essence(second)


def test_files_are_told_by_the_servers_names():
    assert told.files(desired(), observed()) == (("file-1", PRESENT.observation),)
    assert told.files(desired(), observed(files={}))[0][1].state is FileState.CHECKING
    assert told.files(None, observed()) == ()


def test_an_instance_that_is_held_back_says_what_for():
    reason = Reason("rank_waiting", {"peer": "w2", "name": "i1", "detail": "not yet"})
    seen = one(desired(wanted()), observed(held={"i1": reason}))
    assert (seen.state, seen.reason) == (RunState.WAITING, reason)
