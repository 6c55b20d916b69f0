"""Watches: ordered, unique, reliable, resumable, bookmarked; and a slow one harms nobody."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace

from aimindserve.resources._kind import AnyResource
from aimindserve.resources.deployment import DeploymentSpec
from aimindserve.resources.user import UserSpec
from aimindserve.store import _watch
from aimindserve.store.base import Bookmark, Change, Draft, Resync, WatchEvent
from aimindserve.store.memory import MemoryBacking
from aimindserve.store.resources import ResourceStore
from contract.store.places import FastClock, Place, draft, opened

MODEL = {"source": "local", "path": "/models/x.gguf"}


def on(rows: Place, test: Callable[[ResourceStore], Awaitable[None]]) -> None:
    async def run() -> None:
        async with opened(rows) as store:
            await test(store)

    asyncio.run(run())


def renamed(full_name: str) -> Callable[[AnyResource], AnyResource]:
    return lambda user: replace(user, spec=UserSpec(full_name=full_name))


async def take(watch: AsyncIterator[WatchEvent], count: int) -> list[WatchEvent]:
    """The next events but for bookmarks."""
    found: list[WatchEvent] = []
    while len(found) < count:
        event = await asyncio.wait_for(anext(watch), 20)
        if not isinstance(event, Bookmark):
            found.append(event)
    return found


def told(events: list[WatchEvent]) -> list[tuple[int, str, str]]:
    assert all(isinstance(event, Change) for event in events), events
    return [(event.revision, event.type.value, event.resource.name) for event in events]


def test_a_watch_tells_every_change_in_order(rows: Place) -> None:
    async def test(store: ResourceStore) -> None:
        await store.create(draft("before"))
        watch = store.watch(["user"])
        await store.create(draft("ada"))
        await store.create(Draft("deployment", "m", DeploymentSpec(model=MODEL)))
        await store.update("user", "ada", renamed("Ada"))
        await store.delete("user", "ada")
        events = await take(watch, 3)
        assert told(events) == [(2, "ADDED", "ada"), (4, "MODIFIED", "ada"), (5, "DELETED", "ada")]
        assert events[1].resource.spec.full_name == "Ada"
        assert events[2].resource.spec.full_name == "Ada", "as it last was"
        assert events[2].resource.metadata.revision == 5

    on(rows, test)


def test_a_watch_resumes_from_any_revision(rows: Place) -> None:
    async def run() -> None:
        async with opened(rows) as store:
            for turn in range(10):
                await store.create(draft(f"u{turn}"))
            for since in (0, 4, 10):
                watch = store.watch(["user"], since=since)
                marker = await store.update("user", "u0", renamed(str(since)))
                revisions = [
                    e.revision for e in await take(watch, marker.metadata.revision - since)
                ]
                assert revisions == list(range(since + 1, marker.metadata.revision + 1))
        async with opened(rows) as store:  # its memory knows nothing of what was before
            events = await take(store.watch(["user"], since=7), 6)
            assert told(events)[:3] == [(8, "ADDED", "u7"), (9, "ADDED", "u8"), (10, "ADDED", "u9")]
            assert [e.revision for e in events] == [8, 9, 10, 11, 12, 13]

    asyncio.run(run())


def test_nothing_is_lost_between_list_and_watch(rows: Place) -> None:
    async def test(store: ResourceStore) -> None:
        await store.create(draft("ada"))
        listed, since = store.list("user"), store.revision
        await store.create(draft("brief"))
        await store.delete("user", "brief")
        watch = store.watch(["user"], since=since)
        await store.delete("user", "ada")
        assert [user.name for user in listed] == ["ada"]
        assert told(await take(watch, 3)) == [
            (2, "ADDED", "brief"),
            (3, "DELETED", "brief"),
            (4, "DELETED", "ada"),
        ]

    on(rows, test)


def test_many_watchers_of_concurrent_writers_agree(rows: Place) -> None:
    async def test(store: ResourceStore) -> None:
        watches = [store.watch(["user"]) for _ in range(10)]
        readers = [asyncio.ensure_future(take(watch, 100)) for watch in watches]

        async def write(writer: int) -> None:
            for turn in range(5):
                await store.create(draft(f"w{writer}-{turn}"))

        await asyncio.gather(*map(write, range(20)))
        for events in await asyncio.gather(*readers):
            assert [event.revision for event in events] == list(range(1, 101))

    on(rows, test)


def test_a_watch_from_too_long_ago_must_list_again(rows: Place) -> None:
    async def run() -> None:
        async with opened(rows) as store:
            for turn in range(6):
                await store.create(draft(f"u{turn}"))
        backing = rows.backing()
        await backing.open()
        await backing.trim(3)
        await backing.close()
        async with opened(rows) as store:
            watch = store.watch(["user"], since=2)
            assert await take(watch, 1) == [Resync(6)]
            assert [event async for event in watch] == [], "a Resync is the last event"
            assert len(await take(store.watch(["user"], since=3), 3)) == 3
            assert await take(store.watch(["user"], since=99), 1) == [Resync(6)], "the future"

    asyncio.run(run())


def test_a_slow_watcher_is_told_to_list_again_and_holds_up_nobody() -> None:
    async def run() -> None:
        store = ResourceStore(MemoryBacking(), FastClock())
        await store.open()
        slow, quick = store.watch(["user"]), store.watch(["user"])
        other = store.watch(["deployment"])
        reader = asyncio.ensure_future(take(quick, _watch.BUFFER_MAX + 1))
        for turn in range(_watch.BUFFER_MAX):
            await store.create(draft(f"u{turn}"))
        assert len(await take(store.watch(["user"], since=0), 1)) == 1
        await store.create(draft("one-too-many"))
        assert await take(slow, 1) == [Resync(_watch.BUFFER_MAX + 1)]
        assert [event async for event in slow] == []
        assert len(await asyncio.wait_for(reader, 10)) == _watch.BUFFER_MAX + 1
        await store.create(Draft("deployment", "m", DeploymentSpec(model=MODEL)))
        assert told(await take(other, 1)) == [(_watch.BUFFER_MAX + 2, "ADDED", "m")]
        await store.close()

    asyncio.run(run())


def test_bookmarks_come_when_nothing_happens(rows: Place) -> None:
    async def test(store: ResourceStore) -> None:
        watch = store.watch(["user"])
        await store.create(Draft("deployment", "m", DeploymentSpec(model=MODEL)))
        assert await asyncio.wait_for(anext(watch), 5) == Bookmark(1)

    on(rows, test)


def test_closing_the_store_ends_its_watches(rows: Place) -> None:
    async def run() -> None:
        async with opened(rows) as store:
            watch = store.watch(["user"])
            reader = asyncio.ensure_future(anext(watch, None))
            await asyncio.sleep(0)
        assert await asyncio.wait_for(reader, 5) is None

    asyncio.run(run())
