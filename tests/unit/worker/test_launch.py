from dataclasses import replace

import pytest

from aimindserve.accelerators.fake import FakeAccelerator, FakeDevice
from aimindserve.core.device import MemoryParts
from aimindserve.core.errors import AimsError
from aimindserve.core.facts import Options
from aimindserve.core.launch import LaunchSpec
from aimindserve.core.placement import Claim, Placement, Rank
from aimindserve.runtimes.base import RunPlace
from aimindserve.worker.launch import Bench, expose, first_rank, prepare
from unit.worker.world import PRESENT, PlainBackend, wanted

PLACE = RunPlace("i1", "id-i1", "p1", 0, 1, "/run", "/log", "secret")


class Host:
    name = "w1"

    def run(self, *argv, timeout_s=10.0):
        return None

    def read(self, path):
        return None


GPUS = FakeAccelerator([FakeDevice("one", 10), FakeDevice("two", 10)])
BENCH = Bench("w1", {"b": PlainBackend()}, {"fake": GPUS}, {"fake": GPUS.detect(Host())}, 4)


def go(assignment, bench=BENCH):
    return prepare(assignment, PRESENT.observation, 40000, PLACE, bench)


def test_the_command_comes_from_the_backend():
    launch = go(wanted())
    assert launch.spec.argv == ("engine", "--model", "/models/m.gguf")
    assert launch.spec.port == 40000
    assert launch.spec.stop_grace_s == 3.0


def test_the_backend_that_the_placement_was_priced_for_launches_it():
    placement = replace(wanted().placement, backend="b")
    launch = go(replace(wanted(), backend="something else", placement=placement))
    assert launch.spec.argv[0] == "engine"


def test_an_alias_names_the_same_backend():
    assert go(wanted(backend="bee")).spec.argv[0] == "engine"


def test_an_unknown_backend_is_refused():
    with pytest.raises(AimsError) as caught:
        go(wanted(backend="zzz"))
    assert caught.value.params["reason"] == "backend_unknown"


def test_a_forbidden_variable_is_refused():
    with pytest.raises(AimsError) as caught:
        go(wanted(options=Options(env=(("LD_PRELOAD", "x"),))))
    assert caught.value.params["reason"] == "bad_param"
    assert caught.value.params["param"] == "LD_PRELOAD"


def test_users_variables_reach_the_engine_and_devices_have_the_last_word():
    class Sly(PlainBackend):
        def launch(self, context):
            return LaunchSpec(("engine",), env=(("FAKE_VISIBLE_DEVICES", "0,1"), ("A", "1")))

    bench = replace(BENCH, backends={"b": Sly()})
    env = dict(go(wanted(options=Options(env=(("A", "2"),))), bench).spec.env)
    assert env == {"FAKE_VISIBLE_DEVICES": "", "A": "2"}


def test_exactly_the_claimed_devices_are_shown():
    claim = Claim("w1:cuda:1", MemoryParts(weights=1))
    elsewhere = Rank("w2", (Claim("w2:cuda:0", MemoryParts(weights=1)),))
    placement = Placement("p1", "x", (elsewhere, Rank("w1", (claim,))))
    assignment = replace(wanted(), placement=placement)
    assert expose(assignment, BENCH).env == (("FAKE_VISIBLE_DEVICES", "1"),)
    assert first_rank(assignment, "w1") == 1


def test_a_claimed_device_that_is_gone_is_refused():
    claim = Claim("w1:cuda:7", MemoryParts(weights=1))
    placement = Placement("p1", "x", (Rank("w1", (claim,)),))
    with pytest.raises(AimsError) as caught:
        go(replace(wanted(), placement=placement))
    assert caught.value.params["reason"] == "device_missing"
