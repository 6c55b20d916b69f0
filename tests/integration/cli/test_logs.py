"""`aimindserve logs`: several workers, of which some are away."""

import json
import subprocess
import sys
import threading
import time
from collections import deque

import pytest

from aimindserve.cli._follow import PAST, REMEMBERED, Seam
from aimindserve.resources.deployment import DeploymentSpec
from aimindserve.store.base import Draft
from integration.cli.machine import Machine

MODEL = {"source": "local", "path": "/models/m.gguf"}


@pytest.fixture
def two(served, tmp_path):
    """(server, near, far): a deployment with an instance on each of two workers."""
    spec = DeploymentSpec.model_validate({"model": MODEL, "replicas": 2})
    served.do(served.store.create(Draft("deployment", "m", spec)))
    near, far = (Machine(served, name, tmp_path / name) for name in ("near", "far"))
    for machine, instance in ((near, "m-aaaaa"), (far, "m-bbbbb")):
        machine.holds("m", instance)
        machine.writes(instance, f"{machine.name} one", f"{machine.name} two")
    yield served, near, far
    near.leave()
    far.leave()


class Reading:
    """A command in a process of its own, and what it has printed."""

    def __init__(self, *words):
        self.process = subprocess.Popen(
            [sys.executable, "-m", "aimindserve", *words],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
        self.out, self.err = deque(), deque()
        self._threads = [
            threading.Thread(target=lambda pipe=pipe, kept=kept: kept.extend(pipe))
            for pipe, kept in ((self.process.stdout, self.out), (self.process.stderr, self.err))
        ]
        for thread in self._threads:
            thread.start()

    def until(self, line, *, where="out"):
        deadline = time.monotonic() + 30
        while not any(line in each for each in list(getattr(self, where))):
            assert time.monotonic() < deadline, (line, self.out, self.err)
            time.sleep(0.02)

    def end(self):
        self.process.terminate()
        self.process.wait(20)
        for thread in self._threads:
            thread.join(20)
        self.process.stdout.close()
        self.process.stderr.close()
        return "".join(self.out), "".join(self.err)


@pytest.fixture
def reading():
    begun = []

    def begin(*words):
        begun.append(Reading(*words))
        return begun[-1]

    yield begin
    for one in begun:
        if one.process.poll() is None:
            one.end()


def test_of_several_logs_those_that_are_away_are_told_and_the_rest_is_printed(two, capsys):
    served, _, far = two
    far.leave()
    try:
        assert served.run("logs", "m") == 1
        told = capsys.readouterr()
        assert told.out == "m-aaaaa  near one\nm-aaaaa  near two\n"
        assert "✗ m-bbbbb: The worker does not answer. (unavailable)" in told.err
        assert served.run("logs", "m", "-o", "json") == 1
        told = capsys.readouterr()
        assert json.loads(told.out.splitlines()[0]) == {"instance": "m-aaaaa", "line": "near one"}
        assert json.loads(told.err)["params"]["instance"] == "m-bbbbb"
    finally:
        far.come()
    assert served.run("logs", "m", "--tail", "1") == 0
    assert capsys.readouterr().out == "m-aaaaa  near two\nm-bbbbb  far two\n"


def test_following_goes_on_over_an_outage_and_misses_and_repeats_nothing(two, reading):
    _, near, far = two
    far.leave()
    logs = reading("logs", "m", "-f")
    logs.until("near two")
    logs.until("far does not answer", where="err")
    near.writes("m-aaaaa", "near three")
    logs.until("near three")
    far.come()
    logs.until("far two")
    logs.until("far answers again", where="err")
    near.leave()
    far.writes("m-bbbbb", "far three")
    logs.until("far three")
    logs.until("near does not answer", where="err")
    near.writes("m-aaaaa", "near four")
    near.come()
    near.writes("m-aaaaa", "near five")
    logs.until("near five")
    out, err = logs.end()
    lines = sorted(line.split("  ")[1] for line in out.splitlines())
    assert lines == sorted(
        f"{who} {number}"
        for who, numbers in (("near", 5), ("far", 3))
        for number in ("one", "two", "three", "four", "five")[:numbers]
    )
    assert err.count("does not answer") == 2
    assert "Traceback" not in err


def test_following_takes_in_instances_that_join_and_ends_with_the_deployment(two, reading):
    served, near, far = two
    logs = reading("logs", "m", "-f", "-o", "json")
    logs.until("far two")
    near.holds("m", "m-ccccc")
    near.writes("m-ccccc", "a new one")
    logs.until('"instance": "m-ccccc", "line": "a new one"')
    near.end_runs()
    far.end_runs()
    for kind, name in (
        ("deployment", "m"), ("instance", "m-aaaaa"), ("instance", "m-bbbbb"),
        ("instance", "m-ccccc"),
    ):  # fmt: skip
        served.do(served.store.delete(kind, name))
    assert logs.process.wait(30) == 0
    _, err = logs.end()
    assert "m-aaaaa is gone" in err


def test_what_waiting_does_not_mend_ends_it_with_a_sentence(two, reading, monkeypatch):
    served, near, far = two
    far.leave()
    logs = reading("logs", "m", "-f")
    logs.until("near two")
    served.front.peer = "192.0.2.7"
    far.come()
    assert logs.process.wait(30) == 4
    _, err = logs.end()
    assert "(unauthenticated)" in err
    assert "aimindserve login" in err
    assert "Traceback" not in err
    near.end_runs()


def test_a_run_by_number_is_over_when_it_ends(two, reading):
    _, near, far = two
    near.end_runs()
    far.end_runs()
    logs = reading("logs", "m", "-f", "--run", "1")
    assert logs.process.wait(30) == 0
    out, _ = logs.end()
    assert len(out.splitlines()) == 4


def fed(seam, *lines):
    return [line for each in lines for line in seam.feed(each)]


def test_a_seam_goes_on_behind_what_was_shown():
    seam = Seam()
    seam.begin()
    assert fed(seam, "a", "b", "c") == ["a", "b", "c"]
    seam.begin()
    assert fed(seam, "a", "b", "c", "d", "d") == ["d", "d"]
    seam.begin()
    assert fed(seam, "b", "c", "d", "d") == []
    assert seam.give_up() == ["b", "c", "d", "d"], "the beginning was not among what came"


def test_a_seam_shows_everything_of_another_run():
    seam = Seam()
    seam.begin()
    fed(seam, "a", "b")
    seam.begin()
    assert fed(seam, "loading", "ready") == []
    assert seam.give_up() == ["loading", "ready"]
    assert seam.feed("more") == ["more"]
    seam.begin()
    assert fed(seam, "loading", "ready", "more", "and more") == ["and more"]


def test_a_seam_holds_back_only_so_much():
    seam = Seam()
    seam.begin()
    fed(seam, *(f"old {number}" for number in range(REMEMBERED * 2)))
    seam.begin()
    new = [f"new {number}" for number in range(PAST)]
    assert fed(seam, *new) == new
    assert not seam.holds
