"""Instances follow deployments: count, generations, deletion, status."""

from aimindserve.core.reason import Reason
from aimindserve.core.report import FileObservation, FileState, RunState
from aimindserve.store.base import Draft

from .world import FACTS, in_world


def test_as_many_instances_as_asked_for_and_the_status_counts_them():
    async def test(world):
        await world.add_worker("w")
        await world.deploy("d", replicas=3)
        assert [each.spec.deployment for each in world.instances()] == ["d"] * 3
        assert all(each.name.startswith("d-") and len(each.name) == 7 for each in world.instances())
        await world.look()
        await world.run(world.instances()[0].name)
        status = world.status("d")
        assert (status.observed_generation, status.replicas, status.ready_replicas) == (1, 3, 1)

    in_world(test)


def test_an_unready_deployment_tells_the_most_telling_reason():
    async def test(world):
        await world.deploy("d")
        assert world.status("d").reason.code == "no_worker"
        await world.add_worker("w")
        await world.look()
        await world.run(state=RunState.FAILED)
        assert world.status("d").reason is None
        await world.run()
        assert world.status("d").ready_replicas == 1
        assert world.status("d").reason is None

    in_world(test)


def test_scaling_keeps_the_instances_and_takes_the_newest_away():
    async def test(world):
        await world.add_worker("w")
        await world.up("d", replicas=2)
        await world.pass_(5.0)
        await world.change("deployment", "d", replicas=3)
        await world.look()
        await world.run()
        born = 1_800_000_005
        first = {each.name for each in world.instances() if each.metadata.created_at < born}
        assert len(first) == 2
        await world.change("deployment", "d", replicas=2)
        stopping = [each.name for each in world.instances() if each.spec.stopping]
        assert len(stopping) == 1
        assert stopping[0] not in first

    in_world(test)


def test_a_stopping_instance_stays_until_its_worker_has_let_go():
    async def test(world):
        await world.add_worker("w")
        await world.up("d")
        await world.change("deployment", "d", replicas=0)
        await world.pass_(500.0)
        assert [each.spec.stopping for each in world.instances()] == [True]
        assert world.status("d").replicas == 1
        await world.let_go()
        assert world.instances() == []
        assert world.status("d").replicas == 0

    in_world(test)


def test_an_instance_without_a_place_is_deleted_at_once():
    async def test(world):
        await world.deploy("d", replicas=2)
        await world.change("deployment", "d", replicas=1)
        assert len(world.instances()) == 1

    in_world(test)


def test_a_new_generation_surges_by_one_and_other_changes_replace_nothing():
    async def test(world):
        await world.add_worker("w")
        await world.up("d", replicas=2)
        old = {each.name for each in world.instances()}
        await world.change("deployment", "d", description="other words")
        assert {each.name for each in world.instances()} == old
        await world.change("deployment", "d", backend_parameters=("--ram=2GiB",))
        fresh = [each for each in world.instances() if each.name not in old]
        assert len(fresh) == 1
        assert not any(each.spec.stopping for each in world.instances())
        for _ in range(4):
            await world.run()
            await world.let_go()
        words = [each.spec.template.backend_parameters for each in world.instances()]
        assert words == [("--ram=2GiB",)] * 2
        assert not {each.name for each in world.instances()} & old

    in_world(test)


def test_without_room_for_a_surge_an_old_instance_makes_room():
    async def test(world):
        await world.add_worker("w", ram_gib=16)
        await world.up("d", "--ram=10GiB")
        old = world.instances()[0].name
        await world.change("deployment", "d", backend_parameters=("--ram=11GiB",))
        assert not world.store.get("instance", old).spec.stopping
        await world.pass_(5.0)
        assert world.store.get("instance", old).spec.stopping
        await world.let_go()
        await world.run()
        assert world.status("d").ready_replicas == 1
        assert [each.name == old for each in world.instances()] == [False]

    in_world(test)


def test_a_deleted_deployment_stops_its_instances_and_takes_route_and_files_along():
    async def test(world):
        await world.add_worker("w")
        await world.up("d")
        assert [each.name for each in world.store.list("route")] == ["d"]
        await world.store.delete("deployment", "d")
        await world.pass_()
        assert [each.spec.stopping for each in world.instances()] == [True]
        assert world.store.list("route") == ()
        await world.let_go()
        assert world.instances() == []
        await world.pass_(700.0)
        assert world.store.list("model-file") == ()

    in_world(test)


