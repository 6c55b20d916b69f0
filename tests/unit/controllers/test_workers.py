"""Leases make workers ready or lost; the lost are given up slowly, and never all at once."""

import pytest

from aimindserve.core.report import Presence
from aimindserve.resources._all import kinds

from .world import in_world


def ready(world, name):
    return world.store.get("worker", name).status.ready


def evicted(world):
    return [each.name for each in world.store.list("worker") if each.status.evicted]


def test_a_worker_is_ready_once_heard_and_lost_after_forty_seconds():
    async def test(world):
        await world.add_worker("w")
        assert ready(world, "w")
        world.silent.add("w")
        await world.pass_(45.0)
        assert not ready(world, "w")
        assert world.store.get("worker", "w").status.reason.code == "worker_lost"
        world.silent.clear()
        await world.pass_(12.0)
        assert ready(world, "w")
        assert world.store.get("worker", "w").status.reason is None

    in_world(test)


def test_reports_write_nothing_while_all_is_well():
    async def test(world):
        await world.add_worker("w")
        await world.up("d")
        await world.pass_(30.0)  # how long it took to start is written down once
        revision = world.store.revision
        await world.pass_(700.0)
        assert world.store.revision == revision

    in_world(test)


def test_instances_of_a_given_up_worker_are_replaced_elsewhere_before_they_are_stopped():
    async def test(world):
        for name in "ab":
            await world.add_worker(name)
        await world.up("d")
        first = world.instances()[0]
        home = first.status.placement.worker
        world.silent.add(home)
        await world.pass_(100.0)
        assert evicted(world) == []
        assert len(world.instances()) == 1
        await world.pass_(40.0)
        assert evicted(world) == [home]
        fresh = next(each for each in world.instances() if each.name != first.name)
        assert fresh.status.placement.worker != home
        assert not world.store.get("instance", first.name).spec.stopping
        await world.run(fresh.name)
        assert world.store.get("instance", first.name).spec.stopping
        assert world.status("d").ready_replicas == 1

    in_world(test)


def test_when_it_returns_before_the_replacement_is_ready_nothing_was_lost():
    async def test(world):
        for name in "ab":
            await world.add_worker(name)
        await world.up("d")
        first = world.instances()[0]
        world.silent.add(first.status.placement.worker)
        await world.pass_(140.0)
        assert len(world.instances()) == 2
        world.silent.clear()
        await world.pass_(12.0)
        await world.let_go()
        assert [each.name for each in world.instances()] == [first.name]
        assert evicted(world) == []

    in_world(test)


def test_an_instance_that_can_run_nowhere_else_waits_for_its_worker():
    async def test(world):
        await world.add_worker("a")
        await world.up("d")
        world.silent.add("a")
        await world.pass_(300.0)
        assert evicted(world) == ["a"]
        assert len(world.instances()) == 1
        assert not world.instances()[0].spec.stopping

    in_world(test)


def test_when_a_third_vanishes_nobody_is_given_up():
    async def test(world):
        names = [f"w{n}" for n in range(8)]
        for name in names:
            await world.add_worker(name)
        await world.up("d", replicas=8)
        world.silent.update(names[:3])
        await world.pass_(900.0)
        assert evicted(world) == []
        assert len(world.instances()) == 8
        lost = world.store.get("worker", "w0").status
        assert lost.reason.code == "eviction_frozen"
        world.silent.discard("w1")
        await world.pass_(60.0)
        assert evicted(world) == []
        await world.pass_(90.0)
        assert evicted(world) == ["w0", "w2"]

    in_world(test)


def test_two_are_given_up_ten_seconds_apart():
    async def test(world):
        for n in range(8):
            await world.add_worker(f"w{n}")
        world.silent.update({"w0", "w1"})
        seen = []
        for _ in range(200):
            await world.pass_(1.0)
            seen.append(len(evicted(world)))
        assert seen.index(2) - seen.index(1) >= 9

    in_world(test)


@pytest.mark.parametrize("jump_s", [-86_400.0, 86_400.0])
def test_a_clock_that_is_set_makes_nobody_silent_and_keeps_nobody_from_being_so(jump_s):
    async def test(world):
        for name in "ab":
            await world.add_worker(name)
        await world.up("d", replicas=2)
        before = world.store.revision
        world.clock.skew_s += jump_s
        await world.pass_(300.0)
        assert world.store.revision == before
        world.silent.add("a")
        await world.pass_(35.0)
        assert ready(world, "a")
        await world.pass_(15.0)
        assert not ready(world, "a")
        await world.pass_(90.0)
        assert evicted(world) == ["a"]

    in_world(test)


