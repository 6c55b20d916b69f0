"""Memory follows the backing, whatever the backing does in between."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from typing import Any

import pytest

from aimindserve.core.errors import (
    ConflictError,
    InvalidError,
    SettingsError,
    StaleError,
    StoreUnavailableError,
    TooLargeError,
    UnavailableError,
)
from aimindserve.resources._kind import AnyResource
from aimindserve.resources.user import UserSpec
from aimindserve.store import _replica
from aimindserve.store.base import (
    Bookmark,
    Change,
    ChangeRow,
    ChangeType,
    Draft,
    Resync,
    Row,
    Write,
)
from aimindserve.store.memory import MemoryBacking
from aimindserve.store.resources import UPDATE_TRIES, ResourceStore
from unit.store.clocks import ManualClock, settle

ROW = Row("user", "bob", "0123456789ab", "{}", "{}", "{}", 1, 0, 5.0)


class Flaky(MemoryBacking):
    """A backing whose next commits end as told: None for well."""

    def __init__(self, *, shared: bool = False) -> None:
        super().__init__(shared=shared)
        self.before: list[Exception | None] = []
        self.after: list[Exception | None] = []
        self.reading: Exception | None = None
        self.gate: asyncio.Event | None = None
        self.kept: int | None = None
        self.commits = 0

    async def commit(self, write: Write) -> int:
        self.commits += 1
        if self.gate is not None:
            await self.gate.wait()
        if self.before and (error := self.before.pop(0)):
            raise error
        revision = await super().commit(write)
        if self.after and (error := self.after.pop(0)):
            raise error
        return revision

    async def changes_since(self, revision: int, limit: int) -> Sequence[ChangeRow] | None:
        if self.reading:
            raise self.reading
        return await super().changes_since(revision, limit)

    async def trim(self, keep: int) -> None:
        self.kept = keep
        await super().trim(keep)


def on(backing: Flaky, test: Callable[[ResourceStore, ManualClock], Awaitable[None]]) -> None:
    async def run() -> None:
        clock = ManualClock()
        store = ResourceStore(backing, clock)
        await store.open()
        await test(store, clock)
        await store.close()

    asyncio.run(run())


def draft(name: str) -> Draft:
    return Draft("user", name, UserSpec())


def away() -> StoreUnavailableError:
    return StoreUnavailableError("away")


def renamed(full_name: str) -> Callable[[AnyResource], AnyResource]:
    return lambda user: replace(user, spec=UserSpec(full_name=full_name))


def test_a_commit_that_was_lost_on_the_way_back_is_found_at_the_next_write() -> None:
    backing = Flaky()

    async def test(store: ResourceStore, _clock: ManualClock) -> None:
        watch = store.watch(["user"])
        backing.after = [away()]
        with pytest.raises(StoreUnavailableError):
            await store.create(draft("ada"))
        assert store.find("user", "ada") is None
        await store.create(draft("bob"))
        assert [user.name for user in store.list("user")] == ["ada", "bob"]
        assert [(await anext(watch)).revision for _ in range(2)] == [1, 2]

    on(backing, test)


def test_a_commit_that_was_lost_on_the_way_back_is_found_without_another_write() -> None:
    backing = Flaky()

    async def test(store: ResourceStore, clock: ManualClock) -> None:
        backing.after = [away()]
        with pytest.raises(StoreUnavailableError):
            await store.create(draft("ada"))
        backing.reading = away()
        await clock.advance(5)
        assert store.find("user", "ada") is None
        backing.reading = None
        await clock.advance(1)
        assert store.find("user", "ada") is not None

    on(backing, test)


def test_a_commit_that_never_happened_leaves_nothing() -> None:
    backing = Flaky()

    async def test(store: ResourceStore, clock: ManualClock) -> None:
        backing.before = [away()]
        with pytest.raises(StoreUnavailableError):
            await store.create(draft("ada"))
        await clock.advance(2)
        assert (await store.create(draft("ada"))).metadata.revision == 1

    on(backing, test)


def test_changes_of_others_come_with_the_next_look() -> None:
    backing = Flaky(shared=True)

    async def test(store: ResourceStore, clock: ManualClock) -> None:
        watch = store.watch(["user"])
        await backing.commit(Write(ChangeType.ADDED, ROW, None))
        await backing.commit(Write(ChangeType.DELETED, ROW, 1))
        assert store.revision == 0
        await clock.advance(1)
        events = [await anext(watch), await anext(watch)]
        assert [(e.revision, e.type) for e in events] == [
            (1, ChangeType.ADDED),
            (2, ChangeType.DELETED),
        ]

    on(backing, test)


def test_a_write_between_others_writes_is_told_once_and_in_order() -> None:
    backing = Flaky(shared=True)

    async def test(store: ResourceStore, _clock: ManualClock) -> None:
        watch = store.watch(["user"])
        await backing.commit(Write(ChangeType.ADDED, ROW, None))
        made = await store.create(draft("ada"))
        assert made.metadata.revision == store.revision == 2
        assert [(await anext(watch)).resource.name for _ in range(2)] == ["bob", "ada"]
        await store.create(draft("carl"))
        assert (await anext(watch)).revision == 3

    on(backing, test)


def test_a_committed_write_is_a_success_even_when_reading_fails_after_it() -> None:
    backing = Flaky(shared=True)

    async def test(store: ResourceStore, clock: ManualClock) -> None:
        await backing.commit(Write(ChangeType.ADDED, ROW, None))
        backing.reading = away()
        assert (await store.create(draft("ada"))).metadata.revision == 2
        backing.reading = None
        await clock.advance(1)
        assert [user.name for user in store.list("user")] == ["ada", "bob"]

    on(backing, test)


def test_an_update_tries_again_when_another_process_was_faster() -> None:
    backing = Flaky(shared=True)

    async def test(store: ResourceStore, _clock: ManualClock) -> None:
        await store.create(draft("ada"))
        backing.before = [StaleError("a"), StaleError("b")]
        backing.commits = 0
        assert (await store.update("user", "ada", renamed("x"))).metadata.revision == 2
        assert backing.commits == 3
        backing.before = [StaleError("always")] * 1_000
        backing.commits = 0
        with pytest.raises(ConflictError) as given_up:
            await store.update("user", "ada", renamed("y"))
        assert type(given_up.value) is ConflictError
        assert backing.commits == UPDATE_TRIES

    on(backing, test)


def test_a_change_that_fails_writes_nothing_and_harms_nobody() -> None:
    backing = Flaky()

    async def test(store: ResourceStore, _clock: ManualClock) -> None:
        await store.create(draft("ada"))

        def fails(_user: AnyResource) -> AnyResource:
            raise ZeroDivisionError

        with pytest.raises(ZeroDivisionError):
            await store.update("user", "ada", fails)
        assert (await store.update("user", "ada", renamed("x"))).metadata.revision == 2

    on(backing, test)


def test_a_caller_who_gives_up_does_not_stop_its_write() -> None:
    backing = Flaky()

    async def test(store: ResourceStore, _clock: ManualClock) -> None:
        backing.gate = asyncio.Event()
        first = asyncio.ensure_future(store.create(draft("ada")))
        second = asyncio.ensure_future(store.create(draft("bob")))
        await settle()
        first.cancel()
        second.cancel()
        await settle()
        assert first.cancelled()
        assert store.list("user") == ()
        backing.gate.set()
        await settle()
        assert [user.name for user in store.list("user")] == ["ada", "bob"]

    on(backing, test)


def test_closing_waits_for_the_write_in_progress() -> None:
    backing = Flaky()

    async def run() -> None:
        store = ResourceStore(backing, ManualClock())
        await store.open()
        backing.gate = asyncio.Event()
        write = asyncio.ensure_future(store.create(draft("ada")))
        await settle()
        closing = asyncio.ensure_future(store.close())
        await settle()
        assert not closing.done()
        backing.gate.set()
        assert (await write).metadata.revision == 1
        await closing
        with pytest.raises(StoreUnavailableError):
            await store.create(draft("bob"))

    asyncio.run(run())


def test_too_many_waiting_writes_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    backing = Flaky()
    monkeypatch.setattr(_replica, "WRITES_WAITING_MAX", 3)

    async def test(store: ResourceStore, _clock: ManualClock) -> None:
        backing.gate = asyncio.Event()
        writes = [asyncio.ensure_future(store.create(draft(f"u{n}"))) for n in range(5)]
        await settle()
        backing.gate.set()
        done = await asyncio.gather(*writes, return_exceptions=True)
        assert [type(result) for result in done[3:]] == [UnavailableError] * 2
        assert len(store.list("user")) == 3
        await store.create(draft("later"))

    on(backing, test)


def test_a_forgotten_past_or_another_one_makes_everybody_list_again() -> None:
    backing = Flaky(shared=True)

    async def test(store: ResourceStore, clock: ManualClock) -> None:
        await store.create(draft("ada"))
        watch = store.watch(["user"])
        await backing.commit(Write(ChangeType.ADDED, ROW, None))
        await backing.trim(0)
        await clock.advance(1)
        assert [user.name for user in store.list("user")] == ["ada", "bob"]
        assert await anext(watch) == Resync(2)
        # An older backup was restored: revisions go back.
        watch = store.watch(["user"])
        backing._revision, backing._rows = 0, {}
        backing._changes.clear()
        await clock.advance(1)
        assert (store.revision, store.list("user")) == (0, ())
        assert await anext(watch) == Resync(0)

    on(backing, test)


def test_bookmarks_every_ten_seconds_and_trims_every_thousand_writes() -> None:
    backing = Flaky()

    async def test(store: ResourceStore, clock: ManualClock) -> None:
        watch = store.watch(["deployment"])
        for turn in range(_replica.TRIM_EVERY):
            await store.create(draft(f"u{turn}"))
        step = asyncio.ensure_future(anext(watch))
        await clock.advance(9)
        assert not step.done()
        assert backing.kept == _replica.CHANGES_KEPT
        await clock.advance(1)
        assert await step == Bookmark(_replica.TRIM_EVERY)

    on(backing, test)


def test_what_could_not_be_read_back_is_not_written() -> None:
    backing = Flaky()

    async def test(store: ResourceStore, _clock: ManualClock) -> None:
        broken = UserSpec.model_construct(full_name="x" * 500)
        with pytest.raises(InvalidError) as refused:
            await store.create(Draft("user", "ada", broken))
        assert refused.value.params["fields"] == ["full_name"]
        with pytest.raises(TooLargeError):
            await store.create(Draft("user", "ada", UserSpec(password_hash="x" * 9_000_000)))
        assert backing.commits == 0

    on(backing, test)


def test_an_object_that_cannot_be_understood_stops_the_start() -> None:
    backing = Flaky()
    row = replace(ROW, spec='{"field_of_the_future": 1}')

    async def run() -> None:
        await backing.commit(Write(ChangeType.ADDED, row, None))
        with pytest.raises(SettingsError, match="user bob"):
            await ResourceStore(backing, ManualClock()).open()

    asyncio.run(run())


def test_an_unreadable_change_of_a_newer_program_keeps_what_is_known() -> None:
    backing = Flaky(shared=True)

    async def test(store: ResourceStore, clock: ManualClock) -> None:
        made = await store.create(draft("bob"))
        watch = store.watch(["user"])
        future: Any = replace(ROW, spec='{"field_of_the_future": 1}')
        await backing.commit(Write(ChangeType.MODIFIED, future, 1))
        await backing.commit(Write(ChangeType.ADDED, replace(ROW, kind="pony"), None))
        await clock.advance(1)
        assert store.get("user", "bob") == made
        assert store.revision == 3
        await store.create(draft("ada"))
        event = await anext(watch)
        assert isinstance(event, Change)
        assert event.revision == 4

    on(backing, test)
