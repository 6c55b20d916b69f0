"""Would it fit? The answer is the scheduler's own, and comes true."""

import contextlib
from dataclasses import replace

import pytest

from aimindserve.controllers.expect import Expected, Seen
from aimindserve.controllers.inspections import MODELS_MAX, WAIT_S
from aimindserve.controllers.learned import Key, key_of
from aimindserve.core.errors import InvalidError, UnavailableError
from aimindserve.core.facts import Category, ModelRef, SourceName
from aimindserve.core.measurement import Speed, Start
from aimindserve.kit.tasks import TaskSupervisor
from aimindserve.kit.units import GIB
from aimindserve.resources.deployment import DeploymentSpec
from aimindserve.resources.estimate import EstimateSpec, EstimateStatus
from aimindserve.scheduler.whatif import NewWorker, WhatIf
from aimindserve.store.base import Draft
from unit.controllers.world import FACTS, PATH, in_world
from unit.formats.llama_facts import LLAMA_3_8B, llama

KEY = Key("digest", "fake", "1", "1 device")


def spec(*words, path=PATH, **fields):
    given = {"backend": "fake", "backend_parameters": words or ("--ram=1GiB",), **fields}
    return DeploymentSpec(model=ModelRef(SourceName.LOCAL, path=path), **given)


async def look_soon(world, **more):
    """A worker that answers within the time a preview waits."""
    await world.clock.sleep(0.2)
    await world.look(**more)


def asking(world, *arguments, **more):
    """The preview of a model that workers look at while it is asked for."""
    return answered_while(world, world.fits.answer(*arguments, **more))


async def answered_while(world, answer, **more):
    tasks = TaskSupervisor(world.clock)
    tasks.spawn(look_soon(world, **more), name="look")
    try:
        return await answer
    finally:
        await tasks.aclose()


def test_it_says_where_it_goes_before_anything_is_deployed_and_deploys_nothing():
    async def test(world):
        await world.add_worker("a", devices=1)
        await world.add_worker("b", devices=2)
        made = await asking(world, spec("--vram=60GiB", "--devices=2"), replicas=1)
        assert made["verdict"] == "fits"
        (place,) = made["placements"]
        assert place["workers"] == ["b"]
        assert [each["id"] for each in place["gpus"]] == ["b:cuda:0", "b:cuda:1"]
        assert place["gpus"][0]["add"] == 60 * GIB
        assert place["gpus"][0]["free_after"] == 19 * GIB  # 1 GiB is reserved
        assert place["gpus"][0]["used"] == [{"reserved": True, "bytes": GIB}]
        assert made["need"]["total"] == 120 * GIB
        assert world.instances() == []
        await world.deploy("chat", "--vram=60GiB", "--devices=2")
        await world.look()
        (instance,) = world.instances()
        assert instance.status.placement.worker == place["worker"]

    in_world(test)


def expect(made):
    return [each["expect"] for each in made["placements"]]


def test_it_says_how_long_a_start_will_take_as_far_as_one_was_seen():
    wish = spec("--vram=8GiB")

    def seen(shape, device, *seconds, backend="fake", digest=None):
        status = EstimateStatus(starts=tuple(Start(f"p{each}", 0.0, each) for each in seconds))
        key = key_of(FACTS, "fake", wish, shape, ())
        about = EstimateSpec(
            model="m", digest=digest or key.digest, backend=backend, version=key.version,
            shape=shape, parameters=key.parameters, device=device,
        )  # fmt: skip
        return Draft("estimate", f"e-{len(seconds)}-{shape[:1]}-{device.lower()}", about, status)

    async def test(world):
        await world.add_worker("w", devices=1)
        await answered_while(world, world.fits.answer(wish))
        nothing = {
            "ready_s": None, "tokens_s": None, "source": None, "tokens_source": None,
            "starts": 0, "tokens": 0,
        }  # fmt: skip
        assert expect(await world.fits.answer(wish)) == [nothing]
        for other in (
            seen("1 device", "L40", 3.0),
            seen("1 device", "H200", 4.0, 5.0, backend="vllm"),
            seen("1 device", "H200", 6.0, 7.0, 8.0, digest="other"),
        ):
            await world.store.create(other)
        assert expect(await world.fits.answer(wish)) == [nothing]
        await world.store.create(seen("2 devices", "H200", *[50.0] * 4))
        [told] = expect(await world.fits.answer(wish))
        assert told == {**nothing, "ready_s": 50.0, "source": "similar", "starts": 4}
        await world.store.create(seen("1 device", "H200", 10.0, 12.0, 90.0, 11.0, 13.0))
        [told] = expect(await world.fits.answer(wish))
        assert told == {**nothing, "ready_s": 12.0, "source": "same", "starts": 5}

    in_world(test)


