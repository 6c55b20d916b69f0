"""`estimates`: predicted beside measured, for people and programs; deleting one forgets it."""

import json

from aimindserve.core.measurement import Footprint, Sample, Speed
from aimindserve.resources.estimate import EstimateSpec, EstimateStatus
from aimindserve.store.base import Draft
from integration.cli.serving import GIB


def measured(served, name, predicted_gib, taken_gib, *, worked=True, speeds=()):
    spec = EstimateSpec(
        model=name, digest="d", backend="llama.cpp", version="1", shape="1 device", device="H200"
    )
    taken = Footprint(GIB, (int((taken_gib - 1) * GIB),))
    status = EstimateStatus(
        predicted=Footprint(GIB, (int((predicted_gib - 1) * GIB),)),
        samples=(Sample("p/1", "gpu-01", 1.0, taken, worked),),
        rejected=2,
        rejection="oom",
        speeds=speeds,
    )
    served.do(served.store.create(Draft("estimate", name, spec, status)))


def test_nothing_measured_says_how_it_comes(served, capsys, monkeypatch):
    assert served.run("estimates") == 0
    assert "Nothing has been measured yet" in capsys.readouterr().err
    monkeypatch.setenv("GPUSTACK_LANG", "zh_CN.UTF-8")
    assert served.run("estimates") == 0
    assert "尚无测量数据" in capsys.readouterr().err


def test_predicted_stands_beside_measured_with_the_error(served, capsys):
    speed = Speed("p/1", "gpu-01", 1.0, 615, 10.0)
    measured(served, "small", 11, 10, speeds=(speed,))
    measured(served, "large", 18, 20, worked=False)
    assert served.run("estimates", "--sort", "-error", "--no-header") == 0
    small, large = (line.split("  ") for line in capsys.readouterr().out.splitlines())
    small, large = ([cell.strip() for cell in line if cell.strip()] for line in (small, large))
    assert small[4:10] == ["11.0 GiB", "10.0 GiB", "+10.0 %", "1", "61.5", "measured"]
    assert large[4:10] == ["18.0 GiB", "20.0 GiB", "-10.0 %", "1", "–", "watched"]
    assert served.run("estimates", "-o", "json") == 0
    documents = json.loads(capsys.readouterr().out)
    assert {each["status"]["error"] for each in documents} == {0.1, -0.1}
    assert documents[0]["status"]["samples"][0]["run"] == "p/1"


def test_what_was_measured_can_be_forgotten(served, capsys):
    measured(served, "small", 11, 10)
    assert served.run("estimates", "forget", "small") == 0
    assert served.store.find("estimate", "small") is None
    assert served.run("estimates", "forget", "small") != 0
    capsys.readouterr()
