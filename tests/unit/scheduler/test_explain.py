"""Records are plain, bounded, and say what was decided with numbers."""

import json
from dataclasses import replace

from hypothesis import assume, event, given, settings
from hypothesis import strategies as st

from aimindserve.core.device import Device, MemoryParts, Need
from aimindserve.core.reason import Reason
from aimindserve.core.shape import OnKind, Shape
from aimindserve.scheduler import explain
from aimindserve.scheduler.base import Ask, Snapshot, WorkerView
from aimindserve.scheduler.nearest import granted
from aimindserve.scheduler.plan import plan
from unit.scheduler import worlds

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


def test_a_summary_carries_numbers_and_no_words():
    result = plan(Snapshot(1, (worker("a", 3), worker("b", 5))), [ask(8)])
    assert result.refusals["chat-1"].summary.params == {
        "name": "chat-1",
        "workers": 2,
        "counts": {"no_fit_ram": 2},
        "closest": "b",
        "need_bytes": 8 * GIB,
        "free_bytes": 5 * GIB,
    }


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


@given(worlds.snapshots(), worlds.asks(0, max_ranks=1))
@settings(max_examples=20, deadline=None)
def test_what_is_said_to_be_missing_on_a_device_is_missing(snapshot, ask):
    """Given that much more, and nothing else, the device takes it; given one byte less, it does
    not."""
    shape = next((each for each in ask.shapes if len(each.ranks[0].devices) == 1), None)
    assume(shape is not None)
    ask = replace(ask, shapes=(shape,))
    told = explain.record(plan(snapshot, [ask]).decisions[ask.instance])
    assume(told["refusal"] is not None)
    workers = {worker.name: worker for worker in snapshot.workers}
    for answer in told["devices"]:
        worker = workers[answer["device"].partition(":")[0]]
        device = next(each for each in worker.devices if each.id == answer["device"])
        lacks = [each["code"] for each in told["refused"] if each["worker"] == worker.name]
        if answer["code"] != "no_fit_vram" or lacks != ["no_fit_vram"] or device.unified_memory:
            continue
        assert answer["missing_bytes"] == answer["need_bytes"] - answer["free_bytes"] > 0
        for more, fits in ((answer["missing_bytes"], True), (answer["missing_bytes"] - 1, False)):
            free = {**worker.device_free_bytes, device.id: answer["free_bytes"] + more}
            alone = replace(worker, devices=(device,), device_free_bytes=free)
            placed = plan(replace(snapshot, workers=(alone,)), [ask]).placements
            assert bool(placed) == fits


def two_cards(name, *free_gib, ram_gib=64, python=""):
    """A worker with one 80 GiB device for each of `free_gib`."""
    cards = tuple(
        Device(f"{name}:cuda:{at}", at, "cuda", "nvidia", "H100", 80 * GIB)
        for at in range(len(free_gib))
    )
    free = {card.id: size * GIB for card, size in zip(cards, free_gib, strict=True)}
    return replace(worker(name, ram_gib), devices=cards, device_free_bytes=free, python=python)


def near(workers, *shapes, **fields):
    wish = Ask("big-1", "big", "p1", shapes, **fields)
    made = plan(Snapshot(1, tuple(workers)), [wish]).decisions["big-1"]
    return explain.record(made)["nearest"]


def test_the_nearest_device_and_worker_are_told_with_what_they_miss():
    one = Shape("1 device", (Need(devices=(MemoryParts(weights=100 * GIB),)),))
    two = Shape("2 devices", (Need(devices=(MemoryParts(weights=50 * GIB),) * 2),))
    told = near([two_cards("a", 20, 30), two_cards("b", 40, 30)], one, two)
    assert told["device"] == {
        "name": "b:cuda:0",
        "workers": ["b"],
        "shape": "1 device",
        "need_bytes": 100 * GIB,
        "free_bytes": 40 * GIB,
        "missing_bytes": 60 * GIB,
        "missing": {"b:cuda:0": 60 * GIB},
    }
    assert told["worker"] == {
        "name": "b",
        "workers": ["b"],
        "shape": "2 devices",
        "need_bytes": 100 * GIB,
        "free_bytes": 70 * GIB,
        "missing_bytes": 30 * GIB,
        "missing": {"b:cuda:0": 10 * GIB, "b:cuda:1": 20 * GIB},
    }
    assert set(told) == {"device", "worker"}


