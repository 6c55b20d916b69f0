"""A cut over several workers whose processes must all be of one version."""

from dataclasses import replace

import pytest

from aimindserve.core.device import Device, MemoryParts, Need
from aimindserve.core.shape import Layers, Requirement, Shape
from aimindserve.scheduler import explain
from aimindserve.scheduler.base import Ask, Snapshot
from aimindserve.scheduler.plan import plan
from unit.scheduler.test_explain import worker

GIB = 1024**3
LAYER = MemoryParts(weights=GIB)
SHAPE = Shape(
    "several workers",
    (Need(ram=MemoryParts(runtime=GIB)),),
    Requirement(installation="engine"),
    Layers(
        device=(LAYER,) * 12, host=(LAYER,) * 12, least=12, devices_max=4, remote_max=3,
        remote_ram=MemoryParts(runtime=GIB),
    ),
)  # fmt: skip
ASK = Ask("big-1", "big", "p1", (SHAPE,))


def gpu(name, *versions, free=5, local=False):
    device = Device(f"{name}:cuda:0", 0, "cuda", "", "GPU", 10 * GIB)
    return worker(
        name,
        32,
        devices=(device,),
        device_free_bytes={device.id: free * GIB},
        backends={"engine": versions} if versions else {"other": ()},
        ports_free=4,
        local=local,
    )


def homes(*workers, ask=ASK):
    found = plan(Snapshot(1, workers), [ask])
    placement = found.placements.get("big-1")
    return found.decisions["big-1"], None if placement is None else sorted(placement.workers)


def test_workers_of_one_version_share_a_model():
    _, found = homes(gpu("a", "1"), gpu("b", "1"), gpu("c", "1"))
    assert found == ["a", "b", "c"]


def test_the_largest_worker_does_not_lead_where_nobody_could_follow():
    _, found = homes(gpu("a", "2", free=9), gpu("b", "1"), gpu("c", "1"), gpu("d", "1"))
    assert found == ["b", "c", "d"]


def test_what_a_worker_would_start_is_what_counts():
    _, found = homes(gpu("a", "1", "2"), gpu("b", "2"), gpu("c", "2"))
    assert found is None, "the first starts 1"
    wanted = replace(ASK, backend_version="2")
    _, found = homes(gpu("a", "1", "2"), gpu("b", "2"), gpu("c", "2"), ask=wanted)
    assert found == ["a", "b", "c"]


def test_why_not_is_said():
    decision, found = homes(gpu("a", "1"), gpu("b", "1"), gpu("c", "2"))
    assert found is None
    record = explain.record(decision)
    (odd,) = [each for each in record["refused"] if each["code"] == "version_differs"]
    assert odd["worker"] == "c"
    assert odd["message"].startswith("c has engine 2, and most other workers have engine 1")
    assert "1 of 3 with another version of the engine" in record["refusal"]["message"]


def test_nothing_is_said_of_versions_where_they_are_not_the_trouble():
    for workers in ([gpu("a", "1"), gpu("b", "1")], [gpu("a", "1"), gpu("b")]):
        decision, found = homes(*workers)
        assert found is None
        codes = {each["code"] for each in explain.record(decision)["refused"]}
        assert "version_differs" not in codes


@pytest.mark.parametrize("free", [3, 4])
def test_what_is_said_to_be_missing_is_missing_on_workers_alike(free):
    decision, found = homes(gpu("a", "1", free=free), gpu("b", "1", free=free), gpu("c", "2"))
    assert found is None
    told = explain.record(decision)["nearest"]["combination"]
    assert told["workers"] == ["a", "b"]
    assert told["missing_bytes"] == pytest.approx((12 - 2 * free) * GIB, rel=2**-10)


def test_who_is_reached_from_its_own_machine_only_leads_and_does_not_lend():
    decision, found = homes(gpu("a", "1", local=True, free=4), gpu("b", "1"), gpu("c", "1"))
    assert found == ["a", "b", "c"]
    assert decision.placement.worker == "a"
    decision, found = homes(gpu("a", "1", local=True), gpu("b", "1"), gpu("c", "1", free=1))
    assert found is None
    told = [each for each in explain.record(decision)["refused"] if each["code"] == "lends_nothing"]
    assert [each["worker"] for each in told] == ["a"]
    _, found = homes(*(gpu(name, "1", local=True) for name in "abc"))
    assert found == ["a", "b", "c"], "they are on one machine"
