"""Records on every backing: in order, found by their columns, never too many."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from typing import cast

import pytest

from aimindserve.core.errors import StoreUnavailableError
from aimindserve.store.base import Backing
from aimindserve.store.records._record import (
    QUEUE_MAX,
    RecordKeeper,
    RecordKind,
    RecordRow,
    Records,
)
from aimindserve.store.records.audit import AuditEntry, audit
from aimindserve.store.records.events import Event, events
from contract.store.places import FastClock, Place


def on(rows: Place, test: Callable[[Backing], Awaitable[None]]) -> None:
    async def run() -> None:
        backing = rows.backing()
        await backing.open()
        try:
            await test(backing)
        finally:
            await backing.close()

    asyncio.run(run())


def event(at: float, name: str = "m", code: str = "placed") -> Event:
    params = {"worker": "gpu-07", "bytes": 5}
    return Event(at, "instance", name, code, "no_fit", params, first_time=at, id=f"{name}-{at}")


def test_records_come_back_newest_first(rows: Place) -> None:
    async def test(backing: Backing) -> None:
        log = events(backing, FastClock())
        for at in (1.5, 2.5, 3.5):
            log.append(event(at))
        assert await log.query() == [event(3.5), event(2.5), event(1.5)]
        trail = audit(backing, FastClock())
        entry = AuditEntry(1.0, "ada", "10.0.0.1", "delete", "deployment", "m", "ok")
        trail.append(entry)
        [found] = await trail.query()
        assert found.id
        assert replace(found, id="") == entry

    on(rows, test)


def test_records_are_found_by_column_and_time(rows: Place) -> None:
    async def test(backing: Backing) -> None:
        log = events(backing, FastClock())
        for at in range(20):
            log.append(event(float(at), name=f"m{at % 2}", code="ready" if at > 10 else "placed"))
        found = await log.query(name="m1", since=3.0, before=15.0)
        assert [record.time for record in found] == [13, 11, 9, 7, 5, 3]
        assert [record.time for record in await log.query(code="ready", limit=2)] == [19, 18]
        assert await log.query(kind="deployment") == []
        assert await log.query(name="M1") == [], "case counts on every database"
        assert [record.time for record in await log.query(limit=3, offset=2)] == [17, 16, 15]
        assert await log.count() == 20
        assert await log.count(name="m1", since=3.0, before=15.0) == 6

    on(rows, test)


def test_a_record_that_is_written_again_takes_the_place_of_the_earlier(rows: Place) -> None:
    async def test(backing: Backing) -> None:
        log = events(backing, FastClock())
        for at, count in ((1.0, 1), (2.0, 1), (3.0, 2)):
            log.append(replace(event(at), count=count, id="same" if at != 2.0 else "other"))
            await log.flush()
        assert [(found.id, found.count) for found in await log.query()] == [
            ("same", 2),
            ("other", 1),
        ]
        log.append(replace(event(4.0), count=3, id="same"))
        log.append(replace(event(5.0), count=4, id="same"))
        assert [found.count for found in await log.query()] == [4, 1], "in one batch, too"
        assert await log.count() == 2

    on(rows, test)


def test_a_batch_whose_outcome_was_unknown_is_there_once(rows: Place) -> None:
    """The connection broke after the commit: the batch is written again, as it must be."""

    class Broken:
        def __init__(self, backing: RecordKeeper) -> None:
            self.find_records = backing.find_records
            self.count_records = backing.count_records
            self.trim_records = backing.trim_records
            self._add, self.breaks = backing.add_records, True

        async def add_records(self, table: str, rows: Sequence[RecordRow]) -> None:
            await self._add(table, rows)
            if self.breaks:
                self.breaks = False
                raise StoreUnavailableError("The answer was lost.")

    async def test(backing: Backing) -> None:
        trail = audit(Broken(cast("RecordKeeper", backing)), FastClock())
        for name in ("a", "b"):
            trail.append(AuditEntry(1.0, "ada", "10.0.0.1", "delete", "deployment", name, "ok"))
        with pytest.raises(StoreUnavailableError):
            await trail.flush()
        assert [found.name for found in await trail.query()] == ["b", "a"]

    on(rows, test)


def test_strange_texts_do_not_break_the_log(rows: Place) -> None:
    async def test(backing: Backing) -> None:
        log = events(backing, FastClock())
        log.append(event(1.0, name="a\x00b\ud800' OR 1=1 --" + "é" * 300))
        [found] = await log.query()
        assert found.name.startswith("a\N{REPLACEMENT CHARACTER}b")
        assert len(found.name) == 255
        assert await log.query(name="a\x00b\ud800' OR 1=1 --" + "é" * 300) == [found]
        log.append(
            Event(2.0, "k", "n", "c", "", {"text": "\x00 艾达 🚀", "deep": [1, {"a": None}]})
        )
        assert (await log.query(kind="k"))[0].params == {
            "text": "\x00 艾达 🚀",
            "deep": [1, {"a": None}],
        }

    on(rows, test)


def test_records_are_written_within_a_second_and_at_the_end(rows: Place) -> None:
    async def test(backing: Backing) -> None:
        log = events(backing, FastClock())
        await log.open()
        log.append(event(1.0))
        for _ in range(100):
            await asyncio.sleep(0.02)
            if await events(backing, FastClock()).query():  # somebody with another queue
                break
        else:
            raise AssertionError("not written")
        log.append(event(2.0))
        await log.close()
        assert len(await events(backing, FastClock()).query()) == 2

    on(rows, test)


def test_only_the_newest_records_stay(rows: Place) -> None:
    async def test(backing: Backing) -> None:
        few = RecordKind(table="events", record=Event, kept=300)
        log = Records(few, backing, FastClock())
        for at in range(1_200):
            log.append(event(float(at)))
        found = await log.query(limit=1_000)
        assert [record.time for record in found] == list(range(1_199, 899, -1))
        assert log.dropped == 0
        for at in range(QUEUE_MAX + 7):
            log.append(event(float(at)))
        assert log.dropped == 7

    on(rows, test)
