"""What every backing promises, below the store: rows, changes, revisions."""

import asyncio
import gc
from collections.abc import Awaitable, Callable
from dataclasses import replace
from itertools import chain

import pytest

from aimindserve.core.errors import (
    ConflictError,
    ExistsError,
    NotFoundError,
    StaleError,
    StoreUnavailableError,
)
from aimindserve.store.base import Backing, ChangeType, Row, Write
from contract.store.places import Place

ROW = Row(
    kind="user",
    name="ada",
    id="0123456789ab",
    spec='{"full_name": "Ada \\u0000 艾达 🚀"}',
    status="{}",
    labels='{"a": "b"}',
    generation=1,
    revision=0,
    created_at=1795225438.676,
)
ADD = Write(ChangeType.ADDED, ROW, None)


def on(rows: Place, test: Callable[[Backing], Awaitable[None]]) -> None:
    async def run() -> None:
        backing = rows.backing()
        await backing.open()
        try:
            await test(backing)
        finally:
            await backing.close()

    asyncio.run(run())


def modify(revision: int, **parts: object) -> Write:
    return Write(ChangeType.MODIFIED, replace(ROW, **parts), revision)


def test_a_row_comes_back_as_it_was_written(rows: Place) -> None:
    async def test(backing: Backing) -> None:
        assert await backing.load() == (0, [])
        assert await backing.commit(ADD) == 1
        assert await backing.load() == (1, [replace(ROW, revision=1)])

    on(rows, test)


def test_changes_carry_the_row_at_their_revision(rows: Place) -> None:
    async def test(backing: Backing) -> None:
        await backing.commit(ADD)
        await backing.commit(modify(1, spec='{"role": "admin"}', generation=2))
        await backing.commit(Write(ChangeType.DELETED, ROW, 2))
        assert await backing.load() == (3, [])
        changes = await backing.changes_since(0, 10) or []
        assert [(c.revision, c.type, c.row.revision) for c in changes] == [
            (1, "ADDED", 1),
            (2, "MODIFIED", 2),
            (3, "DELETED", 3),
        ]
        assert changes[1].row == replace(ROW, spec='{"role": "admin"}', generation=2, revision=2)
        assert await backing.changes_since(1, 1) == changes[1:2]
        assert await backing.changes_since(3, 10) == []
        assert await backing.changes_since(4, 10) is None, "a revision that has never been"

    on(rows, test)


def test_a_write_that_does_not_fit_changes_nothing(rows: Place) -> None:
    async def test(backing: Backing) -> None:
        await backing.commit(ADD)
        with pytest.raises(ExistsError):
            await backing.commit(ADD)
        with pytest.raises(StaleError) as stale:
            await backing.commit(modify(7))
        assert stale.value.params["revision"] == 1
        with pytest.raises(StaleError):
            await backing.commit(Write(ChangeType.DELETED, ROW, 7))
        with pytest.raises(NotFoundError):
            await backing.commit(Write(ChangeType.DELETED, replace(ROW, name="bob"), 1))
        with pytest.raises(NotFoundError):
            await backing.commit(Write(ChangeType.MODIFIED, replace(ROW, kind="worker"), 1))
        assert await backing.load() == (1, [replace(ROW, revision=1)])
        assert await backing.commit(modify(1)) == 2, "a refused write uses up no revision"

    on(rows, test)


def test_names_that_differ_in_case_or_accents_are_different(rows: Place) -> None:
    async def test(backing: Backing) -> None:
        for name in ("ada", "Ada", "àda"):
            await backing.commit(Write(ChangeType.ADDED, replace(ROW, name=name), None))
        _, found = await backing.load()
        assert {row.name for row in found} == {"ada", "Ada", "àda"}

    on(rows, test)


def test_a_large_object_is_kept_whole(rows: Place) -> None:
    text = '"' + "é" * 4_000_000 + '"'  # 8 MB in UTF-8

    async def test(backing: Backing) -> None:
        await backing.commit(Write(ChangeType.ADDED, replace(ROW, spec=text), None))
        _, [row] = await backing.load()
        assert row.spec == text
        [change] = await backing.changes_since(0, 1) or []
        assert change.row.spec == text

    on(rows, test)


