"""`aimindserve fit`: the answer for people and for programs, and the exit code."""

import json

from aimindserve.controllers.learned import facts_digest
from aimindserve.core.measurement import Speed, Start
from aimindserve.resources.estimate import EstimateSpec, EstimateStatus
from aimindserve.sim.cluster import model_facts
from aimindserve.store.base import Draft

PATH = "/models/chat.gguf"
FAKE = ("--backend", "fake", "-P", "ram=4GiB")


def test_it_says_what_one_instance_needs_where_it_goes_and_what_is_left(served, capsys):
    served.add_worker()
    served.has_model(PATH)
    assert served.run("fit", PATH, *FAKE, "--replicas", "2") == 0
    told = capsys.readouterr().out
    assert told.startswith("It fits, on processors only. 2 of 2 instances.")
    assert "new-0002 → gpu-01" in told
    assert "+4.0 GiB" in told
    assert "left" in told
    assert served.store.list("deployment") == ()


def test_it_says_how_long_a_start_took_before(served, capsys, monkeypatch):
    served.add_worker()
    served.has_model(PATH)
    assert served.run("fit", PATH, *FAKE, "-o", "json") == 0
    assert json.loads(capsys.readouterr().out)["placements"][0]["expect"]["ready_s"] is None
    spec = EstimateSpec(
        model="m", digest=facts_digest(model_facts(0)), backend="fake", version="1", shape="other",
        device="Epyc",
    )  # fmt: skip
    status = EstimateStatus(starts=(Start("p1", 0.0, 42.0), Start("p2", 0.0, 44.0)))
    served.do(served.store.create(Draft("estimate", "m", spec, status)))
    assert served.run("fit", PATH, *FAKE) == 0
    told = capsys.readouterr().out
    assert "Ready in about 43 s" in told
    assert "tokens/s" not in told
    monkeypatch.setenv("LANG", "zh_CN.UTF-8")
    assert served.run("fit", PATH, *FAKE) == 0
    assert "预计 43 s 后就绪" in capsys.readouterr().out


def test_it_says_how_fast_one_request_was_answered_before(served, capsys, monkeypatch):
    served.add_worker()
    served.has_model(PATH)
    spec = EstimateSpec(
        model="m", digest=facts_digest(model_facts(0)), backend="fake", version="1", shape="other",
        device="Epyc",
    )  # fmt: skip
    status = EstimateStatus(speeds=(Speed("p/1", "gpu-01", 0.0, 1230, 20.0),))
    served.do(served.store.create(Draft("estimate", "m", spec, status)))
    assert served.run("fit", PATH, *FAKE) == 0
    told = capsys.readouterr().out
    assert "About 61.5 tokens/s for one request" in told
    assert "1230" in told
    assert "Ready in about" not in told
    assert served.run("fit", PATH, *FAKE, "-o", "json") == 0
    expect = json.loads(capsys.readouterr().out)["placements"][0]["expect"]
    assert (expect["tokens_s"], expect["tokens_source"], expect["source"]) == (
        61.5,
        "similar",
        None,
    )
    monkeypatch.setenv("LANG", "zh_CN.UTF-8")
    assert served.run("fit", PATH, *FAKE) == 0
    assert "单个请求约 61.5 tokens/s" in capsys.readouterr().out


def test_what_does_not_fit_ends_with_six_and_says_what_would_help(served, capsys):
    served.add_worker()
    served.has_model(PATH)
    wide = ("--backend", "llama.cpp", "--ctx", "1000000", "-P", "parallel=1")
    assert served.run("fit", PATH, *wide) == 6
    told = capsys.readouterr().out
    assert told.startswith("It does not fit.")
    assert "Least is missing:\n  memory: gpu-01:ram lacks " in told
    assert "It would fit:" in told
    assert "Shorten the context from 1000000 to" in told
    assert served.run("fit", PATH, *wide, "-o", "json") == 6
    answer = json.loads(capsys.readouterr().out)
    assert answer["verdict"] == "no"
    assert answer["alternatives"][0]["patch"]["backend_parameters"]


