"""Who runs out of memory goes elsewhere, smaller, or with a larger claim, and the tries end."""

import pytest

from aimindserve.controllers.failures import (
    BARRED_FIRST_S,
    BARRED_MAX_S,
    KEPT_MAX,
    barred,
    is_unfit,
    next_try,
    remember,
    template_hash,
)
from aimindserve.core.device import MemoryParts
from aimindserve.core.facts import ModelRef, SourceName
from aimindserve.core.placement import Claim, Placement, Rank
from aimindserve.core.reason import Reason
from aimindserve.core.report import InstanceObservation, RunState
from aimindserve.kit.units import GIB
from aimindserve.resources.deployment import DeploymentSpec
from aimindserve.resources.instance import InstanceStatus

from .world import in_world

SPEC = DeploymentSpec(model=ModelRef(SourceName.LOCAL, path="/m.gguf"))


def status(*, name="p", code="engine_oom_device", ooms=1, state=RunState.BACKOFF, gib=8):
    claims = (Claim("w:cuda:0", MemoryParts(gib * GIB)), Claim("w:cuda:1", MemoryParts(gib * GIB)))
    placement = Placement(name, "2 devices", (Rank("w", claims, MemoryParts(GIB)),))
    reason = Reason("crash_loop", {"cause": code}, "last words")
    seen = InstanceObservation(name, state, 0.0, restarts=ooms, reason=reason, ooms=ooms)
    return InstanceStatus(placement=placement, observed=seen)


def test_once_is_enough_and_who_runs_or_is_not_to_be_restarted_is_left_alone():
    assert is_unfit(SPEC, status())
    assert is_unfit(SPEC, status(state=RunState.FAILED))
    assert not is_unfit(SPEC, status(ooms=0))
    assert not is_unfit(SPEC, status(state=RunState.READY))
    assert not is_unfit(SPEC, InstanceStatus())
    assert not is_unfit(SPEC.model_copy(update={"restart_on_error": False}), status())


@pytest.mark.parametrize(
    ("code", "places"),
    [
        ("engine_oom_device", ["w:cuda:0", "w:cuda:1"]),
        ("engine_oom", ["w:ram"]),
        ("engine_exited", ["w:cuda:0", "w:cuda:1"]),
    ],
)
def test_the_place_is_where_memory_was_short(code, places):
    kept = remember((), [(SPEC, status(code=code))], SPEC, 100.0)
    assert [each.place for each in kept] == places
    told = barred(kept, SPEC, 100.0)
    assert sorted(told) == places
    for reason in told.values():
        assert "?" not in reason.message + reason.fix
        assert reason.evidence == "last words"


def test_the_same_failure_counts_once_and_the_next_one_lasts_longer():
    kept = remember((), [(SPEC, status())], SPEC, 0.0)
    assert remember(kept, [(SPEC, status())], SPEC, 50.0) == kept
    assert next_try(kept, 0.0) == BARRED_FIRST_S
    times = []
    for number in range(12):
        kept = remember(kept, [(SPEC, status(name=f"q{number}"))], SPEC, 0.0)
        times.append(kept[0].until)
    assert times[:2] == [2 * BARRED_FIRST_S, 4 * BARRED_FIRST_S]
    assert times[-1] == BARRED_MAX_S
    assert barred(kept, SPEC, BARRED_MAX_S + 1) == {}
    assert next_try(kept, BARRED_MAX_S + 1) is None


def test_another_template_begins_anew_and_a_number_of_copies_is_none():
    kept = remember((), [(SPEC, status())], SPEC, 0.0)
    other = SPEC.model_copy(update={"backend_parameters": ("--ctx-size=512",)})
    more = SPEC.model_copy(update={"replicas": 7, "description": "x"})
    assert template_hash(more) == template_hash(SPEC)
    assert barred(kept, other, 0.0) == {}
    assert barred(kept, more, 0.0)
    assert remember(kept, [(SPEC, status())], other, 0.0) == ()


def test_only_so_many_places_are_kept():
    kept = ()
    for number in range(100):
        claims = (Claim(f"w{number}:cuda:0", MemoryParts(GIB)),)
        placement = Placement(f"p{number}", "", (Rank(f"w{number}", claims),))
        one = status().model_copy(update={"placement": placement})
        seen = InstanceObservation(f"p{number}", RunState.BACKOFF, 0.0, ooms=2)
        kept = remember(kept, [(SPEC, one.model_copy(update={"observed": seen}))], SPEC, 0.0)
    assert len(kept) == KEPT_MAX
    assert kept[-1].place == "w99:cuda:0"


async def run_out(world, instance, code="engine_oom_device"):
    """The instance's worker says that it ran out of memory where it is."""

    def observe(current):
        placement = current.status.placement
        reason = Reason(code, {"worker": placement.worker, "device": "x", "name": instance})
        seen = InstanceObservation(placement.id, RunState.FAILED, 0.0, reason=reason, ooms=1)
        return current.with_status(current.status.model_copy(update={"observed": seen}))

    await world.store.update("instance", instance, observe)
    await world.pass_(0.1)
    await world.let_go()
    await world.pass_(0.1)


