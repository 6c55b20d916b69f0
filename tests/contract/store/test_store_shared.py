"""Several stores on one database: each writes, each sees everything, once and in order."""

import asyncio
from collections.abc import Callable
from dataclasses import replace

import pytest

from aimindserve.core.errors import ExistsError, NotFoundError, StaleError
from aimindserve.resources._kind import AnyResource
from aimindserve.resources.user import UserSpec
from aimindserve.store.base import Bookmark, Change, Resync
from aimindserve.store.resources import ResourceStore
from contract.store.places import Place, draft, opened


def appended(letter: str) -> Callable[[AnyResource], AnyResource]:
    return lambda user: replace(user, spec=UserSpec(full_name=user.spec.full_name + letter))


async def until(happened: Callable[[], bool]) -> None:
    async def wait() -> None:
        while not happened():
            await asyncio.sleep(0.01)

    await asyncio.wait_for(wait(), 20)


async def follow(store: ResourceStore, upto: int) -> list[int]:
    """The revisions a watcher is told, and that memory is never behind what it is told."""
    revisions: list[int] = []
    watch = store.watch(["user"], since=0)
    while not revisions or revisions[-1] < upto:
        event = await asyncio.wait_for(anext(watch), 20)
        assert isinstance(event, Change | Bookmark)
        if isinstance(event, Change):
            assert store.revision >= event.revision
            revisions.append(event.revision)
    return revisions


def test_each_store_follows_the_other(shared: Place) -> None:
    async def run() -> None:
        async with opened(shared) as here, opened(shared) as there:
            made = await here.create(draft("ada", full_name="Ada"))
            await until(lambda: there.find("user", "ada") is not None)
            assert there.get("user", "ada") == made
            await there.delete("user", "ada")
            await until(lambda: here.find("user", "ada") is None)
            assert here.revision == there.revision == 2

    asyncio.run(run())


def test_a_write_sees_what_the_other_has_just_done(shared: Place) -> None:
    async def run() -> None:
        async with opened(shared) as here, opened(shared) as there:
            await here.create(draft("ada"))
            with pytest.raises(ExistsError):
                await there.create(draft("ada"))
            await here.create(draft("bob"))
            await there.delete("user", "bob")
            newest = await here.update("user", "ada", appended("x"))
            revision = newest.metadata.revision
            changed = await there.replace(
                "user", "ada", revision=revision, spec=UserSpec(full_name="y")
            )
            with pytest.raises(StaleError):
                await here.delete("user", "ada", revision=revision)
            assert here.get("user", "ada") == changed, "after a refusal the newest is known"
            with pytest.raises(NotFoundError):
                await here.update("user", "bob", appended("x"))

    asyncio.run(run())


def test_two_stores_lose_no_update_and_watchers_see_each_change_once(shared: Place) -> None:
    async def run() -> None:
        async with opened(shared) as here, opened(shared) as there:
            await here.create(draft("ada"))
            stores = [here, there]
            last = 1 + 40 + 20
            readers = [asyncio.ensure_future(follow(store, last)) for store in stores]
            await asyncio.gather(
                *(stores[n % 2].update("user", "ada", appended("x")) for n in range(40)),
                *(stores[n % 2].create(draft(f"u{n}")) for n in range(20)),
            )
            for revisions in await asyncio.gather(*readers):
                assert revisions == list(range(1, last + 1))
            await until(lambda: here.revision == there.revision == last)
            assert here.list("user") == there.list("user")
            assert here.get("user", "ada").spec.full_name == "x" * 40

    asyncio.run(run())


def test_a_name_is_won_by_one_store(shared: Place) -> None:
    async def run() -> None:
        async with opened(shared) as here, opened(shared) as there:
            done = await asyncio.gather(
                *((here, there)[n % 2].create(draft("ada")) for n in range(20)),
                return_exceptions=True,
            )
            assert [type(result) for result in done].count(ExistsError) == 19
            assert here.revision == 1

    asyncio.run(run())


def test_a_store_that_missed_too_much_reads_all_again(shared: Place) -> None:
    async def run() -> None:
        async with opened(shared) as here:
            await here.create(draft("ada"))
            watch = here.watch(["user"])
            other = shared.backing()
            await other.open()
            revision = await _forget_history(other)
            await until(lambda: here.revision == revision)
            assert [user.name for user in here.list("user")] == ["bob"]
            event = await asyncio.wait_for(anext(watch), 5)
            while isinstance(event, Bookmark):
                event = await asyncio.wait_for(anext(watch), 5)
            assert event == Resync(revision)
            await other.close()

    async def _forget_history(other: object) -> int:
        from aimindserve.store.base import ChangeType, Write

        _, [ada] = await other.load()
        await other.commit(Write(ChangeType.ADDED, replace(ada, name="bob"), None))
        revision = await other.commit(Write(ChangeType.DELETED, ada, 1))
        await other.trim(0)
        return revision

    asyncio.run(run())