def test_what_does_not_fit_is_not_deployed_unless_it_is_forced(served, capsys):
    served.add_worker()
    served.has_model(PATH)
    wide = ("deploy", PATH, "--no-wait", "--backend", "fake", "-P", "ram=400GiB")
    assert served.run(*wide) == 6
    told = capsys.readouterr()
    assert told.out == ""
    assert told.err.startswith("✗ It does not fit. (fit_changed)\n")
    assert "memory: gpu-01:ram lacks " in told.err
    assert "--force" in told.err
    assert "Why not elsewhere" not in told.err, "there is but one worker, and it is told above"
    assert all(line == line.rstrip() for line in told.err.splitlines())
    assert served.store.list("deployment") == ()
    assert served.run(*wide, "-o", "json") == 6
    assert json.loads(capsys.readouterr().err)["params"]["fit"]["verdict"] == "no"
    assert served.run(*wide, "--force") == 0
    assert [each.name for each in served.store.list("deployment")] == ["chat"]


def test_before_any_worker_has_joined_it_is_deployed_and_waits(served):
    assert served.run("deploy", PATH, "--no-wait", *FAKE) == 0


def test_devices_chosen_by_hand_that_have_too_little_end_with_six(served, capsys, monkeypatch):
    served.add_worker(gpu_gib=24)
    served.has_model(PATH)
    chosen = ("--backend", "fake", "-P", "vram=40GiB", "--gpu", "gpu-01:cuda:0")
    assert served.run("fit", PATH, *chosen) == 6
    told = capsys.readouterr().out
    assert told.startswith("It goes where it was put by hand, which has not enough free memory.")
    assert "gpu-01:cuda:0 was chosen by hand" in told
    monkeypatch.setenv("GPUSTACK_LANG", "zh")
    assert served.run("fit", PATH, *chosen) == 6
    assert capsys.readouterr().out.startswith("将放到手动指定的设备上")
    assert served.run("fit", PATH, *chosen, "-o", "json") == 6
    assert json.loads(capsys.readouterr().out)["verdict"] == "overcommitted"


def test_what_waits_already_is_told_with_what_becomes_of_it(served, capsys, monkeypatch):
    served.add_worker()
    served.has_model(PATH)
    served.has_model("/models/huge.gguf")
    for name, ram in (("small", "2GiB"), ("huge", "900GiB")):
        words = ("deploy", PATH, "--name", name, "--no-wait", "-q", "--force", "--backend", "fake")
        assert served.run(*words, "-P", f"ram={ram}") == 0
        served.add_instance(name, f"{name}-aaaaa")
    capsys.readouterr()
    assert served.run("fit", PATH, *FAKE) == 0
    head, _, rest = capsys.readouterr().out.partition("What waits already:\n")
    assert "new-0001" in head
    assert [line.split()[0] for line in rest.splitlines()[:2]] == ["huge-aaaaa", "small-aaaaa"]
    assert "→ gpu-01" in rest
    assert "900" in rest, "why the other one goes on waiting"
    monkeypatch.setenv("GPUSTACK_LANG", "zh")
    assert served.run("fit", PATH, *FAKE) == 0
    assert "已在等待的实例:" in capsys.readouterr().out


def test_what_if_is_asked_with_and_without_a_model(served, capsys, monkeypatch):
    served.add_worker()
    served.has_model(PATH)
    assert served.run("fit", PATH, *FAKE, "--lose", "gpu-01") == 6
    assert "No worker is connected" in capsys.readouterr().out
    assert served.run("fit", "--lose", "gpu-01") == 0
    assert served.run("fit", "--lose", "gpu-77") == 2
    assert "gpu-77" in capsys.readouterr().err
    assert served.run("fit", PATH, *FAKE, "--replicas", "20", "--add", "gpu-01:3") == 0
    monkeypatch.setenv("LANG", "zh_CN.UTF-8")
    assert served.run("fit", PATH, *FAKE) == 0
    assert capsys.readouterr().out.splitlines()[-1].strip()


def test_bad_words_are_told_before_anything_is_asked(served, capsys):
    assert served.run("fit") == 2
    assert "Give a MODEL" in capsys.readouterr().err
    assert served.run("fit", PATH, "--add", "gpu-01:many") == 2
    assert "how many" in capsys.readouterr().err