def claims(world):
    """Device -> GiB claimed there."""
    return {
        claim.device: round(claim.memory_bytes / GIB, 2)
        for each in world.instances("a")
        if each.status.placement is not None and not each.spec.stopping
        for claim in each.status.placement.ranks[0].claims
    }


def names(world):
    return [each.name for each in world.instances("a") if not each.spec.stopping]


def test_the_first_time_it_goes_elsewhere_and_claims_more():
    async def test(world):
        await world.add_worker("w", devices=2)
        await world.up("a", "--vram=8GiB")
        [(device, before)] = claims(world).items()
        await run_out(world, *names(world))
        [(now, after)] = claims(world).items()
        assert (before, after) == (8.0, 9.6)
        assert now != device
        [failure] = world.status("a").failures
        assert (failure.place, failure.need_bytes, failure.times) == (device, 8 * GIB, 1)

    in_world(test)


def test_where_there_is_no_elsewhere_it_comes_back_with_more_each_time_until_it_waits():
    async def test(world):
        await world.add_worker("w", devices=1)
        await world.up("a", "--vram=8GiB")
        tried = []
        while claims(world):
            [(device, size)] = claims(world).items()
            tried.append(size)
            assert device == "w:cuda:0"
            await run_out(world, *names(world))
        # Twice what the formula says is the end: then it is somebody else who takes the memory.
        assert tried == [8.0, 9.6, 11.52, 13.82, 16.0]
        [last] = world.instances("a")
        assert last.status.refusal.code == "oom_before"
        assert last.status.refusal.params["count"] == len(tried)
        assert [each.place for each in world.status("a").failures] == ["w:cuda:0"]
        # Not for ever: whoever took the memory may have gone.
        [failure] = world.status("a").failures
        await world.pass_(failure.until - world.clock.now() + 1.0)
        assert claims(world) == {"w:cuda:0": 8.0}

    in_world(test)


def test_what_a_larger_claim_does_not_fit_waits_for_the_same_place_as_before():
    async def test(world):
        await world.add_worker("w", devices=1)
        await world.up("a", "--vram=70GiB")
        await run_out(world, *names(world))
        assert not claims(world)
        [last] = world.instances("a")
        assert last.status.refusal.code in {"oom_before", "no_fit_vram", "no_fit"}
        await world.pass_(BARRED_FIRST_S + 31.0)
        assert claims(world) == {"w:cuda:0": 70.0}

    in_world(test)


def test_who_declares_what_it_takes_is_not_put_back_with_just_that():
    async def test(world):
        await world.add_worker("w", devices=1)
        await world.deploy("a", "--vram=8GiB", env={"GPUSTACK_MODEL_VRAM_CLAIM": "8GiB"})
        await world.look()
        assert claims(world) == {"w:cuda:0": 8.0}
        await run_out(world, *names(world))
        assert not claims(world)
        await world.pass_(BARRED_FIRST_S + 31.0)
        assert claims(world) == {"w:cuda:0": 8.0}

    in_world(test)


def test_memory_of_the_host_is_raised_where_that_ran_out():
    async def test(world):
        await world.add_worker("w", devices=1)
        await world.up("a", "--vram=8GiB", "--ram=4GiB")
        before = world.instances("a")[0].status.placement.ranks[0].ram.total
        await run_out(world, *names(world), code="engine_oom")
        [instance] = world.instances("a")
        assert claims(world) == {"w:cuda:0": 8.0}
        assert instance.status.placement.ranks[0].ram.total == int(before * 1.2)
        assert [each.place for each in world.status("a").failures] == ["w:ram"]

    in_world(test)


def test_a_smaller_shape_may_go_where_a_larger_one_failed():
    from aimindserve.core.device import Device, Need
    from aimindserve.core.shape import Shape
    from aimindserve.scheduler.base import Ask, Snapshot, WorkerView
    from aimindserve.scheduler.plan import plan

    device = Device("w:cuda:0", 0, "cuda", "", "", 80 * GIB)
    free = {"w:cuda:0": 80 * GIB}
    worker = WorkerView("w", True, False, "linux", "amd64", {}, GIB, GIB, (device,), free)
    shapes = tuple(
        Shape(f"{slots} slots", (Need((MemoryParts(slots * 8 * GIB),)),)) for slots in (4, 2, 1)
    )
    failed = {"w:cuda:0": Reason("oom_before", {"shape": "4 slots", "failed_bytes": 32 * GIB})}
    made = plan(Snapshot(1, (worker,)), [Ask("i", "d", "p", shapes, failures=failed)])
    assert made.placements["i"].shape == "2 slots"
    failed = {"w:cuda:0": Reason("oom_before", {"shape": "1 slots", "failed_bytes": 8 * GIB})}
    made = plan(Snapshot(1, (worker,)), [Ask("i", "d", "p", shapes, failures=failed)])
    assert not made.placements
    # The same with a larger claim is another try; with the same claim it is not.
    failed = {"w:cuda:0": Reason("oom_before", {"shape": "4 slots", "failed_bytes": 30 * GIB})}
    made = plan(Snapshot(1, (worker,)), [Ask("i", "d", "p", shapes, failures=failed)])
    assert made.placements["i"].shape == "4 slots"