def test_a_worker_that_something_else_speaks_against_is_not_near():
    cordoned = replace(two_cards("a", 79), cordoned=True)
    shape = Shape("1 device", (Need(devices=(MemoryParts(weights=80 * GIB),)),))
    assert near([cordoned, two_cards("b", 10)], shape)["device"]["name"] == "b:cuda:0"
    assert near([cordoned], shape) == {}


def test_the_nearest_workers_for_what_spans_several_are_told():
    rank = Need(devices=(MemoryParts(weights=60 * GIB),))
    shape = Shape("2 workers", (rank, rank), across=True)
    told = near(
        [
            two_cards("a", 50, python="3.12"),
            two_cards("b", 55, python="3.11"),
            two_cards("c", 40, python="3.12"),
            two_cards("d", 20, python="3.12"),
        ],
        shape,
    )
    assert told["combination"]["workers"] == ["a", "c"]
    assert told["combination"]["missing"] == {"a:cuda:0": 10 * GIB, "c:cuda:0": 20 * GIB}
    assert "device" not in told


def test_what_was_measured_on_a_kind_of_device_counts_there():
    shape = Shape("1 device", (Need(devices=(MemoryParts(weights=70 * GIB),)),))
    known = OnKind("H100", (Need(devices=(MemoryParts(weights=60 * GIB),)),))
    there = two_cards("a", 50)
    other = replace(two_cards("b", 55), devices=(replace(two_cards("b", 1).devices[0], name="L"),))
    told = near([there, other], replace(shape, kinds=(known,)))
    assert told["device"]["missing"] == {"a:cuda:0": 10 * GIB}
    assert near([other], replace(shape, kinds=(known,)))["device"]["missing_bytes"] == 15 * GIB


def test_where_no_device_is_wanted_the_ram_is_told():
    shape = Shape("cpu", (Need(ram=MemoryParts(weights=8 * GIB)),))
    told = near([worker("a", 3), worker("b", 5)], shape)
    assert (told["ram"]["name"], told["ram"]["missing_bytes"]) == ("b:ram", 3 * GIB)


def scarce(worker):
    """The worker with so little left that most is refused for memory alone."""
    free = {device: size // 8 for device, size in worker.device_free_bytes.items()}
    return replace(
        worker,
        ready=True,
        cordoned=False,
        ports_free=4,
        python="3.12",
        device_free_bytes=free,
        ram_free_bytes=worker.ram_free_bytes // 4,
    )


@given(worlds.snapshots(), st.one_of(worlds.shapes(), worlds.layered(), worlds.across()))
@settings(max_examples=60, deadline=None)
def test_what_the_nearest_places_are_said_to_miss_is_true(snapshot, shape):
    """With that much more free, and nothing else, it is placed; with one byte less, it is not."""
    workers = tuple(scarce(worker) for worker in snapshot.workers)
    snapshot = replace(snapshot, workers=workers)
    ask = Ask("x-1", "x", "p1", (shape,))
    told = explain.record(plan(snapshot, [ask]).decisions["x-1"])["nearest"]
    for level, each in told.items():

        def placed(missing):
            workers = tuple(granted(worker, missing) for worker in snapshot.workers)
            return "x-1" in plan(replace(snapshot, workers=workers), [ask]).placements

        event(level)
        assert sum(each["missing"].values()) == each["missing_bytes"] > 0
        assert placed(each["missing"])
        alone = shape.layers is None or not shape.layers.remote_max  # nobody else could help
        if alone and level in {"worker", "ram"}:
            for place, size in each["missing"].items():
                assert not placed({**each["missing"], place: size - 1})
