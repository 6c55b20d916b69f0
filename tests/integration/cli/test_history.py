"""`events`, the events in `describe`, `gpus`, and the outputs for programs."""

import csv
import io
import json
import threading
import time

import pytest

from aimindserve.core.device import Device, DeviceUsage, MemoryParts
from aimindserve.core.ids import device_id
from aimindserve.core.placement import Claim, Placement, Rank
from aimindserve.core.report import WorkerObservation
from integration.cli.serving import GIB, INVENTORY, USAGE

REFUSED = {
    "reason": "no_fit",
    "params": {"name": "m-1", "workers": 2, "counts": {"no_fit_ram": 2}},
}


def test_events_are_told_oldest_first_and_in_the_reader_s_language(served, capsys, monkeypatch):
    served.happened("instance", "m-1", "refused", **REFUSED)
    served.happened("worker", "gpu-01", "joined", count=3)
    assert served.run("events", "--no-header") == 0
    first, second = capsys.readouterr().out.splitlines()
    assert "instance/m-1" in first
    assert "No worker can take this instance: 2 of 2 with too little free RAM." in first
    assert second.split()[2:] == ["worker/gpu-01", "joined", "3", "Joined", "the", "cluster."]
    monkeypatch.setenv("GPUSTACK_LANG", "zh_CN.UTF-8")
    assert served.run("events", "instance/m-1", "--no-header") == 0
    told = capsys.readouterr().out
    assert "没有工作节点可以运行该实例：2 个节点中 2 个空闲内存不足。" in told
    assert "gpu-01" not in told


def test_events_are_chosen(served, capsys):
    old = time.time() - 3_600
    served.happened("worker", "gpu-01", "joined", time=old)
    served.happened("worker", "gpu-01", "lost", reason="worker_lost")
    served.happened("instance", "gpu-01", "ready")

    def codes(*words):
        assert served.run("events", "-o", "json", *words) == 0
        return [each["code"] for each in json.loads(capsys.readouterr().out)]

    assert codes() == ["joined", "lost", "ready"]
    assert codes("worker/") == ["joined", "lost"]
    assert codes("gpu-01", "--since", "10m") == ["lost", "ready"]
    assert codes("--until", "10m") == ["joined"]
    assert codes("--reason", "worker_lost") == ["lost"]
    assert codes("--event", "ready") == ["ready"]
    assert codes("-n", "1") == ["ready"]
    assert served.run("events", "wrker/x") == 2
    assert "Did you mean workers?" in capsys.readouterr().err
    assert served.run("events", "--since", "yesterday") == 2


def test_following_tells_what_comes_and_what_counts_on(served, capsys, monkeypatch):
    from aimindserve.cli import events

    monkeypatch.setattr(events, "LOOK_S", 0.02)
    served.happened("worker", "gpu-01", "joined", id="a")
    printed = []
    real_print, real_follow = events._print_one, events._follow

    def seen(here, document):
        real_print(here, document)
        printed.append((document["id"], document["count"]))
        if document["id"] == "c":
            raise KeyboardInterrupt

    def act():
        for event in ({"id": "b"}, {"id": "b", "count": 2}, {"id": "c"}):
            before = len(printed)
            served.happened("worker", "gpu-01", "lost", **event)
            for _ in range(500):
                if len(printed) > before:
                    break
                time.sleep(0.01)

    actor = threading.Thread(target=act, daemon=True)

    def follow(*arguments):
        actor.start()
        real_follow(*arguments)

    monkeypatch.setattr(events, "_print_one", seen)
    monkeypatch.setattr(events, "_follow", follow)
    assert served.run("events", "-f", "-o", "jsonl") == 130
    actor.join(10)
    assert printed == [("b", 1), ("b", 2), ("c", 1)]
    told = capsys.readouterr()
    assert [json.loads(line)["id"] for line in told.out.splitlines()] == ["a", "b", "b", "c"]
    assert "Stopped following" in told.err


