"""Who runs out of memory twice in one place is put elsewhere, or smaller, and the tries end."""

import pytest

from aimindserve.controllers.failures import (
    BARRED_FIRST_S,
    BARRED_MAX_S,
    KEPT_MAX,
    OOMS_MAX,
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


def status(*, name="p", code="engine_oom_device", ooms=OOMS_MAX, state=RunState.BACKOFF, gib=8):
    claims = (Claim("w:cuda:0", MemoryParts(gib * GIB)), Claim("w:cuda:1", MemoryParts(gib * GIB)))
    placement = Placement(name, "2 devices", (Rank("w", claims, MemoryParts(GIB)),))
    reason = Reason("crash_loop", {"cause": code}, "last words")
    seen = InstanceObservation(name, state, 0.0, restarts=ooms, reason=reason, ooms=ooms)
    return InstanceStatus(placement=placement, observed=seen)


def test_once_may_be_bad_luck_and_who_runs_is_left_alone():
    assert is_unfit(status())
    assert not is_unfit(status(ooms=1))
    assert not is_unfit(status(state=RunState.READY))
    assert not is_unfit(InstanceStatus())


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


async def run_out(world, instance, ooms, code="engine_oom_device"):
    """The instance's worker says that it ran out of memory `ooms` times where it is."""

    def observe(current):
        placement = current.status.placement
        reason = Reason(code, {"worker": placement.worker, "device": "x", "name": instance})
        seen = InstanceObservation(
            placement.id, RunState.BACKOFF, 0.0, restarts=ooms, reason=reason, ooms=ooms
        )
        return current.with_status(current.status.model_copy(update={"observed": seen}))

    await world.store.update("instance", instance, observe)
    await world.pass_(0.1)


def where(world):
    return [
        each.status.placement.ranks[0].claims[0].device
        for each in world.instances("a")
        if each.status.placement is not None and not each.spec.stopping
    ]


def test_the_second_time_it_goes_elsewhere_and_when_there_is_no_elsewhere_it_says_why():
    async def test(world):
        await world.add_worker("w", devices=2)
        await world.up("a", "--vram=8GiB")
        tried = []
        for _ in range(2):
            [device] = where(world)
            tried.append(device)
            [name] = [each.name for each in world.instances("a") if not each.spec.stopping]
            await run_out(world, name, 1)
            assert where(world) == [device]  # once is no reason to move
            await run_out(world, name, 2)
            assert device not in where(world)
            await world.let_go()
        assert sorted(tried) == ["w:cuda:0", "w:cuda:1"]
        [last] = world.instances("a")
        assert last.status.placement is None
        assert last.status.refusal.code in {"no_fit", "oom_before"}
        refused = world.decisions.get(last.name)["refused"]
        assert {each["code"] for each in refused} == {"oom_before"}
        failures = world.status("a").failures
        assert {each.place for each in failures} == set(tried)
        # Not for ever: whoever took the memory may have gone.
        await world.pass_(BARRED_FIRST_S + 1.0)
        assert len(where(world)) == 1

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
