"""Who is given up, when, and when nobody is."""

from aimindserve.controllers.eviction import Fleet

WORKERS = 20


def lose(fleet, names, at):
    for name in names:
        fleet = fleet.vanished(name, at, WORKERS)
    return fleet


def test_silence_is_judged_after_two_minutes_of_it():
    fleet = lose(Fleet(), ["w1"], 40.0)
    assert fleet.wait_s(40.0, 1000.0, 40.0) == 80.0
    assert fleet.wait_s(120.0, 1000.0, 120.0) == 0.0


def test_nobody_is_given_up_before_the_table_has_listened_long_enough():
    fleet = lose(Fleet(), ["w1"], 40.0)
    assert fleet.wait_s(500.0, 90.0, 500.0) == 30.0


def test_workers_are_given_up_one_per_ten_seconds():
    fleet = lose(Fleet(), ["w1", "w2"], 40.0).evicted("w1", 120.0, WORKERS)
    assert fleet.wait_s(121.0, 1000.0, 121.0) == 9.0
    assert fleet.wait_s(130.0, 1000.0, 130.0) == 0.0


def test_a_third_of_the_fleet_within_five_minutes_freezes():
    six = [f"w{n}" for n in range(6)]
    assert lose(Fleet(), six, 40.0).wait_s(120.0, 1000.0, 120.0) == 0.0
    seven = [*six, "w6"]
    assert lose(Fleet(), seven, 40.0).wait_s(10_000.0, 10_000.0, 10_000.0) is None


def test_two_workers_never_freeze_however_small_the_fleet():
    fleet = Fleet().vanished("a", 0.0, 2).vanished("b", 0.0, 2)
    assert fleet.wait_s(120.0, 1000.0, 120.0) == 0.0


def test_losses_spread_over_hours_do_not_freeze():
    fleet = Fleet()
    for hour in range(10):
        fleet = fleet.vanished(f"w{hour}", hour * 3600.0, WORKERS)
    assert fleet.wait_s(120.0, 10_000.0, 40_000.0) == 0.0


def test_the_freeze_outlasts_the_window_and_ends_when_enough_are_back():
    names = [f"w{n}" for n in range(10)]
    fleet = lose(Fleet(), names, 0.0)
    assert fleet.wait_s(9e9, 9e9, 9e9) is None
    for name in names[:3]:
        fleet = fleet.settled(name, 1000.0, WORKERS)
    assert fleet.wait_s(9e9, 9e9, 9e9) is None
    fleet = fleet.settled(names[3], 1000.0, WORKERS)
    assert fleet.wait_s(9e9, 9e9, 1000.0) == 120.0, "the rest may be on their way back"
    assert fleet.wait_s(9e9, 9e9, 1120.0) == 0.0


def test_one_more_loss_during_a_freeze_is_frozen_too():
    fleet = lose(Fleet(), [f"w{n}" for n in range(7)], 0.0).vanished("late", 5000.0, WORKERS)
    assert "late" in fleet.frozen
