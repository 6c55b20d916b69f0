"""What engines take is written down, what is no measurement is not, and the next of the same kind
is placed by it."""

from dataclasses import replace

import pytest

from aimindserve.controllers import estimates as controller
from aimindserve.controllers.constants import DEFAULTS
from aimindserve.controllers.learned import facts_digest, key_of
from aimindserve.controllers.scheduling import SchedulingController
from aimindserve.core.device import DeviceUsage, EngineUsage, Usage
from aimindserve.core.ids import DeviceId
from aimindserve.core.reason import Reason
from aimindserve.core.report import InstanceObservation, Report, RunState
from aimindserve.kit.units import GIB
from aimindserve.resources._all import kinds

from .world import FACTS, in_world

WORKED = controller.WORKED_REQUESTS
KINDS = kinds()


async def ready(
    world,
    *,
    held_gib=6.0,
    ram_gib=1.0,
    requests=WORKED,
    told=True,
    others_gib=0.0,
    counted=(0, 0.0),
):
    """Every placed instance of `a` is ready, and its worker reports what it holds."""
    for each in world.instances("a"):
        placement = each.status.placement
        if placement is None or each.spec.stopping:
            continue
        device = placement.ranks[0].claims[0].device
        devices = ((device, int(held_gib * GIB)),) if told else ()
        engine = EngineUsage(
            each.name,
            placement.id,
            1,
            True,
            int(ram_gib * GIB),
            int(ram_gib * GIB),
            devices,
            requests=requests,
        )
        usage = Usage(
            0.0,
            0,
            0,
            0,
            0,
            (DeviceUsage(DeviceId(device), int((held_gib + others_gib) * GIB)),),
            (engine,),
        )
        seen = world.store.get("worker", placement.worker).status.observed
        now = InstanceObservation(
            placement.id, RunState.READY, 0.0, port=40000, run=1,
            generated_tokens=counted[0], generated_s=counted[1],
        )  # fmt: skip
        report = Report(0, replace(seen, usage=usage), ((each.name, now),))
        world.leases.renew(placement.worker, report)
        await world._observe("instance", each.name, now)
    await world.pass_(controller.SETTLED_S + 0.1)


async def deployed(world, **options):
    await world.add_worker("w", devices=1)
    await world.deploy("a", "--vram=8GiB", "--ram=2GiB", **options)
    await world.look()


def found(world):
    return world.store.list("estimate")


def test_a_ready_engine_is_measured_and_the_next_one_is_placed_by_it():
    async def test(world):
        await deployed(world)
        await ready(world)
        [estimate] = found(world)
        assert estimate.spec.backend == "fake"
        assert estimate.spec.device == "H200"
        assert estimate.spec.parameters == ("--vram=8GiB", "--ram=2GiB")
        assert estimate.status.predicted.devices == (8 * GIB,)
        assert estimate.status.samples[0].taken.devices == (6 * GIB,)
        await world.change("deployment", "a", replicas=2)
        placements = [each.status.placement for each in world.instances("a")]
        assert sorted(each.confidence for each in placements) == ["high", "measured"]
        second = next(each for each in placements if each.confidence == "measured")
        assert 6 * GIB < second.ranks[0].claims[0].memory_bytes < 6.3 * GIB
        assert GIB < second.ranks[0].ram.total < 1.1 * GIB
        await ready(world, held_gib=6.1)
        [estimate] = found(world)  # the same question, and the formula's answer is kept
        assert estimate.status.predicted.devices == (8 * GIB,)
        assert len(estimate.status.samples) == 2
        assert {each.claimed.devices for each in estimate.status.samples} == {(8 * GIB,)}

    in_world(test)


def test_what_an_h200_took_is_not_claimed_on_another_kind():
    async def test(world):
        await deployed(world)
        await ready(world)
        await world.add_worker("other", devices=1, kind="L40")
        await world.look()
        await world.change("deployment", "a", replicas=2, instances_per_worker_max=1)
        placements = {
            each.status.placement.worker: each.status.placement
            for each in world.instances("a")
            if each.status.placement is not None
        }
        assert placements["other"].ranks[0].claims[0].memory_bytes == 8 * GIB
        assert placements["other"].confidence == "high"

    in_world(test)


