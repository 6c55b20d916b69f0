"""What the store promises for objects, on every backing."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace

import pytest

from aimindserve.core.errors import (
    ExistsError,
    InvalidError,
    NotFoundError,
    StaleError,
    StoreUnavailableError,
)
from aimindserve.resources._kind import AnyResource
from aimindserve.resources.deployment import DeploymentSpec, DeploymentStatus
from aimindserve.resources.user import UserSpec
from aimindserve.store.base import Draft
from aimindserve.store.resources import ResourceStore
from contract.store.places import Place, draft, opened

MODEL = {"source": "local", "path": "/models/x.gguf"}


def on(rows: Place, test: Callable[[ResourceStore], Awaitable[None]]) -> None:
    async def run() -> None:
        async with opened(rows) as store:
            await test(store)

    asyncio.run(run())


def renamed(full_name: str) -> Callable[[AnyResource], AnyResource]:
    return lambda user: replace(user, spec=UserSpec(full_name=full_name))


def test_an_object_lives_and_dies(rows: Place) -> None:
    async def test(store: ResourceStore) -> None:
        made = await store.create(draft("ada", full_name="Ada"))
        assert (made.metadata.generation, made.metadata.revision) == (1, 1)
        assert len(made.metadata.id) == 12
        assert made.metadata.created_at > 1_700_000_000
        assert store.get("user", "ada") is store.find("user", "ada") == made

        changed = await store.replace(
            "user", "ada", revision=1, spec=UserSpec(full_name="Countess")
        )
        assert (changed.metadata.generation, changed.metadata.revision) == (2, 2)
        assert changed.metadata.id == made.metadata.id
        assert changed.metadata.created_at == made.metadata.created_at
        assert store.get("user", "ada").spec.full_name == "Countess"

        gone = await store.delete("user", "ada")
        assert (gone.spec.full_name, gone.metadata.revision) == ("Countess", 3)
        assert store.find("user", "ada") is None
        again = await store.create(draft("ada"))
        assert again.metadata.id != made.metadata.id
        assert again.metadata.generation == 1
        assert store.revision == 4

    on(rows, test)


def test_lists_are_by_name_and_by_kind(rows: Place) -> None:
    async def test(store: ResourceStore) -> None:
        for name in ("carl", "ada", "bob"):
            await store.create(draft(name))
        await store.create(Draft("deployment", "ada", DeploymentSpec(model=MODEL)))
        assert [user.name for user in store.list("user")] == ["ada", "bob", "carl"]
        await store.delete("user", "bob")
        assert [user.name for user in store.list("user")] == ["ada", "carl"]
        assert len(store.list("deployment")) == 1
        assert store.list("worker") == ()

    on(rows, test)


def test_status_and_labels_do_not_make_a_generation(rows: Place) -> None:
    async def test(store: ResourceStore) -> None:
        made = await store.create(Draft("deployment", "m", DeploymentSpec(model=MODEL)))
        status = DeploymentStatus(replicas=1)
        seen = await store.replace("deployment", "m", revision=1, status=status)
        tagged = await store.replace("deployment", "m", revision=2, labels={"team": "b", "a": "c"})
        assert tagged.metadata.generation == 1
        assert tagged.metadata.labels == {"team": "b", "a": "c"}
        assert tagged.status == seen.status == status
        assert tagged.spec == made.spec
        assert tagged.metadata.revision == 3

    on(rows, test)


def test_what_does_not_change_anything_is_not_written(rows: Place) -> None:
    async def test(store: ResourceStore) -> None:
        made = await store.create(Draft("user", "ada", UserSpec(full_name="x"), labels={"a": "b"}))
        same = await store.replace(
            "user", "ada", revision=1, spec=UserSpec(full_name="x"), labels={"a": "b"}
        )
        assert same is store.get("user", "ada")
        assert await store.update("user", "ada", lambda user: None) == made
        assert await store.update("user", "ada", renamed("x")) == made
        assert store.revision == 1

    on(rows, test)


def test_refusals_say_what_is_wrong(rows: Place) -> None:
    async def test(store: ResourceStore) -> None:
        await store.create(draft("ada"))
        with pytest.raises(ExistsError, match="already a user called ada"):
            await store.create(draft("ada"))
        with pytest.raises(NotFoundError, match="no user called bob"):
            store.get("user", "bob")
        with pytest.raises(NotFoundError):
            await store.delete("user", "bob")
        with pytest.raises(NotFoundError):
            await store.update("user", "bob", renamed("x"))
        await store.update("user", "ada", renamed("x"))
        for write in (
            store.replace("user", "ada", revision=1, spec=UserSpec(full_name="late")),
            store.replace("user", "ada", revision=9, spec=UserSpec(full_name="early")),
            store.delete("user", "ada", revision=1),
        ):
            with pytest.raises(StaleError):
                await write
        for name in ("Ada", "", "a" * 64, "ada\n", "../etc", "ä"):
            with pytest.raises(InvalidError, match="name"):
                await store.create(draft(name))
        with pytest.raises(InvalidError, match="no kind"):
            await store.create(Draft("pony", "ada", UserSpec()))
        with pytest.raises(InvalidError, match="no kind"):
            store.watch(["pony"])
        assert store.revision == 2

    on(rows, test)


def test_twenty_tasks_lose_no_update(rows: Place) -> None:
    async def test(store: ResourceStore) -> None:
        await store.create(draft("ada", full_name=""))

        def add(letter: str) -> Callable[[AnyResource], AnyResource]:
            return lambda user: replace(user, spec=UserSpec(full_name=user.spec.full_name + letter))

        await asyncio.gather(*(store.update("user", "ada", add("x")) for _ in range(20)))
        assert store.get("user", "ada").spec.full_name == "x" * 20
        assert store.revision == 21

    on(rows, test)


def test_of_twenty_replaces_at_one_revision_one_wins(rows: Place) -> None:
    async def test(store: ResourceStore) -> None:
        await store.create(draft("ada"))
        done = await asyncio.gather(
            *(
                store.replace("user", "ada", revision=1, spec=UserSpec(full_name=f"n{turn}"))
                for turn in range(20)
            ),
            return_exceptions=True,
        )
        winners = [result for result in done if not isinstance(result, BaseException)]
        assert [type(result) for result in done].count(StaleError) == 19
        assert winners == [store.get("user", "ada")]

    on(rows, test)


def test_everything_is_there_after_reopening(rows: Place) -> None:
    async def run() -> None:
        async with opened(rows) as store:
            await store.create(Draft("user", "ada", UserSpec(full_name="艾达"), labels={"a": "b"}))
            await store.create(
                Draft("deployment", "m", DeploymentSpec(model=MODEL, env={"A": "1"}))
            )
            await store.update("user", "ada", renamed("Ada"))
            await store.create(draft("bob"))
            await store.delete("user", "bob")
            before = (store.revision, store.list("user"), store.list("deployment"))
        with pytest.raises(StoreUnavailableError):
            await store.create(draft("late"))
        async with opened(rows) as store:
            assert (store.revision, store.list("user"), store.list("deployment")) == before
            made = await store.create(draft("carl"))
            assert made.metadata.revision == before[0] + 1

    asyncio.run(run())


def test_a_write_whose_caller_is_gone_is_finished_and_seen(rows: Place) -> None:
    async def test(store: ResourceStore) -> None:
        for turn in range(30):
            task = asyncio.ensure_future(store.create(draft(f"u{turn}")))
            await asyncio.sleep(0.0005 * (turn % 6))
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
        last = await store.create(draft("last"))
        assert store.revision == last.metadata.revision == len(store.list("user"))

    on(rows, test)
