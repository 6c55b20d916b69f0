"""Records are plain, bounded, and say what was decided with numbers."""

import json

from aimindserve.core.device import MemoryParts, Need
from aimindserve.core.reason import CATALOGUE, Reason
from aimindserve.core.shape import Shape
from aimindserve.scheduler import explain
from aimindserve.scheduler.base import Ask, Snapshot, WorkerView
from aimindserve.scheduler.plan import plan

GIB = 1024**3


def worker(name, free_gib, **more):
    return WorkerView(
        **{
            "name": name,
            "ready": True,
            "cordoned": False,
            "os": "linux",
            "arch": "amd64",
            "labels": {},
            "ram_bytes": 64 * GIB,
            "ram_free_bytes": free_gib * GIB,
            **more,
        }
    )


def ask(need_gib, name="chat-1"):
    shape = Shape("cpu", (Need(ram=MemoryParts(weights=need_gib * GIB)),))
    return Ask(instance=name, deployment="chat", placement_id="p1", shapes=(shape,))


def test_a_placement_s_record_tells_candidates_scores_and_choice():
    snapshot = Snapshot(9, (worker("a", 10), worker("b", 30), worker("c", 1)))
    record = explain.record(plan(snapshot, [ask(8)]).decisions["chat-1"])
    assert record["revision"] == 9
    assert record["choice"]["worker"] == "b"
    assert [entry["worker"] for entry in record["candidates"]] == ["b", "a"]
    assert record["candidates"][0]["score"] > record["candidates"][1]["score"]
    (refused,) = record["refused"]
    assert refused["worker"] == "c"
    assert refused["params"]["need_bytes"] == 8 * GIB
    assert refused["params"]["free_bytes"] == 1 * GIB
    assert record["counts"] == {"no_fit_ram": 1}
    assert json.loads(json.dumps(record)) == record


def test_a_refusal_s_summary_counts_reasons_and_names_the_closest():
    snapshot = Snapshot(
        1, (worker("a", 3), worker("b", 5), worker("c", 60, ready=False), worker("d", 2))
    )
    result = plan(snapshot, [ask(8)])
    summary = result.refusals["chat-1"].summary
    assert summary.code == "no_fit"
    assert summary.params["counts"] == {"no_fit_ram": 3, "worker_not_ready": 1}
    assert summary.params["closest"] == "b"
    assert "5.0 GiB free of the 8.0 GiB needed" in summary.message
    record = explain.record(result.decisions["chat-1"])
    assert record["choice"] is None
    assert record["refusal"]["code"] == "no_fit"
    assert record["refused_total"] == 4


def test_a_single_worker_s_only_reason_is_the_summary():
    result = plan(Snapshot(1, (worker("a", 3),)), [ask(8)])
    assert result.refusals["chat-1"].summary.code == "no_fit_ram"


def test_without_workers_it_says_how_to_get_one():
    refusal = plan(Snapshot(1, ()), [ask(8)]).refusals["chat-1"]
    assert refusal.summary.code == "no_worker"
    assert refusal.workers == ()


def test_an_ask_without_shapes_is_refused():
    bare = Ask(instance="x", deployment="x", placement_id="p", shapes=())
    assert plan(Snapshot(1, (worker("a", 3),)), [bare]).refusals["x"].summary.code == "no_fit"


def test_records_are_bounded():
    snapshot = Snapshot(1, tuple(worker(f"w{index:04}", index % 2 * 60) for index in range(600)))
    record = explain.record(plan(snapshot, [ask(8)]).decisions["chat-1"])
    assert len(record["candidates"]) == explain.CANDIDATES_SHOWN
    assert record["candidates_total"] == 300
    assert len(record["refused"]) == explain.REFUSED_SHOWN
    assert record["refused_total"] == 300


def test_every_phrase_belongs_to_a_reason():
    assert set(explain._PHRASES) <= set(CATALOGUE)


def test_a_committed_ask_is_seen_by_the_next():
    snapshot = Snapshot(1, (worker("a", 10),))
    result = plan(snapshot, [ask(8, "one"), ask(8, "two")])
    assert set(result.placements) == {"one"}
    assert result.refusals["two"].summary.params["free_bytes"] == 2 * GIB


def test_a_file_s_own_reason_is_kept():
    from dataclasses import replace

    missing = Reason("path_missing", {"worker": "a", "path": "/m.gguf"})
    asked = replace(ask(1), file_workers={"a": missing})
    refusal = plan(Snapshot(1, (worker("a", 10),)), [asked]).refusals["chat-1"]
    assert refusal.summary == missing
