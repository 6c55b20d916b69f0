"""What happened, told from how an object was and how it is."""

from dataclasses import replace
from typing import Any

import pytest

from aimindserve.controllers.history import KINDS, happened
from aimindserve.core.facts import ModelRef, SourceName
from aimindserve.core.happening import EVENTS, tell
from aimindserve.core.ids import WorkerName
from aimindserve.core.placement import Placement, Rank
from aimindserve.core.reason import Class, Reason
from aimindserve.core.report import FileObservation, FileState, InstanceObservation, RunState
from aimindserve.resources._kind import AnyResource, Metadata, Resource
from aimindserve.resources.deployment import DeploymentSpec, DeploymentStatus
from aimindserve.resources.instance import InstanceSpec, InstanceStatus
from aimindserve.resources.model_file import ModelFileSpec, ModelFileStatus
from aimindserve.resources.worker import WorkerSpec, WorkerStatus

MODEL = ModelRef(SourceName.LOCAL, path="/m.gguf")
WANTED = DeploymentSpec(model=MODEL)
PLACEMENT = Placement("p1", "cpu", (Rank(WorkerName("w1")),))
LOST = Reason("worker_lost", {"worker": "w1", "since": "2026-01-01T00:00:00Z"})
LEAVING = Reason("worker_leaving", {"worker": "w1"})
WENT = Reason("worker_left", {"worker": "w1", "since": "2026-01-01T00:00:00Z"})
ENDED = Reason("engine_killed", {"signal": "SIGKILL"})


def instance(seen: InstanceObservation | None = None, **status: Any) -> AnyResource:
    stopping = bool(status.pop("stopping", False))
    spec = InstanceSpec(deployment="m", deployment_generation=1, template=WANTED, stopping=stopping)
    return Resource(
        "instance",
        Metadata("m-1", "i1"),
        spec,
        InstanceStatus(observed=seen, **{"placement": PLACEMENT, **status}),
    )


def seen(state: RunState, run: int = 1, **more: Any) -> InstanceObservation:
    return InstanceObservation("p1", state, 0.0, run=run, **more)


def worker(**status: Any) -> AnyResource:
    cordoned = bool(status.pop("cordoned", False))
    spec = WorkerSpec(cordoned=cordoned)
    return Resource("worker", Metadata("w1", "w"), spec, WorkerStatus(**status))


def deployment(replicas: int = 1, ready: int = 0, **spec: Any) -> AnyResource:
    return Resource(
        "deployment",
        Metadata("m", "d", generation=3),
        WANTED.model_copy(update={"replicas": replicas, **spec}),
        DeploymentStatus(ready_replicas=ready),
    )


def file(state: FileState | None, reason: Reason | None = None) -> AnyResource:
    observed = None if state is None else FileObservation(state, reason=reason)
    spec = ModelFileSpec(worker="w1", model=MODEL)
    return Resource("model-file", Metadata("f", "f"), spec, ModelFileStatus(observed=observed))


PLACED = instance()
REFUSED = instance(placement=None, refusal=Reason("no_worker"))
READY = instance(seen(RunState.READY))
LOADING = instance(seen(RunState.LOADING))
BACKOFF = instance(seen(RunState.BACKOFF, reason=ENDED))

