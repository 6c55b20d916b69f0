"""The checks bite: a control plane that does what it must not is caught."""

from dataclasses import replace

import pytest

from aimindserve.controllers import snapshot, workers
from aimindserve.core.errors import NotFoundError, SettingsError
from aimindserve.scheduler import ledger
from aimindserve.sim.run import run
from aimindserve.sim.scenario import Fault, Scenario, find, parse
from aimindserve.store.leases import Leases

BASE = Scenario("test", workers=(8, 8), lasts_s=(400.0, 400.0), settle_s=120.0)


def first_failure(scenario, seeds=range(6)):
    for seed in seeds:
        outcome = run(seed, scenario)
        if outcome.failure:
            return outcome
    pytest.fail("nothing was noticed")


def test_giving_up_too_early_is_noticed():
    scenario = replace(
        BASE,
        faults={"reboot": Fault(60.0, (100.0, 105.0))},
        constants={"evict_after_s": 45.0, "evict_listening_s": 0.0},
    )
    outcome = first_failure(scenario)
    assert "was given up after" in outcome.failure or "s after a stall" in outcome.failure
    assert outcome.newest


def test_tearing_down_a_fleet_is_noticed():
    scenario = replace(
        BASE,
        faults={"blackout": Fault(60.0, (250.0, 300.0))},
        constants={"freeze_share": 1.0},
    )
    assert "away together" in first_failure(scenario).failure


def test_believing_silence_after_a_stall_is_noticed(monkeypatch):
    monkeypatch.setattr(Leases, "restart_grace", lambda self: None)
    monkeypatch.setattr(workers.WorkersController, "stalled", lambda self, seconds: None)
    scenario = replace(
        BASE,
        faults={"server_stall": Fault(100.0, (200.0, 200.0))},
        constants={"freeze_workers_min": 100},
    )
    assert "given up" in first_failure(scenario).failure


def test_a_route_to_a_dead_engine_is_noticed():
    scenario = replace(
        BASE, faults={"reboot": Fault(60.0, (100.0, 120.0))}, constants={"lost_after_s": 1000.0}
    )
    assert "route" in first_failure(scenario).failure


def test_promising_memory_twice_is_noticed(monkeypatch):
    monkeypatch.setattr(snapshot, "still_fits", lambda *_: True)
    monkeypatch.setattr(snapshot, "_holding", lambda *_: ())
    assert "are promised" in first_failure(replace(BASE, workers=(2, 2))).failure


def test_forgetting_an_instance_while_its_engine_runs_is_noticed(monkeypatch):
    from aimindserve.server import desired

    monkeypatch.setattr(desired, "is_assigned", lambda instance, worker: True)
    scenario = replace(BASE, people_every_s=20.0)
    assert first_failure(scenario).failure


def test_unknown_words_in_a_scenario_are_refused():
    with pytest.raises(SettingsError):
        parse("title: x\nfalts: {}\n")
    with pytest.raises(NotFoundError, match="nothing"):
        find("nothing")


def test_the_ledger_is_the_one_that_is_shipped():
    assert snapshot.ledger is ledger
