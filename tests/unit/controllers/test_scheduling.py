"""Whoever waits is placed the moment there is room: no clock is waited for."""

from dataclasses import replace

import pytest

from aimindserve.controllers import scheduling
from aimindserve.controllers.constants import DEFAULTS
from aimindserve.controllers.snapshot import Snapshots
from aimindserve.core.device import DeviceUsage, EngineUsage, Reserved, Usage
from aimindserve.core.ids import DeviceId
from aimindserve.core.report import Report
from aimindserve.kit.units import GIB, MIB
from aimindserve.resources.deployment import GpuSelector
from aimindserve.scheduler.plan import plan

from .world import in_world

SOON_S = DEFAULTS.batch_s + 0.005


def card(worker, used_gib, *engines, number=0):
    usage = DeviceUsage(DeviceId(f"{worker}:cuda:{number}"), int(used_gib * GIB))
    return Usage(0.0, 0, 0, 0, 0, (usage,), engines)


def say(world, worker, usage):
    """`worker` reports `usage`."""
    seen = world.store.get("worker", worker).status.observed
    world.leases.renew(worker, Report(world.store.revision, replace(seen, usage=usage)))


def placed(world, deployment="a"):
    return [each for each in world.instances(deployment) if each.status.placement is not None]


async def waiting(world):
    """A deployment that nobody has room for: others use the one card there is."""
    await world.add_worker("w", devices=1)
    say(world, "w", card("w", 60))
    await world.deploy("a", "--vram=40GiB", "--ram=1GiB")
    await world.look()
    assert not placed(world)
    assert world.instances("a")[0].status.refusal is not None
    await world.pass_(30.0)
    assert not placed(world)


async def memory_is_freed(world):
    say(world, "w", card("w", 10))


async def a_worker_joins(world):
    # Without the moments that a test's worker takes to be looked at.
    await world.add_worker("v", devices=1)
    await world.look()


async def a_reservation_shrinks(world):
    def observe(current):
        seen = replace(current.status.observed, reserved=Reserved(GIB, 0))
        return current.with_status(current.status.model_copy(update={"observed": seen}))

    say(world, "w", card("w", 40))
    await world.pass_(1.0)
    assert not placed(world)  # 80 less 40 less the gigabyte that is kept
    await world.store.update("worker", "w", observe)


@pytest.mark.parametrize("event", [memory_is_freed, a_reservation_shrinks])
def test_room_is_taken_within_the_time_of_a_batch(event):
    async def test(world):
        await waiting(world)
        await event(world)
        await world.pass_(SOON_S)
        assert len(placed(world)) == 1

    in_world(test)


def test_a_new_worker_is_tried_as_soon_as_its_file_is_known():
    async def test(world):
        await waiting(world)
        await a_worker_joins(world)
        assert len(placed(world)) == 1

    in_world(test)


@pytest.mark.parametrize(
    ("field", "bad", "good"),
    [("spec", {"cordoned": True}, {"cordoned": False}), ("labels", {}, {"zone": "a"})],
)
def test_uncordoning_and_labels_are_heard(field, bad, good):
    async def change(world, values):
        current = world.store.get("worker", "w")
        part = current.spec.model_copy(update=values) if field == "spec" else values
        await world.store.replace(
            "worker", "w", revision=current.metadata.revision, **{field: part}
        )

    async def test(world):
        await world.add_worker("w", devices=1)
        await change(world, bad)
        selector = {"worker_selector": {"zone": "a"}} if field == "labels" else {}
        await world.deploy("a", "--vram=40GiB", **selector)
        await world.look()
        await world.pass_(30.0)
        assert not placed(world)
        await change(world, good)
        await world.pass_(SOON_S)
        if field == "labels":  # only now is the worker asked for the file
            await world.look()
        assert len(placed(world)) == 1

    in_world(test)