def test_a_stalled_loop_starts_everybodys_silence_anew():
    async def test(world):
        for n in range(4):
            await world.add_worker(f"w{n}")
        await world.up("d", replicas=4)
        await world.pass_(30.0)
        before = world.store.revision
        world.clock.stall()
        await world.pass_real(300.0)
        world.clock.resume()
        await world.pass_(30.0)
        assert all(ready(world, f"w{n}") for n in range(4))
        assert world.store.revision == before
        assert world.leases.listening_s < 60.0

    in_world(test)


def test_a_deleted_worker_takes_its_instances_and_files_along():
    async def test(world):
        for name in "ab":
            await world.add_worker(name)
        await world.up("d", replicas=2)
        world.silent.add("a")
        await world.store.delete("worker", "a")
        await world.pass_()
        await world.run()
        assert {each.status.placement.worker for each in world.instances()} == {"b"}
        assert world.status("d").ready_replicas == 2
        assert {file.spec.worker for file in world.store.list("model-file")} == {"b"}

    in_world(test)


def phase_of(world, kind, name):
    found = world.store.get(kind, name)
    derived = kinds()[kind].derive(found, world.store.find, world.clock.now())
    reason = derived.get("reason")
    return derived["phase"], reason and reason["code"]


def test_a_worker_that_leaves_is_away_at_once_and_replaced_without_waiting():
    async def test(world):
        for name in "ab":
            await world.add_worker(name)
        await world.up("d")
        first = world.instances()[0]
        home = first.status.placement.worker

        await world.say(home, Presence.LEAVING)
        assert not ready(world, home)
        assert evicted(world) == []
        assert world.store.get("worker", home).status.reason.code == "worker_leaving"
        assert phase_of(world, "worker", home)[0] == "leaving"
        assert phase_of(world, "instance", first.name) == ("stopping", "worker_leaving")
        assert len(world.instances()) == 1, "its engine may still answer"

        await world.say(home, Presence.LEFT)
        assert phase_of(world, "worker", home)[0] == "left"
        fresh = next(each for each in world.instances() if each.name != first.name)
        assert fresh.status.placement.worker != home
        assert phase_of(world, "instance", first.name) == ("lost", "worker_left")
        await world.run(fresh.name)
        # Nobody will report that it has stopped: its worker has said so beforehand.
        assert [each.name for each in world.instances()] == [fresh.name]
        await world.pass_(900.0)
        assert world.store.get("worker", home).status.reason.code == "worker_left"

    in_world(test)


def test_what_ran_on_a_worker_that_left_waits_for_it_when_nobody_else_can_take_it():
    async def test(world):
        await world.add_worker("a")
        await world.up("d")
        await world.say("a", Presence.LEAVING)
        await world.say("a", Presence.LEFT)
        await world.pass_(900.0)
        (only,) = world.instances()
        assert phase_of(world, "instance", only.name) == ("lost", "worker_left")
        assert world.status("d").reason.code == "worker_left"
        await world.say("a", Presence.HERE)
        assert ready(world, "a")
        assert evicted(world) == []
        await world.run()
        assert world.instances()[0].name == only.name
        assert world.status("d").ready_replicas == 1

    in_world(test)


def test_a_deployment_on_a_worker_that_left_can_be_removed():
    async def test(world):
        await world.add_worker("a")
        await world.up("d")
        await world.say("a", Presence.LEFT)
        await world.store.delete("deployment", "d")
        await world.pass_()
        assert world.instances() == []

    in_world(test)


def test_a_worker_that_dies_over_its_leaving_is_lost_like_any_other():
    async def test(world):
        for name in "ab":
            await world.add_worker(name)
        await world.say("a", Presence.LEAVING)
        world.silent.add("a")
        await world.pass_(45.0)
        assert world.store.get("worker", "a").status.reason.code == "worker_lost"
        assert phase_of(world, "worker", "a")[0] == "lost"
        await world.pass_(100.0)
        assert evicted(world) == ["a"]

    in_world(test)


def test_many_that_leave_in_order_are_no_mass_failure():
    async def test(world):
        names = [f"w{n}" for n in range(8)]
        for name in names:
            await world.add_worker(name)
        await world.up("d", replicas=8)
        for name in names[:4]:
            await world.say(name, Presence.LEFT)
        assert evicted(world) == names[:4]
        world.silent.add("w7")
        await world.pass_(140.0)
        assert evicted(world) == [*names[:4], "w7"]

    in_world(test)
