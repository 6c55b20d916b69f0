"""Taking up what an agent before this one left: pure, from its state and what still lives."""

from collections.abc import Mapping, Sequence

from aimindserve.core.launch import Probe
from aimindserve.core.reason import Reason
from aimindserve.runtimes.base import Handle
from aimindserve.worker.board import Board
from aimindserve.worker.observed import Course, Moment, Process
from aimindserve.worker.state import AgentState, KeptCourse


def recall(board: Board, state: AgentState, living: Sequence[Handle], at: Moment) -> None:
    """Fill `board`. An engine that had been running and is not found counts as failed once."""
    for handle in living:
        kept = state.courses.get(handle.instance)
        same = kept is not None and kept.placement_id == handle.placement_id
        board.adopt(
            Process(
                handle=handle,
                probe=kept.probe if kept is not None and same else Probe(),
                grace_s=kept.grace_s if kept is not None and same else 10.0,
                started=at.monotonic,
                progress=at.monotonic,
                adopted=True,
            )
        )
    alive = {(handle.instance, handle.placement_id) for handle in living}
    for instance, kept in state.courses.items():
        lost = kept.alive and (instance, kept.placement_id) not in alive
        status = {"status": "the worker or its machine", "name": instance}
        board.remember(
            instance,
            Course(
                instance_id=kept.instance_id,
                placement_id=kept.placement_id,
                runs=kept.runs,
                restarts=kept.restarts + lost,
                reason=Reason("engine_exited", status) if lost else None,
                ooms=kept.ooms,
                # Not again where it ran out of memory, whoever looks after it now.
                given_up=kept.ooms > 0 and not kept.alive,
            ),
        )


def kept_courses(board: Board) -> Mapping[str, KeptCourse]:
    """What of `board` must outlive the agent."""
    running = {
        (process.handle.instance, process.handle.placement_id): process
        for process in board.processes.values()
    }
    kept: dict[str, KeptCourse] = {}
    for instance, course in board.courses.items():
        process = running.get((instance, course.placement_id))
        kept[instance] = KeptCourse(
            instance_id=course.instance_id,
            placement_id=course.placement_id,
            runs=course.runs,
            restarts=course.restarts,
            alive=process is not None or bool(course.starting_port),
            probe=process.probe if process is not None else Probe(),
            grace_s=process.grace_s if process is not None else 10.0,
            ooms=course.ooms,
        )
    return kept