def test_every_worker_has_labels_that_say_what_it_is():
    async def test(world):
        await world.add_worker("w")
        await world.add_worker("v")
        # Labels cannot say otherwise.
        current = world.store.get("worker", "w")
        await world.store.replace(
            "worker", "w", revision=current.metadata.revision, labels={"worker-name": "v"}
        )
        mission = {"os": "linux", "arch": "amd64"}
        await world.deploy("a", worker_selector={**mission, "worker-name": "v"})
        await world.deploy("b", worker_selector={**mission, "os": "windows"})
        await world.look()
        (a,) = placed(world)
        assert a.status.placement.worker == "v"
        assert world.instances("b")[0].status.refusal.params["counts"]["selector_empty"] == 2

    in_world(test)


def test_an_instance_that_goes_makes_room_at_once():
    async def test(world):
        await world.add_worker("w", devices=1)
        await world.up("b", "--vram=60GiB")
        await world.deploy("a", "--vram=40GiB")
        await world.look()
        assert not placed(world)
        await world.change("deployment", "b", replicas=0)
        await world.let_go()
        await world.pass_(SOON_S)
        assert len(placed(world)) == 1

    in_world(test)


def test_flicker_wakes_nobody():
    async def test(world):
        await waiting(world)
        before = world.loop.stats()["scheduling"].added
        for step in range(50):
            say(world, "w", card("w", 60 + step % 2 / 10))
            await world.pass_(0.1)
        assert world.loop.stats()["scheduling"].added - before <= 2

    in_world(test)


def test_nothing_is_looked_at_while_nobody_waits():
    async def test(world):
        await world.add_worker("w", devices=1)
        await world.up("a", "--vram=1GiB")
        await world.pass_(1.0)
        before = world.loop.stats()["scheduling"].added
        say(world, "w", card("w", 60))
        say(world, "w", card("w", 1))
        await world.pass_(1.0)
        assert world.loop.stats()["scheduling"].added == before

    in_world(test)


def test_loading_is_ours_also_where_the_driver_does_not_tell():
    async def test(world):
        await world.add_worker("w", devices=1)
        say(world, "w", card("w", 10))
        await world.up("b", "--vram=30GiB")
        [b] = world.instances("b")
        loading = EngineUsage(b.name, b.status.placement.id, 1, ready=False)
        say(world, "w", card("w", 25, loading))
        await world.deploy("a", "--vram=38GiB")  # 80 less 1 less 10 less 30
        await world.look()
        await world.pass_(SOON_S)
        assert len(placed(world)) == 1

    in_world(test)


def test_snapshots_share_what_did_not_change():
    async def test(world):
        for name in ("u", "v", "w"):
            await world.add_worker(name, devices=1)
        await world.up("a", "--vram=1GiB", "--ram=1GiB")
        snapshots = Snapshots(world.store, world.leases)
        first = {worker.name: worker for worker in snapshots.take().workers}
        say(world, "u", card("u", 0))
        say(world, "v", replace(card("v", 5), cpu=0.5))
        second = {worker.name: worker for worker in snapshots.take().workers}
        assert second["u"] is first["u"]
        assert second["w"] is first["w"]
        assert second["v"].device_free_bytes["v:cuda:0"] == 74 * GIB
        home = placed(world)[0].status.placement.worker
        account = snapshots.accounts(home).devices[DeviceId(f"{home}:cuda:0")]
        assert account.bookings[0].instance == placed(world)[0].name
        assert account.claimed >= 1024 * MIB

    in_world(test)


def test_instances_are_kept_apart_and_the_one_too_many_says_why():
    async def test(world):
        for name in ("v", "w"):
            await world.add_worker(name)
        await world.deploy("a", "--ram=1GiB", replicas=3, instances_per_worker_max=1)
        await world.look()
        homes = [each.status.placement.worker for each in placed(world)]
        assert sorted(homes) == ["v", "w"]
        (left,) = [each for each in world.instances("a") if each.status.placement is None]
        assert set(left.status.refusal.params["counts"]) == {"instances_max"}

    in_world(test)


