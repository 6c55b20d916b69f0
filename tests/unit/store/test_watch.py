"""The hub: who is told what, from where on, and who is told to list again."""

import asyncio
import gc
from collections.abc import Sequence

from aimindserve.resources._kind import Metadata, Resource
from aimindserve.resources.user import UserSpec, UserStatus
from aimindserve.store._watch import Hub, Watch
from aimindserve.store.base import Bookmark, Change, ChangeType, Resync, WatchEvent


def change(revision: int, kind: str = "user", size_bytes: int = 0) -> Change:
    meta = Metadata(name="ada", id="i", revision=revision)
    resource = Resource(kind, meta, UserSpec(), UserStatus())
    return Change(revision, ChangeType.MODIFIED, resource, size_bytes)


async def nothing_older(_since: int) -> tuple[int, Sequence[Change]] | None:
    return None


def drain(watch: Watch) -> list[WatchEvent]:
    return asyncio.run(drained(watch))


async def drained(watch: Watch) -> list[WatchEvent]:
    """What can be had without waiting."""
    found: list[WatchEvent] = []
    while True:
        try:
            found.append(await asyncio.wait_for(anext(watch), 0.001))
        except (asyncio.TimeoutError, StopAsyncIteration):  # noqa: PERF203 - the end
            return found


def revisions(events: list[WatchEvent]) -> list[int]:
    assert all(isinstance(event, Change) for event in events), events
    return [event.revision for event in events]


def hub_at(revision: int, **limits: int) -> Hub:
    hub = Hub(nothing_older, **limits)
    hub.restart(revision)
    return hub


def test_the_ring_serves_what_it_holds_and_no_more() -> None:
    hub = hub_at(10, ring=3)
    for revision in range(11, 16):
        hub.publish(change(revision))
    assert revisions(drain(hub.watch(["user"], 12))) == [13, 14, 15]
    assert drain(hub.watch(["user"], 11)) == [Resync(15)]
    assert drain(hub.watch(["user"], 15)) == []
    assert drain(hub.watch(["user"], None)) == []


def test_kinds_nobody_asked_for_do_not_fill_a_buffer() -> None:
    hub = hub_at(0, buffer_max=2)
    watch = hub.watch(["user"], None)
    for revision in range(1, 100):
        hub.publish(change(revision, kind="worker"))
    hub.publish(change(100))
    assert revisions(drain(watch)) == [100]


def test_a_full_buffer_ends_in_a_resync_after_which_nothing_comes() -> None:
    hub = hub_at(0, buffer_max=2)
    watch = hub.watch(["user"], None)
    for revision in range(1, 4):
        hub.publish(change(revision))
    assert drain(watch) == [Resync(3)]
    hub.publish(change(4))
    assert drain(watch) == []


def test_older_changes_are_read_page_by_page_and_joined_to_new_ones() -> None:
    asked: list[int] = []
    hub: Hub

    async def older(since: int) -> tuple[int, Sequence[Change]] | None:
        asked.append(since)
        if since == 2:  # while the second page is read, something new happens
            hub.publish(change(6))
        upto = min(since + 2, hub.revision)
        return upto, [change(at) for at in range(since + 1, upto + 1)]

    hub = Hub(older)
    hub.restart(5)
    watch = hub.watch(["user"], 0)
    hub.publish(change(7))
    assert revisions(drain(watch)) == [1, 2, 3, 4, 5, 6, 7]
    assert asked == [0, 2, 4]


def test_a_watcher_that_falls_behind_while_it_reads_older_changes_resyncs() -> None:
    hub: Hub

    async def older(since: int) -> tuple[int, Sequence[Change]] | None:
        for revision in range(6, 10):
            hub.publish(change(revision))
        return 5, [change(5)]

    hub = Hub(older, buffer_max=3)
    hub.restart(5)
    assert drain(hub.watch(["user"], 4))[-1] == Resync(9)


def test_a_bookmark_never_overtakes_a_change() -> None:
    async def run() -> None:
        hub = hub_at(0)
        watch = hub.watch(["user"], None)
        hub.bookmark()
        hub.publish(change(1))
        assert await drained(watch) == [change(1), Bookmark(1)]
        hub.publish(change(2, kind="worker"))
        hub.bookmark()
        assert await drained(watch) == [Bookmark(2)]

    asyncio.run(run())


def test_a_watcher_that_was_dropped_is_fed_no_longer() -> None:
    hub = hub_at(0)
    kept, dropped = hub.watch(["user"], None), hub.watch(["user"], None)
    del dropped
    gc.collect()
    assert len(hub._watchers) == 1
    asyncio.run(kept.aclose())
    assert len(hub._watchers) == 0
    hub.publish(change(1))
    assert drain(kept) == []


def test_a_few_large_changes_fill_the_buffer_too() -> None:
    async def run() -> None:
        hub = Hub(nothing_older, buffer_bytes_max=100)
        slow, quick = hub.watch(["user"], None), hub.watch(["user"], None)
        for revision in (1, 2):
            hub.publish(change(revision, size_bytes=50))
        assert revisions(await drained(quick)) == [1, 2]
        hub.publish(change(3, size_bytes=1))
        assert await drained(slow) == [Resync(3)]
        assert revisions(await drained(quick)) == [3], "what was read is not counted any more"
        hub.publish(change(4, size_bytes=500))
        assert revisions(await drained(quick)) == [4], "one too large for the buffer passes alone"

    asyncio.run(run())