def test_it_says_how_fast_one_request_will_be_answered_as_far_as_engines_counted():
    wish = spec("--vram=8GiB")

    def counted(shape, device, *speeds, digest=None):
        runs = tuple(
            Speed(f"p/{at}", "w", 0.0, tokens, seconds)
            for at, (tokens, seconds) in enumerate(speeds)
        )
        key = key_of(FACTS, "fake", wish, shape, ())
        about = EstimateSpec(
            model="m", digest=digest or key.digest, backend="fake", version=key.version,
            shape=shape, parameters=key.parameters, device=device,
        )  # fmt: skip
        name = f"e-{shape[:1]}-{device.lower()}-{digest or 'mine'}"
        return Draft("estimate", name, about, EstimateStatus(speeds=runs))

    async def speed(world):
        [told] = expect(await world.fits.answer(wish))
        assert (told["ready_s"], told["source"]) == (None, None)
        return told["tokens_s"], told["tokens_source"], told["tokens"]

    async def test(world):
        await world.add_worker("w", devices=1)
        await answered_while(world, world.fits.answer(wish))
        await world.store.create(counted("1 device", "L40", (1000, 10.0)))
        await world.store.create(counted("1 device", "H200", (1000, 10.0), digest="other"))
        assert await speed(world) == (None, None, 0)
        await world.store.create(counted("2 devices", "H200", (600, 6.0)))
        assert await speed(world) == (100.0, "similar", 600)
        embeds = spec("--vram=8GiB", categories=(Category.EMBEDDING,))
        [told] = expect(await world.fits.answer(embeds))
        assert told["tokens_s"] is None, "the same model writes no text then"
        # Enough of both runs together: all their tokens over all their seconds.
        await world.store.create(counted("1 device", "H200", (40, 4.0), (60, 1.0)))
        assert await speed(world) == (20.0, "same", 100)

    in_world(test)


def test_too_few_tokens_of_just_this_way_do_not_hide_what_is_known_of_others():
    alone = Expected({(KEY, "H200"): Seen(speeds=(Speed("p/1", "w", 0.0, 63, 1.0),))}, {})
    told = alone.of(KEY, "H200")
    assert (told["tokens_s"], told["tokens_source"], told["tokens"]) == (None, None, 0)
    others = Seen((7.0,), (Speed("p/2", "w", 0.0, 640, 10.0),))
    told = replace(alone, similar={"H200": others}).of(KEY, "H200")
    assert (told["tokens_s"], told["tokens_source"], told["tokens"]) == (64.0, "similar", 640)
    assert (told["ready_s"], told["source"]) == (7.0, "similar")


def test_each_replica_sees_what_the_one_before_took():
    async def test(world):
        await world.add_worker("a", devices=2)
        made = await asking(world, spec("--vram=50GiB"), replicas=3)
        assert made["replicas"] == {"asked": 3, "placed": 2}
        assert made["verdict"] == "no"
        assert {each["gpus"][0]["id"] for each in made["placements"]} == {"a:cuda:0", "a:cuda:1"}
        assert made["reason"]["code"] == "no_fit_vram"
        # Why not is told as in a decision's record: each device's answer and the nearest.
        assert made["counts"] == {"no_fit_vram": 1}
        assert {each["device"] for each in made["devices"]} == {"a:cuda:0", "a:cuda:1"}
        assert made["nearest"]["device"]

    in_world(test)


def test_of_what_fits_nowhere_the_least_need_is_told():
    async def test(world):
        await world.add_worker("a", ram_gib=1)
        wish = spec(
            path="/models/llama", backend="vllm", backend_parameters=("--max-model-len=64",)
        )
        made = await answered_while(world, world.fits.answer(wish), facts=LLAMA_3_8B)
        assert made["verdict"] == "no"
        # The last of its ways is on processors, where vLLM keeps a cache of many GiB.
        assert made["need"]["total"] < 18 * GIB

    in_world(test)