def test_the_next_replica_takes_the_chosen_device_that_the_first_does_not_have():
    async def test(world):
        await world.add_worker("w", devices=2)
        chosen = {"gpu_ids": ("w:cuda:0", "w:cuda:1"), "gpus_per_replica": 1}
        await world.deploy("a", "--vram=30GiB", gpu_selector=GpuSelector(**chosen))
        await world.look()
        (first,) = placed(world)
        await world.run()
        await world.change("deployment", "a", replicas=2)
        held = {each.status.placement.ranks[0].claims[0].device for each in placed(world)}
        assert held == {"w:cuda:0", "w:cuda:1"}, first

    in_world(test)


def test_chosen_devices_are_shared_equally_among_the_replicas():
    async def test(world):
        await world.add_worker("w", devices=4)
        chosen = GpuSelector(gpu_ids=tuple(f"w:cuda:{at}" for at in range(4)))
        words = ("--vram=30GiB", "--devices=2")
        await world.deploy("a", *words, replicas=2, gpu_selector=chosen)
        await world.look()
        held = [
            {claim.device for claim in each.status.placement.ranks[0].claims}
            for each in placed(world)
        ]
        assert held == [{"w:cuda:0", "w:cuda:1"}, {"w:cuda:2", "w:cuda:3"}]
        # All four for one instance, which can only use two: that is not what was chosen.
        await world.deploy("b", *words, gpu_selector=chosen)
        await world.look()
        (left,) = world.instances("b")
        assert left.status.refusal.code == "chosen_mismatch"

    in_world(test)


def test_a_chosen_device_of_a_worker_that_nobody_knows_is_told_by_its_name():
    async def test(world):
        await world.add_worker("w", devices=1)
        chosen = GpuSelector(gpu_ids=("gone:cuda:0",))
        await world.deploy("a", "--vram=10GiB", gpu_selector=chosen)
        await world.look()
        (left,) = world.instances("a")
        assert left.status.refusal.message == (
            "gone:cuda:0 is chosen, but there is no worker called gone."
        )
        await world.add_worker("gone", devices=1)
        await world.look()
        (there,) = placed(world, "a")
        assert there.status.placement.worker == "gone"

    in_world(test)


def test_too_little_on_a_chosen_device_holds_up_nobody_else():
    async def test(world):
        await world.add_worker("w", devices=2)
        chosen = GpuSelector(gpu_ids=("w:cuda:0",))
        await world.deploy("a", "--vram=100GiB", replicas=3, gpu_selector=chosen)
        await world.deploy("b", "--vram=10GiB")
        await world.look()
        assert len(placed(world, "a")) == 3
        assert {each.code for one in placed(world) for each in one.status.placement.warnings} == {
            "overcommitted"
        }
        (other,) = placed(world, "b")
        assert other.status.placement.ranks[0].claims[0].device == "w:cuda:1"

    in_world(test)


def test_who_makes_the_scheduler_fail_is_refused_and_the_others_are_placed(monkeypatch):
    def failing(snapshot, asks):
        asks = list(asks)
        if any(ask.deployment == "bad" for ask in asks):
            raise ValueError("no such thing")
        return plan(snapshot, asks)

    async def test(world):
        await world.add_worker("w", devices=1)
        monkeypatch.setattr(scheduling, "plan", failing)
        await world.deploy("bad", "--vram=1GiB")
        await world.deploy("good", "--vram=30GiB", replicas=3)
        await world.look()
        await world.pass_(1.0)
        assert len(placed(world, "good")) == 2  # each as if alone, and none claims twice
        (bad,) = world.instances("bad")
        assert bad.status.refusal.code == "plan_failed"
        assert "no such thing" in bad.status.refusal.message
        (third,) = [each for each in world.instances("good") if each.status.placement is None]
        assert third.status.refusal.code == "no_fit_vram"

    in_world(test)