def test_describe_shows_the_last_events_of_a_deployment_and_its_instances(served, capsys):
    assert served.run("deploy", "/m/m.gguf", "--no-wait", "-q") == 0
    served.add_instance("m", "m-1")
    capsys.readouterr()
    served.happened("deployment", "m", "deployed", params={"after": 1})
    served.happened("instance", "m-1", "refused", count=4, **REFUSED)
    served.happened("instance", "other-1", "ready")
    assert served.run("describe", "m") == 0
    told = capsys.readouterr().out
    assert "Events" in told
    assert "Wanted replicas: 1." in told
    assert "2 of 2 with too little free RAM. ×4" in told
    assert "other-1" not in told
    assert served.run("describe", "m", "-o", "json") == 0
    assert {each["code"] for each in json.loads(capsys.readouterr().out)["events"]} == {
        "refused",
        "deployed",
    }


@pytest.fixture
def with_gpus(served):
    first, second = (
        Device(
            device_id("gpu-01", "cuda", index), index, "cuda", "nvidia", "NVIDIA H200", 141 * GIB
        )
        for index in range(2)
    )
    usage = DeviceUsage(first.id, 40 * GIB, 0.5)
    served.add_worker()

    def change(found):
        seen: WorkerObservation = found.status.observed
        from dataclasses import replace

        seen = replace(
            seen,
            inventory=replace(INVENTORY, devices=(first, second)),
            usage=replace(USAGE, devices=(usage,)),
        )
        return found.with_status(found.status.model_copy(update={"observed": seen}))

    served.do(served.store.update("worker", "gpu-01", change))
    assert served.run("deploy", "/m/m.gguf", "--no-wait", "-q") == 0
    claim = Claim(first.id, MemoryParts(weights=30 * GIB, kv_cache=6 * GIB))
    placement = Placement("p1", "1 device", (Rank("gpu-01", (claim,)),))
    served.add_instance("m", "m-1", placement=placement)
    return served


def test_gpus_tell_what_is_used_and_by_whom(with_gpus, capsys):
    capsys.readouterr()
    assert with_gpus.run("gpus", "--no-header") == 0
    first, second = capsys.readouterr().out.splitlines()
    assert first.startswith("gpu-01:cuda:0")
    assert "141.0 GiB" in first
    assert first.split()[-3:] == ["36.0", "GiB", "m-1"]
    assert second.split()[-3:] == ["0", "B", "–"]
    assert with_gpus.run("gpus", "-o", "name", "--filter", "instances~m-1") == 0
    assert capsys.readouterr().out == "gpu-01:cuda:0\n"


def test_lists_come_as_lines_of_json_and_as_csv(with_gpus, capsys):
    capsys.readouterr()
    assert with_gpus.run("gpus", "-o", "csv") == 0
    rows = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
    assert rows[0]["memory"] == str(141 * GIB)
    assert rows[0]["busy"] == "0.5"
    assert [row["id"] for row in rows] == ["gpu-01:cuda:0", "gpu-01:cuda:1"]
    assert with_gpus.run("ls", "-o", "jsonl") == 0
    (line,) = capsys.readouterr().out.splitlines()
    assert json.loads(line)["metadata"]["name"] == "m"
    assert with_gpus.run("get", "deployments", "m", "-o", "csv") == 0
    (row,) = csv.DictReader(io.StringIO(capsys.readouterr().out))
    assert (row["name"], row["replicas"]) == ("m", "1")
    assert with_gpus.run("keys", "-o", "csv") == 0
    assert capsys.readouterr().out.startswith("name,user,prefix,expires,age"), "a head even so"


def test_a_cell_that_a_spreadsheet_would_run_is_quoted():
    from aimindserve.cli._output import _cell

    assert _cell("=1+1") == "'=1+1"
    assert _cell(-1) == "-1"
    assert _cell(["a"]) == '["a"]'