SLOW = replace(DEFAULTS, refused_look_s=1e9, resync_s=1e9, room_settle_s=1e9)
"""Nothing is looked at again without a reason."""


def waiting(world):
    return [each for each in world.instances("a") if each.status.placement is None]


def test_who_waits_is_placed_by_the_measurement_that_says_it_needs_less():
    async def test(world):
        await world.add_worker("w", devices=1)
        await world.deploy("a", "--vram=45GiB", "--ram=2GiB", replicas=2)
        await world.look()
        assert len(waiting(world)) == 1
        await ready(world, held_gib=25)
        assert not waiting(world)
        told = {each.status.placement.confidence for each in world.instances("a")}
        assert told == {"high", "measured"}

    in_world(test, constants=SLOW)


def test_who_waits_is_placed_when_a_measurement_is_forgotten():
    async def test(world):
        await world.add_worker("w", devices=1)
        await world.deploy("a", "--vram=30GiB", "--ram=2GiB")
        await world.look()
        await ready(world, held_gib=45)
        await world.change("deployment", "a", replicas=2)
        assert len(waiting(world)) == 1
        await world.store.delete("estimate", found(world)[0].name)
        await world.pass_(0.1)
        assert not waiting(world)

    in_world(test, constants=SLOW)


def starts(world):
    return [start.seconds for each in found(world) for start in each.status.starts]


def test_how_long_a_start_took_is_remembered():
    async def test(world):
        await deployed(world)
        await world.pass_(41.0)
        await ready(world)
        await world.pass_(100.0)
        assert starts(world) == pytest.approx([41.1], abs=0.2)
        await world.change("deployment", "a", replicas=2)
        await world.pass_(20.0)
        await ready(world)
        assert starts(world) == pytest.approx([41.1, 20.1], abs=0.2)

    in_world(test)


def test_a_start_that_failed_at_first_or_was_not_seen_from_its_beginning_is_none():
    async def test(world):
        await deployed(world)
        await world.run(state=RunState.STARTING)
        [instance] = world.instances("a")
        placement = instance.status.placement
        failed = InstanceObservation(
            placement.id, RunState.BACKOFF, 0.0, restarts=1, reason=Reason("engine_exited")
        )
        await world._observe("instance", instance.name, failed)
        await world.pass_(1.0)
        again = replace(failed, state=RunState.READY, reason=None, run=2)
        await world._observe("instance", instance.name, again)
        await world.pass_(controller.SETTLED_S + 1.0)
        assert not starts(world)

    in_world(test)


def test_a_server_that_was_away_while_it_started_says_nothing():
    async def test(world):
        await deployed(world)
        await world.run()
        after = type(world)(backing=world.backing)
        async with after.running():
            await after.pass_(controller.SETTLED_S + 1.0)
            assert not starts(after)

    in_world(test)


def speeds(world):
    return [(one.tokens, one.seconds) for each in found(world) for one in each.status.speeds]


def tell(world, **numbers):
    """The worker's next report says other numbers of its one instance."""
    report = world.leases.report("w")
    ((name, seen),) = report.instances
    own = ((name, replace(seen, **numbers)),)
    world.leases.renew("w", replace(report, instances=own))


def test_how_fast_an_engine_generates_is_remembered():
    async def test(world):
        await deployed(world)
        await ready(world, counted=(63, 1.0))
        assert speeds(world) == []
        await ready(world, counted=(64, 1.0))
        assert speeds(world) == [(64, 1.0)]
        [estimate] = found(world)
        assert estimate.status.speeds[0].worker == "w"
        assert KINDS["estimate"].derive(estimate, None, 0.0)["tokens_s"] == 64.0
        await world.change("deployment", "a", replicas=2)
        await ready(world, counted=(200, 4.0))
        assert speeds(world) == [(200, 4.0)] * 2
        [estimate] = found(world)
        assert KINDS["estimate"].derive(estimate, None, 0.0)["tokens_s"] == 50.0

    in_world(test)