def test_a_device_that_would_be_all_but_full_is_warned_of_in_words():
    async def test(world):
        await world.add_worker("a", devices=1)
        made = await asking(world, spec("--vram=78GiB"))
        (warning,) = made["warnings"]
        assert warning["code"] == "tight_headroom"
        assert warning["message"] == "It fits, but only 1.0 GiB of a:cuda:0 would be left."

    in_world(test)


def test_what_must_be_stopped_is_told_and_true():
    async def test(world):
        await world.add_worker("a", devices=1)
        await world.up("small", "--vram=30GiB")
        await world.up("large", "--vram=40GiB")
        made = await world.fits.answer(spec("--vram=35GiB"))
        assert made["verdict"] == "fits_after"
        (change,) = [each for each in made["alternatives"] if each["kind"] == "scale_down"]
        assert change["scale"] == {"small": 0}
        (stopped,) = change["stop"]
        assert stopped.startswith("small")
        # Whoever does not want to hear why hears the same verdict.
        brief = await world.fits.answer(spec("--vram=35GiB"), explain=False)
        assert (brief["verdict"], brief["alternatives"]) == ("fits_after", [])
        await world.change("deployment", "small", replicas=0)
        await world.let_go()
        assert (await world.fits.answer(spec("--vram=35GiB")))["verdict"] == "fits"

    in_world(test)


def test_a_change_that_helps_only_some_of_the_replicas_is_not_told():
    async def test(world):
        await world.add_worker("a", devices=2)
        await world.up("other", "--vram=60GiB")
        made = await world.fits.answer(spec("--vram=60GiB"), replicas=3)
        assert made["verdict"] == "no"
        assert made["replicas"] == {"asked": 3, "placed": 1}
        two = await world.fits.answer(spec("--vram=60GiB"), replicas=2)
        assert two["verdict"] == "fits_after"
        assert [each["scale"] for each in two["alternatives"]] == [{"other": 0}]

    in_world(test)


def test_whoever_waits_is_not_told_to_stop_its_own_kind():
    async def test(world):
        await world.add_worker("a", devices=1)
        await world.up("chat", "--vram=40GiB")
        await world.change("deployment", "chat", replicas=2)
        await world.look()
        (waiting,) = [each for each in world.instances("chat") if not each.status.placement]
        assert await world.fits.changes(waiting.name) == []

    in_world(test)


def test_a_preview_of_a_change_does_not_count_what_it_replaces():
    async def test(world):
        await world.add_worker("a", devices=1)
        await world.up("chat", "--vram=60GiB")
        assert (await world.fits.answer(spec("--vram=70GiB")))["verdict"] != "fits"
        assert (await world.fits.answer(spec("--vram=70GiB"), name="chat"))["verdict"] == "fits"

    in_world(test)


def test_who_waits_already_comes_first():
    async def test(world):
        await world.add_worker("a", devices=1)
        await world.add_worker("b")
        await world.change("worker", "a", cordoned=True)
        await world.deploy("early", "--vram=60GiB")
        await world.look()
        what_if = WhatIf(workers_added=(NewWorker(like="a"),))
        assert (await world.fits.answer(spec("--vram=60GiB"), what_if=what_if))["verdict"] != "fits"
        two = WhatIf(workers_added=(NewWorker(like="a", count=2),))
        assert (await world.fits.answer(spec("--vram=60GiB"), what_if=two))["verdict"] == "fits"

    in_world(test)


def test_what_becomes_of_those_who_wait_is_told():
    async def test(world):
        await world.add_worker("a", devices=1)
        await world.deploy("early", "--vram=90GiB")
        await world.look()
        (waiting,) = (await world.fits.answer(None))["waiting"]
        assert waiting["instance"].startswith("early")
        assert not waiting["placed"]
        assert waiting["reason"]["code"] == "no_fit_vram"
        h200 = NewWorker(ram_bytes=64 * GIB, device_memory_bytes=141 * GIB, devices=1)
        told = await world.fits.answer(
            None, what_if=WhatIf(workers_added=(replace(h200, labels={}),))
        )
        assert [each["worker"] for each in told["waiting"]] == ["new-1"]
        assert told["verdict"] == "fits"

    in_world(test)


