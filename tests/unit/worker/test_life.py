import pytest

from aimindserve.core.reason import OUT_OF_MEMORY, Reason
from aimindserve.worker.board import Board
from aimindserve.worker.decide import Start
from aimindserve.worker.life import (
    LOOP_FAILURES,
    Answer,
    Failure,
    begin,
    calm,
    fail,
    grown,
    settle,
    stuck,
)
from aimindserve.worker.observed import Course, Health, Moment
from aimindserve.worker.recall import recall
from aimindserve.worker.state import AgentState, KeptCourse
from unit.worker.world import handle, process, wanted

ENDED = Failure(Reason("engine_exited", {"status": "exit code 3", "name": "i1"}, "last words"))
MIDDLE = 0.5


def at(monotonic):
    return Moment(monotonic, monotonic + 1_000_000.0)


def failures(count, *, every_s, jitter=MIDDLE, failure=ENDED):
    """The course after `count` failures, one `every_s` seconds."""
    course = Course("id-i1", "p1", runs=1)
    waits = []
    for number in range(count):
        moment = at(number * every_s)
        course = fail(course, failure, moment, jitter)
        if course.next_start is not None:
            waits.append(course.next_start - moment.monotonic)
    return course, waits


def test_pauses_double_up_to_a_minute():
    _, waits = failures(8, every_s=100)
    assert waits == pytest.approx([1, 2, 4, 8, 16, 32, 60, 60])


@pytest.mark.parametrize("code", sorted(OUT_OF_MEMORY))
def test_who_ran_out_of_memory_is_not_started_there_again(code):
    course, waits = failures(1, every_s=1, failure=Failure(Reason(code, {"worker": "w"})))
    assert (course.given_up, course.ooms, course.next_start, waits) == (True, 1, None, [])
    assert course.reason.code == code


@pytest.mark.parametrize(("ooms", "alive"), [(0, False), (1, False), (1, True)])
def test_an_agent_that_is_started_anew_does_not_try_it_there_either(ooms, alive):
    kept = KeptCourse("id-i1", "p1", runs=1, restarts=0, alive=alive, ooms=ooms)
    board = Board((40000, 40003))
    living = [handle()] if alive else []
    recall(board, AgentState("m", None, {"i1": kept}), living, at(10.0))
    assert board.courses["i1"].given_up is (ooms > 0 and not alive)


def test_jitter_varies_a_pause_by_a_fifth():
    assert failures(1, every_s=1, jitter=0.0)[1] == pytest.approx([0.8])
    assert failures(1, every_s=1, jitter=1.0)[1] == pytest.approx([1.2])


def test_next_start_is_told_in_wall_time():
    course, _ = failures(1, every_s=1)
    assert course.next_start_epoch == pytest.approx(1_000_001.0)


def test_five_failures_in_ten_minutes_are_a_crash_loop():
    before, _ = failures(LOOP_FAILURES - 1, every_s=60)
    looping, _ = failures(LOOP_FAILURES, every_s=60)
    assert before.reason.code == "engine_exited"
    assert looping.reason.code == "crash_loop"
    assert looping.reason.params["count"] == 5
    assert looping.reason.params["cause"] == "engine_exited"
    assert looping.reason.evidence == "last words"
    assert "5 times" in looping.reason.message


def test_failures_far_apart_are_no_crash_loop():
    course, _ = failures(20, every_s=200)
    assert course.reason.code == "engine_exited"
    assert course.restarts == 20


def test_ten_minutes_of_readiness_wipe_the_slate():
    course, _ = failures(6, every_s=1)
    ready = process(health=Health.READY, ready_since=100.0)
    assert calm(course, ready, at(699.9)) is course
    calmed = calm(course, ready, at(700.0))
    assert calmed.failures == ()
    assert calmed.restarts == 6
    again = fail(calmed, ENDED, at(701.0), MIDDLE)
    assert again.next_start == pytest.approx(702.0)
    assert again.reason.code == "engine_exited"


def test_what_cannot_be_retried_is_given_up():
    course = fail(Course("id", "p"), Failure(Reason("bad_param", {"param": "-x"})), at(1), MIDDLE)
    assert course.given_up
    assert course.next_start is None
    assert course.reason.code == "bad_param"


def test_without_restarts_the_first_failure_is_the_last():
    failure = Failure(ENDED.reason, restart_on_error=False)
    course = fail(Course("id", "p"), failure, at(1), MIDDLE)
    assert course.given_up
    assert course.reason.code == "restart_off"
    assert "exit code 3" in course.reason.message
    assert course.reason.evidence == "last words"


def test_a_new_placement_starts_with_a_clean_course_but_the_next_run_number():
    course, _ = failures(4, every_s=1)
    same = begin(course, Start(wanted(), 5, 40000))
    assert (same.runs, same.restarts, same.pause_s, same.next_start) == (5, 4, 8.0, None)
    other = begin(course, Start(wanted(placement="p2"), 5, 40000))
    assert (other.runs, other.restarts, other.pause_s, other.failures) == (5, 0, 0.0, ())
    assert other.starting_port == 40000


def test_a_failed_start_gives_its_port_back():
    course = begin(None, Start(wanted(), 1, 40000))
    assert fail(course, ENDED, at(1), MIDDLE).starting_port == 0


def test_from_silent_over_loading_to_ready():
    one = settle(process(checking=True), at(1), Answer.SILENT)
    assert (one.health, one.checking, one.checked) == (Health.SILENT, False, 1)
    one = settle(one, at(2), Answer.LOADING)
    assert (one.health, one.progress) == (Health.LOADING, 2)
    assert settle(one, at(3), Answer.SILENT).health is Health.LOADING
    one = settle(one, at(4), Answer.READY)
    assert (one.health, one.ready_since) == (Health.READY, 4)
    assert settle(one, at(5), Answer.READY).ready_since == 4


@pytest.mark.parametrize("answer", [Answer.SILENT, Answer.LOADING])
def test_a_ready_engine_must_miss_five_checks_to_be_sick(answer):
    one = process(health=Health.READY, ready_since=0.0)
    for number in range(1, 5):
        one = settle(one, at(number), answer)
        assert (one.health, one.misses) == (Health.READY, number)
    one = settle(one, at(5), answer)
    assert (one.health, one.missing_since, one.ready_since) == (Health.SICK, 1, None)
    well = settle(one, at(6), Answer.READY)
    assert (well.health, well.misses, well.missing_since) == (Health.READY, 0, None)
    assert well.ready_since == 6


def test_one_good_check_forgives_the_misses():
    one = settle(process(health=Health.READY, ready_since=0.0), at(1), Answer.SILENT)
    assert settle(one, at(2), Answer.READY).misses == 0


def test_a_strangers_answer_ends_our_engine():
    one = settle(process(port=40007), at(1), Answer.FOREIGN)
    assert one.gone.code == "launch_failed"
    assert "40007" in one.gone.message


@pytest.mark.parametrize(
    ("log_bytes", "rss_bytes", "moved"),
    [(0, 0, False), (1, 0, True), (0, 1024**2, True), (0, 1000, False)],
)
def test_what_counts_as_progress(log_bytes, rss_bytes, moved):
    one = grown(process(progress=1.0), at(9), log_bytes=log_bytes, rss_bytes=rss_bytes)
    assert one.progress == (9 if moved else 1.0)


def test_a_stop_that_failed_is_tried_again_later():
    one = stuck(process(stopping=True), at(10))
    assert (one.stopping, one.stop_after) == (False, 15.0)