CASES: list[tuple[str, AnyResource | None, AnyResource | None, list[str]]] = [
    ("made", None, instance(placement=None), []),
    ("refused", instance(placement=None), REFUSED, ["refused"]),
    ("the same refusal", REFUSED, REFUSED, []),
    ("placed", REFUSED, PLACED, ["placed"]),
    ("starting", PLACED, instance(seen(RunState.STARTING)), ["started"]),
    ("loading", instance(seen(RunState.STARTING)), LOADING, []),
    ("ready", LOADING, READY, ["ready"]),
    ("ready at once", PLACED, READY, ["started", "ready"]),
    ("nothing new", READY, instance(seen(RunState.READY, rss_bytes=5)), []),
    ("exited", READY, BACKOFF, ["exited"]),
    ("again", BACKOFF, instance(seen(RunState.STARTING, 2, ended=ENDED)), ["restarted"]),
    (
        "between two reports",
        READY,
        instance(seen(RunState.READY, 2, ended=ENDED)),
        ["exited", "restarted", "ready"],
    ),
    ("given up", BACKOFF, instance(seen(RunState.FAILED, reason=ENDED)), ["failed"]),
    ("held up", PLACED, instance(seen(RunState.WAITING, 0, reason=LOST)), ["waiting"]),
    ("taken over", READY, instance(seen(RunState.READY, adopted=True)), ["adopted"]),
    ("an old report", PLACED, instance(replace(seen(RunState.READY), placement_id="p0")), []),
    ("to stop", READY, instance(seen(RunState.READY), stopping=True), ["stopping"]),
    ("gone", READY, None, ["stopped"]),
    ("gone early", REFUSED, None, ["dropped"]),
    ("registered", None, worker(), []),
    ("joined", worker(), worker(ready=True), ["joined"]),
    ("lost", worker(ready=True), worker(reason=LOST), ["lost"]),
    ("given up", worker(reason=LOST), worker(reason=LOST, evicted=True), ["given_up"]),
    ("back", worker(reason=LOST, evicted=True), worker(ready=True), ["returned"]),
    ("leaving", worker(ready=True), worker(reason=LEAVING), ["leaving"]),
    ("ended", worker(reason=LEAVING), worker(reason=WENT, evicted=True), ["ended"]),
    ("ended at once", worker(ready=True), worker(reason=WENT, evicted=True), ["ended"]),
    ("died over it", worker(reason=LEAVING), worker(reason=LOST, evicted=True), ["given_up"]),
    ("started again", worker(reason=WENT, evicted=True), worker(ready=True), ["returned"]),
    ("cordoned", worker(ready=True), worker(ready=True, cordoned=True), ["cordoned"]),
    ("uncordoned", worker(cordoned=True), worker(), ["uncordoned"]),
    ("left", worker(ready=True), None, ["left"]),
    ("deployed", None, deployment(2), ["deployed"]),
    ("scaled", deployment(2), deployment(3), ["scaled"]),
    ("changed", deployment(), deployment(backend="llama.cpp"), ["changed"]),
    ("one of two", deployment(2), deployment(2, 1), []),
    ("complete", deployment(2, 1), deployment(2, 2), ["complete"]),
    ("degraded", deployment(2, 2), deployment(2, 1), ["degraded"]),
    ("removed", deployment(), None, ["removed"]),
    ("asked", None, file(None), []),
    ("found", file(FileState.CHECKING), file(FileState.READY), ["file_ready"]),
    ("still there", file(FileState.READY), file(FileState.READY), []),
    ("missing", file(None), file(FileState.MISSING), ["file_missing"]),
    ("broken", file(FileState.READY), file(FileState.FAILED, ENDED), ["file_failed"]),
    ("question dropped", file(FileState.READY), None, []),
]  # fmt: skip


@pytest.mark.parametrize(
    ("before", "after", "codes"), [case[1:] for case in CASES], ids=[case[0] for case in CASES]
)
def test_two_states_tell_what_happened(
    before: AnyResource | None, after: AnyResource | None, codes: list[str]
) -> None:
    told = list(happened(before, after))
    assert [each.code for each in told] == codes
    kind = (after or before or READY).kind
    for each in told:
        row = EVENTS[each.code]
        assert row.kind == kind
        assert (each.reason is not None) is ("{why}" in row.en), "a reason where it is told"
        code = "" if each.reason is None else each.reason.code
        params = {**({} if each.reason is None else each.reason.params), **each.params}
        for language in ("en", "zh"):
            assert "?" not in tell(each.code, code, {**params, "detail": ""}, language)


def test_every_event_can_happen() -> None:
    possible = {each.code for case in CASES for each in happened(case[1], case[2])}
    assert possible == EVENTS.keys()
    assert {row.kind for row in EVENTS.values()} == KINDS


@pytest.mark.parametrize("code", sorted(EVENTS))
def test_every_event_is_told_in_both_languages(code: str) -> None:
    row = EVENTS[code]
    assert isinstance(row.visual, Class)
    if row.en != "{why}":
        assert row.en.isascii()
        assert (row.en[-1], row.zh[-1]) == (".", "。")
        assert any("\u4e00" <= letter <= "\u9fff" for letter in row.zh)
    assert tell("no_such", "", {}, "en") == "no_such"
