from aimindserve.core.reason import Reason
from aimindserve.worker.board import (
    FILES_KEPT,
    Board,
    Checked,
    Looked,
    NotStarted,
    NotStopped,
    Started,
    Stopped,
)
from aimindserve.worker.decide import Check, Forget, Look, Start, Stop
from aimindserve.worker.life import Answer
from aimindserve.worker.observed import Moment
from unit.worker.world import MODEL, PRESENT, PROBE, handle, process, wanted

AT = Moment(10.0, 1000.0)


def started(board, action=None):
    action = action or Start(wanted(), 1, 40000)
    board.mark(action)
    board.apply(Started(action, handle(), PROBE, 3.0), AT, 0.5)
    return board.snapshot().processes["token-i1-p1"]


def test_forgetting_is_done_at_once():
    """Put off, it would hit the next life of the instance."""
    board = Board((40000, 40003))
    started(board)
    board.mark(Forget("i1"))
    assert board.courses == {}


def test_a_start_holds_its_port_until_it_ends():
    board = Board((40000, 40003))
    board.mark(Start(wanted(), 1, 40002))
    assert board.courses["i1"].starting_port == 40002
    assert board.going("i1", 1)
    board.apply(NotStarted(Start(wanted(), 1, 40002), Reason("launch_failed")), AT, 0.5)
    assert board.courses["i1"].starting_port == 0
    assert not board.going("i1", 1)


def test_only_a_failed_stop_of_the_present_placement_counts_as_failure():
    for failure, placement, restarts in (
        (None, "p1", 0),
        (Reason("unhealthy"), "p1", 1),
        (Reason("unhealthy"), "p0", 0),
    ):
        board = Board((40000, 40003))
        started(board)
        old = process("i1", placement, token="old")
        board.adopt(old)
        board.apply(Stopped(Stop(old, 1.0), failure), AT, 0.5)
        assert "old" not in board.processes
        assert board.courses["i1"].restarts == restarts


def test_what_was_not_stopped_stays_known():
    board = Board((40000, 40003))
    one = started(board)
    board.mark(Stop(one, 1.0))
    board.apply(NotStopped(Stop(one, 1.0)), AT, 0.5)
    kept = board.processes[one.token]
    assert (kept.stopping, kept.stop_after > AT.monotonic) == (False, True)


def test_a_check_that_comes_too_late_changes_nothing():
    board = Board((40000, 40003))
    one = started(board)
    board.apply(Stopped(Stop(one, 1.0)), AT, 0.5)
    board.apply(Checked(Check(one), Answer.READY), AT, 0.5)
    assert board.processes == {}


def test_a_suspect_is_checked_at_once():
    board = Board((40000, 40003))
    one = started(board)
    board.apply(Checked(Check(one), Answer.READY), AT, 0.5)
    board.suspect(one.token)
    board.suspect("nobody")
    assert board.processes[one.token].checked is None


def test_a_snapshot_does_not_change():
    board = Board((40000, 40003))
    before = board.snapshot()
    started(board)
    assert before.processes == {}
    assert before.courses == {}


def test_knowledge_of_files_is_bounded():
    from dataclasses import replace

    board = Board((40000, 40003))
    for number in range(FILES_KEPT + 5):
        model = replace(MODEL, path=f"/models/{number}")
        board.apply(Looked(Look(model), PRESENT), AT, 0.5)
    assert len(board.files) == FILES_KEPT
    assert replace(MODEL, path="/models/0") not in board.files


def test_what_has_lost_a_part_of_itself_counts_as_ended():
    board = Board((40000, 40003))
    started(board)
    other = process("i1", "p0", token="old")
    board.adopt(other)
    board.lose("i1", "p1", Reason("rank_lost"))
    assert board.processes["token-i1-p1"].gone == Reason("rank_lost")
    assert board.processes["old"].gone is None, "another placement's"
    board.lose("i1", "p1", Reason("unknown"))
    assert board.processes["token-i1-p1"].gone == Reason("rank_lost"), "the first cause stays"
    board.mark(Stop(other, 1.0))
    board.lose("i1", "p0", Reason("rank_lost"))
    assert board.processes["old"].gone is None, "it is being stopped, and ends in any case"
