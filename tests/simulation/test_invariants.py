"""The checks bite: a control plane that does what it must not is caught."""

from dataclasses import replace

import pytest

from aimindserve.controllers import snapshot, workers
from aimindserve.controllers.deployments import DeploymentsController
from aimindserve.core.errors import NotFoundError, SettingsError
from aimindserve.scheduler import ledger
from aimindserve.sim.run import run
from aimindserve.sim.scenario import Fault, Scenario, find, parse
from aimindserve.store.leases import Leases

COPY = DeploymentsController._copy
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
    monkeypatch.setattr(snapshot.Snapshots, "still_fits", lambda *_: True)
    monkeypatch.setattr(snapshot.Snapshots, "_by_worker", lambda *_: {})
    assert "are promised" in first_failure(replace(BASE, workers=(2, 2))).failure


def test_forgetting_an_instance_while_its_engine_runs_is_noticed(monkeypatch):
    from aimindserve.server import desired

    monkeypatch.setattr(desired, "is_assigned", lambda instance, worker: True)
    scenario = replace(BASE, people_every_s=20.0)
    assert first_failure(scenario).failure


BUSY = replace(
    BASE,
    workers=(2, 2),
    lasts_s=(200.0, 200.0),
    people_every_s=10.0,
    faults={"foreign": Fault(5.0, (60.0, 120.0))},
)


def test_promising_what_others_use_is_noticed(monkeypatch):
    look = ledger.attribution

    def blind(usage, claims, before):
        return {
            name: replace(known, foreign=0) for name, known in look(usage, claims, before).items()
        }

    monkeypatch.setattr(ledger, "attribution", blind)
    assert "of others" in first_failure(BUSY).failure


def test_a_scheduler_that_does_not_hear_of_room_is_noticed(monkeypatch):
    from aimindserve.controllers.scheduling import SchedulingController

    monkeypatch.setattr(SchedulingController, "_heard", lambda *_: None)
    scenario = replace(BUSY, constants={"refused_look_s": 100_000.0, "resync_s": 100_000.0})
    told = first_failure(scenario, range(20)).failure
    # Room that nobody took, or refusals that a restart finds to be out of date.
    assert "has room" in told or "steady state wrote" in told


def test_restarting_for_ever_without_memory_is_noticed(monkeypatch):
    from aimindserve.controllers import deployments

    monkeypatch.setattr(deployments.failures, "remember", lambda kept, *_: kept)
    monkeypatch.setattr(deployments.DeploymentsController, "_copy", _never_unfit)
    scenario = replace(BASE, workers=(2, 2), faults={"engine_oom": Fault(30.0, (60.0, 90.0))})
    assert "ran out of memory" in first_failure(scenario).failure


def _never_unfit(self, instance, wanted):
    return replace(COPY(self, instance, wanted), unfit=False)


def test_going_back_unchanged_where_memory_ran_out_is_noticed(monkeypatch):
    from aimindserve.scheduler import room
    from aimindserve.scheduler.filters import failures

    monkeypatch.setattr(room, "failed_with", lambda *_: False)
    monkeypatch.setattr(failures, "failed_with", lambda *_: False)
    monkeypatch.setattr("aimindserve.scheduler.estimates.SHORT_GROWTH", 1.0)
    scenario = replace(BASE, workers=(1, 1), faults={"engine_oom": Fault(30.0, (60.0, 90.0))})
    assert "unchanged" in first_failure(scenario, range(20)).failure


def test_a_speed_with_every_answers_first_token_is_noticed(monkeypatch):
    def blind(process):
        pace = process.pace
        return (None, 0.0) if pace is None else (int(pace.tokens), pace.seconds)

    monkeypatch.setattr("aimindserve.worker.told.generated", blind)
    assert "tokens/s, not" in first_failure(replace(BASE, visits_every_s=15.0)).failure


def test_unknown_words_in_a_scenario_are_refused():
    with pytest.raises(SettingsError):
        parse("title: x\nfalts: {}\n")
    with pytest.raises(NotFoundError, match="nothing"):
        find("nothing")


def test_the_ledger_is_the_one_that_is_shipped():
    assert snapshot.ledger is ledger
