"""The derived phase over its whole input space: no combination is unnamed, and each says why."""

import itertools

from aimindserve.core.facts import ModelRef, SourceName
from aimindserve.core.placement import Placement, Rank
from aimindserve.core.reason import Class, Reason
from aimindserve.core.report import InstanceObservation, RunState
from aimindserve.resources.deployment import DeploymentSpec, DeploymentStatus
from aimindserve.resources.deployment import phase as deployment_phase
from aimindserve.resources.instance import InstanceSpec, InstanceStatus, is_ready, phase

TEMPLATE = DeploymentSpec(model=ModelRef(source=SourceName.LOCAL, path="/m.gguf"))
PLACED = Placement(id="p2", shape="cpu", ranks=(Rank(worker="w"),))
REFUSED = Reason("no_worker")

AWAY = [
    None,
    *(Reason(code, {"worker": "w"}) for code in ("worker_lost", "worker_leaving", "worker_left")),
]

EXPECTED = {
    RunState.WAITING: "preparing",
    RunState.STARTING: "starting",
    RunState.LOADING: "loading",
    RunState.READY: "ready",
    RunState.STOPPING: "stopping",
    RunState.BACKOFF: "backoff",
    RunState.FAILED: "failed",
}


def _spec(stopping: bool) -> InstanceSpec:
    return InstanceSpec(
        deployment="d", deployment_generation=1, template=TEMPLATE, stopping=stopping
    )


def _seen(placement_id: str, state: RunState) -> InstanceObservation:
    return InstanceObservation(placement_id=placement_id, state=state, since=0.0)


def test_the_whole_table() -> None:
    for placed, refused, away, stopping, state, old in itertools.product(
        (False, True), (False, True), AWAY, (False, True), [None, *RunState], (False, True)
    ):
        seen = None if state is None else _seen("p1" if old else "p2", state)
        status = InstanceStatus(
            placement=PLACED if placed else None,
            refusal=REFUSED if refused else None,
            observed=seen,
        )
        word, visual, reason = phase(_spec(stopping), status, away=away)
        if not placed:
            assert word == ("waiting" if refused else "queued")
        elif away is not None:
            leaving = away.code == "worker_leaving"
            expected = ("stopping", Class.WORKING) if leaving else ("lost", Class.FAILED)
            assert (word, visual) == expected
            assert reason is away
        elif stopping:
            assert word == "stopping"
        elif seen is None or old:
            assert word == "placing"
        else:
            assert word == EXPECTED[seen.state]
        assert is_ready(status) == (placed and state is RunState.READY and not old)


def test_a_deployment_says_ready_only_when_all_are() -> None:
    spec = TEMPLATE.model_copy(update={"replicas": 2})
    cases = [(0, "progressing"), (1, "degraded"), (2, "ready")]
    for ready, word in cases:
        assert deployment_phase(spec, DeploymentStatus(replicas=2, ready_replicas=ready))[0] == word
    waiting = DeploymentStatus(replicas=2, ready_replicas=0, reason=REFUSED)
    assert deployment_phase(spec, waiting)[0] == "waiting"
    stopped = TEMPLATE.model_copy(update={"replicas": 0})
    assert deployment_phase(stopped, DeploymentStatus())[0] == "stopped"