def test_a_chosen_device_with_too_little_left_is_told_as_overcommitted():
    async def test(world):
        await world.add_worker("a", devices=1)
        await world.up("other", "--vram=60GiB")
        chosen = spec("--vram=40GiB", gpu_selector={"gpu_ids": ["a:cuda:0"]})
        made = await world.fits.answer(chosen)
        assert made["verdict"] == "overcommitted"
        assert [each["code"] for each in made["warnings"]] == ["overcommitted"]
        assert made["placements"][0]["gpus"][0]["free_after"] < 0

    in_world(test)


def test_hardware_that_is_thought_of_has_as_much_as_when_it_is_really_there():
    """A described worker keeps for its system what a real one of the same size keeps."""

    async def test(world):
        await world.add_worker("a", devices=2)
        described = NewWorker(ram_bytes=64 * GIB, device_memory_bytes=80 * GIB, devices=2)
        added = WhatIf(workers_lost=("a",), workers_added=(described,))
        for need, fits in (("79GiB", True), ("79.5GiB", False)):
            wish = spec(f"--vram={need}", "--devices=2")
            there = await asking(world, wish)
            thought = await world.fits.answer(wish, what_if=added)
            assert [each["verdict"] != "no" for each in (there, thought)] == [fits, fits]

    in_world(test)


def test_a_shape_over_workers_that_is_not_started_yet_is_warned_of():
    async def test(world):
        for name in ("a", "b"):
            await world.add_worker(name, devices=1)
        wish = spec(
            path="/models/llama", backend="vllm", backend_parameters=("--max-model-len=4096",),
            distributed_inference_across_workers=True, cpu_offloading=False,
        )  # fmt: skip
        facts = llama(48, 8192, 28672, 64, 8, 128256)
        made = await answered_while(world, world.fits.answer(wish), facts=facts)
        assert made["verdict"] == "distributed"
        assert "across_not_started" in {each["code"] for each in made["warnings"]}

    in_world(test)


def test_what_a_lost_worker_leaves_behind_is_placed_as_it_then_is():
    async def test(world):
        for name in ("a", "b", "c"):
            await world.add_worker(name, devices=1)
        await world.up("chat", "--vram=30GiB", replicas=3)
        told = await world.fits.answer(None, what_if=WhatIf(workers_lost=("b",)))
        (moved,) = told["displaced"]
        assert moved["placed"]
        assert moved["worker"] in {"a", "c"}
        assert told["verdict"] == "fits"
        await world.store.delete("worker", "b")
        await world.pass_(400)
        homes = sorted(each.status.placement.worker for each in world.instances("chat"))
        assert homes == sorted(["a", "c", moved["worker"]])
        nowhere = await world.fits.answer(None, what_if=WhatIf(workers_lost=("a", "c")))
        assert nowhere["verdict"] == "no"
        assert {each["reason"]["code"] for each in nowhere["displaced"]} == {"no_worker"}

    in_world(test)


def test_hardware_that_is_only_thought_of_is_described():
    async def test(world):
        await world.add_worker("a")
        h100 = NewWorker(
            count=2, ram_bytes=64 * GIB, device_name="H100", device_memory_bytes=80 * GIB, devices=8
        )
        made = await asking(
            world, spec("--vram=70GiB", "--devices=8"), replicas=2,
            what_if=WhatIf(workers_added=(h100,)),
        )  # fmt: skip
        assert made["verdict"] == "fits"
        assert {each["worker"] for each in made["placements"]} == {"new-1", "new-2"}

    in_world(test)


def test_a_model_that_no_worker_has_is_no_and_one_still_looked_at_is_unknown():
    async def test(world):
        await world.add_worker("a")
        made = await world.fits.answer(spec(path="/models/slow.gguf"))
        assert made["verdict"] == "unknown"
        assert made["reason"]["code"] == "file_checking"
        assert world.store.list("model-file")

    in_world(test)


def test_a_model_that_was_only_asked_about_is_forgotten():
    async def test(world):
        await world.add_worker("a")
        await asking(world, spec())
        assert [file.spec.model.path for file in world.store.list("model-file")] == [PATH]
        await world.pass_(300)
        assert world.store.list("model-file")
        await world.pass_(1200)
        assert not world.store.list("model-file")

    in_world(test)