def test_a_busy_engine_writes_when_what_it_generated_has_doubled():
    async def test(world):
        await deployed(world)
        await ready(world, counted=(100, 1.0))
        before = world.store.revision
        for minutes in range(1, 121):
            tell(world, generated_tokens=100 + 1000 * minutes, generated_s=1.0 + 10.0 * minutes)
            await world.pass_(60.0)
        writes = world.store.revision - before
        assert 3 <= writes <= 11  # two hours of 1,000 tokens a minute are 10 doublings
        (tokens, seconds) = speeds(world)[0]
        assert tokens / seconds == pytest.approx(100.0, rel=0.01)
        await world.pass_(7200.0)
        assert world.store.revision - before == writes

    in_world(test)


def test_a_speed_alone_makes_nobody_plan_anew(monkeypatch):
    plans = []
    plan = SchedulingController.reconcile

    async def counting(self, key):
        plans.append(key)
        return await plan(self, key)

    monkeypatch.setattr(SchedulingController, "reconcile", counting)

    async def test(world):
        await deployed(world)
        await ready(world, counted=(64, 1.0))
        plans.clear()
        tell(world, generated_tokens=640, generated_s=10.0)
        await world.pass_(controller.WORKED_LOOK_S + 1.0)
        assert speeds(world) == [(640, 10.0)]
        assert plans == []
        await world.store.delete("estimate", found(world)[0].name)
        await world.pass_(1.0)
        assert plans == ["cluster"]

    in_world(test, constants=SLOW)


def test_a_speed_is_known_though_the_memory_cannot_be_told():
    async def test(world):
        await deployed(world)
        await ready(world, told=False, others_gib=10.0, counted=(640, 10.0))
        assert speeds(world) == [(640, 10.0)]
        assert found(world)[0].status.samples == ()

    in_world(test)


@pytest.mark.parametrize(
    ("tokens", "soon"), [(None, True), (1, True), (63, True), (0, False), (64, False)]
)
def test_who_has_worked_is_looked_at_again_soon_while_its_speed_is_to_come(tokens, soon):
    async def test(world):
        await deployed(world)
        await ready(world, counted=(tokens, 1.0))
        [instance] = world.instances("a")
        estimates = next(each for each in world.controllers if each.name == "estimates")
        pause = await estimates.reconcile(instance.name)
        wanted = controller.YOUNG_LOOK_S if soon else controller.WORKED_LOOK_S
        assert pause.after_s == wanted

    in_world(test)


def test_what_another_run_has_generated_is_not_this_ones():
    async def test(world):
        await deployed(world)
        await ready(world, counted=(640, 10.0))
        tell(world, run=2, generated_tokens=9_999)
        await world.pass_(controller.WORKED_LOOK_S + 1.0)
        assert speeds(world) == [(640, 10.0)]

    in_world(test)


def test_what_one_cut_took_raises_another_and_is_not_called_measured():
    async def test(world):
        await world.add_worker("w", devices=1)
        await world.add_worker("v", devices=1)
        await world.deploy("a", "--layers=10", "--vram=100GiB", "--ram=2GiB")
        await world.look()
        [first] = world.instances("a")
        (claim,) = first.status.placement.ranks[0].claims
        assert claim.layers == 8
        took = 1.05 * claim.memory_bytes / GIB
        await ready(world, held_gib=took, ram_gib=31)
        await world.change("deployment", "a", replicas=2)
        second = next(e for e in world.instances("a") if e.name != first.name).status.placement
        assert second.confidence == "derived"
        assert second.ranks[0].claims[0].memory_bytes > 1.04 * claim.memory_bytes
        await ready(world, held_gib=took, ram_gib=31)
        [estimate] = found(world)
        samples = estimate.status.samples
        # The second was claimed raised; it is compared with the formula all the same.
        assert [each.claimed.devices for each in samples] == [(claim.memory_bytes,)] * 2
        assert KINDS["estimate"].derive(estimate, None, 0.0)["error"] < 0

    in_world(test)