def test_a_deleted_and_recreated_deployment_ends_with_its_own_count():
    async def test(world):
        await world.add_worker("w")
        await world.up("d", replicas=2)
        spec = world.store.get("deployment", "d").spec
        await world.store.delete("deployment", "d")
        await world.store.create(Draft("deployment", "d", spec))
        await world.pass_()
        await world.let_go()
        await world.run()
        assert len(world.instances()) == world.status("d").ready_replicas == 2

    in_world(test)


def test_routes_say_what_the_model_can_do():
    async def test(world):
        await world.add_worker("w")
        await world.up("d")
        status = world.store.get("route", "d").status
        assert [each.value for each in status.categories] == ["llm"]
        assert world.store.get("route", "d").spec.targets[0].deployment == "d"

    in_world(test)


def test_routes_say_how_long_a_request_may_be_where_it_is_placed():
    def length(world):
        return world.store.get("route", "d").status.context_length

    async def test(world):
        assert FACTS.context_length == 8192
        await world.add_worker("w")
        await world.deploy("d", "--ram=1GiB", "--ctx-size=6000", replicas=0)
        await world.look()
        assert length(world) == 0, "what is wished for is placed nowhere"
        await world.change("deployment", "d", replicas=1)
        await world.look()
        await world.run()
        assert length(world) == 6000
        await world.change("deployment", "d", backend_parameters=("--ram=1GiB", "--ctx-size=2000"))
        assert length(world) == 6000, "the old one answers, the new one not yet"
        await world.run()
        assert length(world) == 2000
        await world.change("deployment", "d", replicas=0)
        await world.let_go()
        assert length(world) == 0

    in_world(test)


def test_model_files_are_asked_of_the_workers_that_the_selector_names():
    async def test(world):
        await world.add_worker("a", labels={"zone": "1"})
        await world.add_worker("b", labels={"zone": "2"})
        await world.deploy("d", worker_selector={"zone": "2"})
        files = world.store.list("model-file")
        assert [file.spec.worker for file in files] == ["b"]
        assert len(files[0].name) == len("b-") + 12
        await world.add_worker("c", labels={"zone": "2"})
        assert {file.spec.worker for file in world.store.list("model-file")} == {"b", "c"}

    in_world(test)


def test_a_worker_that_is_away_is_not_asked_to_look_and_says_so_itself():
    async def test(world):
        for name in "ab":
            await world.add_worker(name)
        world.silent.add("b")
        await world.pass_(45.0)
        await world.deploy("d")
        assert [file.spec.worker for file in world.store.list("model-file")] == ["a"]
        (file,) = world.store.list("model-file")
        missing = Reason("path_missing", {"path": "/x", "worker": "a"})
        await world._observe(
            "model-file", file.name, FileObservation(FileState.MISSING, reason=missing)
        )
        await world.pass_()
        (instance,) = world.instances()
        assert instance.status.refusal.params["counts"] == {"path_missing": 1, "worker_lost": 1}
        refused = world.decisions.get(instance.name)["refused"]
        assert [(each["worker"], each["code"]) for each in refused] == [
            ("a", "path_missing"),
            ("b", "worker_lost"),
        ]
        since = refused[1]["params"]["since"]
        assert refused[1]["message"] == f"b has not reported since {since}."
        world.silent.discard("b")
        await world.pass_(12.0)
        assert {each.spec.worker for each in world.store.list("model-file")} == {"a", "b"}
        await world.look(only={"b"})
        await world.pass_()
        assert world.instances()[0].status.placement.worker == "b"

    in_world(test)


def test_the_only_worker_went_away_before_it_had_looked():
    async def test(world):
        await world.add_worker("a")
        await world.deploy("d")
        assert world.status("d").reason.code == "file_checking"
        world.silent.add("a")
        await world.pass_(45.0)
        assert world.status("d").reason.code == "worker_lost"

    in_world(test)


def test_a_missing_model_is_the_reason_why_nothing_runs():
    async def test(world):
        await world.add_worker("w")
        await world.deploy("d")
        assert world.status("d").reason.code == "file_checking"
        file = world.store.list("model-file")[0]
        missing = Reason("path_missing", {"path": "/x", "worker": "w"})
        seen = FileObservation(FileState.MISSING, reason=missing)
        await world._observe("model-file", file.name, seen)
        await world.pass_()
        assert world.status("d").reason == missing
        decision = world.decisions.get(world.instances()[0].name)
        assert decision["refused"][0]["code"] == "path_missing"

    in_world(test)