def test_old_changes_can_be_forgotten(rows: Place) -> None:
    async def test(backing: Backing) -> None:
        await backing.commit(ADD)
        for revision in range(1, 10):
            await backing.commit(modify(revision))
        await backing.trim(4)
        assert await backing.changes_since(5, 10) is None
        assert [c.revision for c in await backing.changes_since(6, 10) or []] == [7, 8, 9, 10]
        await backing.trim(0)
        assert await backing.changes_since(9, 10) is None
        assert await backing.changes_since(10, 10) == []
        assert (await backing.load())[0] == 10

    on(rows, test)


def test_of_twenty_writers_exactly_one_wins(rows: Place) -> None:
    async def test(backing: Backing) -> None:
        made = await asyncio.gather(
            *(backing.commit(ADD) for _ in range(20)), return_exceptions=True
        )
        assert sorted(map(type, made), key=str) == [*[ExistsError] * 19, int]
        written = await asyncio.gather(
            *(backing.commit(modify(1, generation=n)) for n in range(20)), return_exceptions=True
        )
        assert sum(isinstance(result, int) for result in written) == 1
        assert sum(isinstance(result, ConflictError) for result in written) == 19
        winner = next(n for n, result in enumerate(written) if isinstance(result, int))
        assert await backing.load() == (2, [replace(ROW, revision=2, generation=winner)])

    on(rows, test)


def test_revisions_of_concurrent_writers_have_no_gap_and_no_twin(rows: Place) -> None:
    seen: list[int] = []

    async def test(backing: Backing) -> None:
        async def write(writer: int) -> list[int]:
            revisions = []
            for turn in range(5):
                row = replace(ROW, name=f"w{writer}-{turn}")
                revisions.append(await backing.commit(Write(ChangeType.ADDED, row, None)))
            return revisions

        async def watch() -> None:
            while len(seen) < 100:
                page = await backing.changes_since(seen[-1] if seen else 0, 50)
                seen.extend(change.revision for change in page or [])
                await asyncio.sleep(0.001)

        lists, _ = await asyncio.gather(asyncio.gather(*map(write, range(20))), watch())
        assert sorted(chain.from_iterable(lists)) == list(range(1, 101))
        assert seen == list(range(1, 101)), "a watcher that polls misses nothing"

    on(rows, test)


def test_a_caller_who_gives_up_leaves_no_half_write_and_no_lost_connection(
    database: Place,
) -> None:
    async def test(backing: Backing) -> None:
        for turn in range(60):
            row = replace(ROW, name=f"n{turn}")
            task = asyncio.ensure_future(backing.commit(Write(ChangeType.ADDED, row, None)))
            await asyncio.sleep(0.0005 * (turn % 8))
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
        row = replace(ROW, name="last")
        last = await asyncio.wait_for(backing.commit(Write(ChangeType.ADDED, row, None)), 5)
        revision, found = await backing.load()
        assert revision >= last
        assert len(found) == revision, "each revision is one row: nothing was written by half"
        # Writes whose callers gave up may still come after this picture: look at it alone.
        changes = (await backing.changes_since(0, 500) or [])[:revision]
        assert [change.revision for change in changes] == list(range(1, revision + 1))
        assert {change.row for change in changes} == set(found)

    on(database, test)


def test_closing_lets_transactions_end_and_leaves_no_connection(database: Place) -> None:
    async def test(backing: Backing) -> None:
        for turn in range(20):
            await backing.load()  # so that a connection is at hand
            read = asyncio.ensure_future(backing.changes_since(0, 10))
            await asyncio.sleep(0.0004 * turn)
            read.cancel()
            await backing.close()
            await asyncio.gather(read, return_exceptions=True)
            with pytest.raises(StoreUnavailableError):
                await backing.load()
            await backing.open()
        gc.collect()  # a connection that was not closed warns, and a warning is an error here

    on(database, test)