def test_a_peak_that_grows_is_followed_and_a_steady_one_writes_nothing():
    async def test(world):
        await deployed(world)
        await ready(world, requests=1)
        await ready(world, held_gib=7.0, requests=1)
        await world.pass_(controller.YOUNG_LOOK_S + 1.0)
        assert found(world)[0].status.samples[0].taken.devices == (7 * GIB,)
        before = world.store.revision
        await world.pass_(3 * controller.YOUNG_LOOK_S)
        assert world.store.revision == before

    in_world(test)


def test_a_run_is_not_believed_before_it_was_measured_ready():
    async def test(world):
        await deployed(world)
        [instance] = world.instances("a")
        seen = InstanceObservation(
            instance.status.placement.id, RunState.READY, 0.0, port=40000, run=1
        )
        await world._observe("instance", instance.name, seen)
        await world.pass_(controller.SETTLED_S - 1.0)
        assert not found(world)
        await ready(world)
        assert len(found(world)) == 1

    in_world(test)


def test_who_never_worked_lowers_nothing():
    async def test(world):
        await deployed(world)
        await ready(world, requests=0)
        await world.change("deployment", "a", replicas=2)
        assert {each.status.placement.confidence for each in world.instances("a")} == {"high"}

    in_world(test)


def test_a_run_that_ends_for_lack_of_memory_is_taken_back():
    async def test(world):
        await deployed(world)
        await ready(world)
        [instance] = world.instances("a")
        placement = instance.status.placement
        seen = InstanceObservation(
            placement.id,
            RunState.BACKOFF,
            0.0,
            run=1,
            restarts=1,
            ooms=1,
            reason=Reason("engine_oom_device", {"device": "x"}),
        )
        await world._observe("instance", instance.name, seen)
        await world.pass_(0.1)
        [estimate] = found(world)
        assert estimate.status.samples == ()
        assert (estimate.status.rejected, estimate.status.rejection) == (1, "oom")

    in_world(test)


def test_what_cannot_be_told_from_others_memory_is_no_measurement():
    async def test(world):
        await deployed(world)
        await ready(world, told=False, others_gib=10.0)
        [estimate] = found(world)
        assert not estimate.status.samples

    in_world(test)


def test_another_version_or_another_environment_is_another_question():
    async def test(world):
        await deployed(world)
        template = world.instances("a")[0].spec.template
        key = key_of(FACTS, "fake", template, "1 device", ())
        other = template.model_copy(update={"backend_version": "2"})
        secret = template.model_copy(update={"env": {"FAKE_TOKENS": "secret"}})
        assert key_of(FACTS, "fake", other, "1 device", ()) != key
        assert key_of(FACTS, "fake", secret, "1 device", ()) != key
        assert "secret" not in repr(key_of(FACTS, "fake", secret, "1 device", ()))
        assert facts_digest(FACTS) == key.digest
        assert facts_digest(replace(FACTS, layer_count=1)) != key.digest

    in_world(test)


def test_only_so_many_are_kept(monkeypatch):
    monkeypatch.setattr(controller, "ESTIMATES_MAX", 2)

    async def test(world):
        await world.add_worker("w", devices=1)
        for vram in (4, 5, 6, 7):
            await world.deploy("a", f"--vram={vram}GiB")
            await world.look()
            await ready(world)
            await world.store.delete("deployment", "a")
            await world.pass_(0.1)
            await world.let_go()
            await world.pass_(1.0)
        kept = {each.spec.parameters for each in found(world)}
        assert kept == {("--vram=6GiB",), ("--vram=7GiB",)}

    in_world(test)