def test_a_smaller_file_of_the_same_model_is_offered():
    async def test(world):
        await world.add_worker("a", ram_gib=8)
        big = replace(
            FACTS, size_bytes=20 * GIB, layer_bytes=(GIB // 2,) * FACTS.layer_count,
            quantization="F16", name="Chat 7B",
        )  # fmt: skip
        small = replace(
            big, size_bytes=2 * GIB, layer_bytes=(GIB // 16,) * FACTS.layer_count,
            quantization="Q4_K_M",
        )  # fmt: skip
        await answered_while(world, world.fits.answer(spec(path="/models/small.gguf")), facts=small)
        words = {"backend": "llama.cpp", "backend_parameters": ("--ctx-size=2048", "--parallel=1")}
        made = await answered_while(
            world, world.fits.answer(spec(path="/models/big.gguf", **words)), facts=big
        )
        assert made["verdict"] == "no"
        offers = {each["kind"]: each for each in made["alternatives"]}
        assert offers["quantization"]["params"]["to"] == "Q4_K_M"
        assert offers["quantization"]["patch"]["model"]["path"] == "/models/small.gguf"

    in_world(test)


def test_a_shorter_context_is_offered_and_makes_it_fit():
    async def test(world):
        await world.add_worker("a", ram_gib=12)
        facts = replace(FACTS, context_length=1 << 20)
        wish = spec(backend="llama.cpp", backend_parameters=("--ctx-size=262144", "--parallel=1"))
        made = await answered_while(world, world.fits.answer(wish), facts=facts)
        assert made["verdict"] == "no"
        offer = next(each for each in made["alternatives"] if each["kind"] == "context")
        lesser = wish.model_copy(
            update={"backend_parameters": tuple(offer["patch"]["backend_parameters"])}
        )
        assert (await world.fits.answer(lesser))["verdict"] == "cpu_only"

    in_world(test)


def test_a_waiting_instance_is_told_what_would_help():
    async def test(world):
        await world.add_worker("a", devices=1)
        await world.add_worker("b", devices=1, labels={"zone": "x"})
        await world.up("held", "--vram=70GiB")
        await world.deploy("chat", "--vram=60GiB", worker_selector={"zone": "y"})
        (instance,) = world.instances("chat")
        changes = await world.fits.changes(instance.name)
        assert [each["kind"] for each in changes] == ["worker_selector"]
        assert await world.fits.changes(world.instances("held")[0].name) == ()

    in_world(test)


def test_questions_about_nothing_that_exists_are_refused():
    async def test(world):
        await world.add_worker("a")
        with pytest.raises(InvalidError, match="no worker called z"):
            await world.fits.answer(None, what_if=WhatIf(workers_lost=("z",)))
        with pytest.raises(InvalidError, match="no deployment called y"):
            await world.fits.answer(None, what_if=WhatIf(deployments_removed=("y",)))

    in_world(test)


def models(count):
    return [ModelRef(SourceName.LOCAL, path=f"/{number}.gguf") for number in range(count)]


def test_a_place_among_the_models_that_are_looked_at_is_waited_for():
    async def test(world):
        await world.add_worker("a")
        async with contextlib.AsyncExitStack() as others:
            first, *rest = models(MODELS_MAX)
            hold = world.inspections.looking(first, {})
            await hold.__aenter__()
            for model in rest:
                await others.enter_async_context(world.inspections.looking(model, {}))
            before = world.clock.monotonic()
            with pytest.raises(UnavailableError, match="looked at already"):
                await world.fits.answer(spec())
            assert world.clock.monotonic() - before >= WAIT_S
            tasks = TaskSupervisor(world.clock)
            tasks.spawn(_later(world, hold), name="later")
            made = await world.fits.answer(spec())
            await tasks.aclose()
            assert made["verdict"] == "cpu_only"
            assert first not in world.inspections.wanted(), "its place went to another"
            assert set(rest) <= set(world.inspections.wanted())

    in_world(test)


async def _later(world, hold):
    await world.clock.sleep(5.0)
    await hold.__aexit__(None, None, None)
    await look_soon(world)


def test_more_models_than_may_be_looked_at_are_asked_about_one_after_the_other():
    async def test(world):
        await world.add_worker("a")
        for model in models(MODELS_MAX + 8):
            made = await asking(world, spec(path=model.path))
            assert made["verdict"] == "cpu_only"
            assert len(world.inspections.wanted()) <= MODELS_MAX

    in_world(test)


def test_of_none_of_them_there_is_nothing_to_place():
    async def test(world):
        await world.add_worker("a")
        made = await asking(world, spec(), replicas=0)
        assert (made["verdict"], made["replicas"]) == ("fits", {"asked": 0, "placed": 0})
        assert made["placements"] == []

    in_world(test)
