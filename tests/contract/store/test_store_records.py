"""Append-only records on every backing: in order, found by their columns, never too many."""

import asyncio
from collections.abc import Awaitable, Callable

from aimindserve.store.base import Backing
from aimindserve.store.records._record import QUEUE_MAX, RecordKind, Records
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
    return Event(at, "instance", name, code, {"worker": "gpu-07", "bytes": 5}, "scheduling")


def test_records_come_back_newest_first(rows: Place) -> None:
    async def test(backing: Backing) -> None:
        log = events(backing, FastClock())
        for at in (1.5, 2.5, 3.5):
            log.append(event(at))
        assert await log.query() == [event(3.5), event(2.5), event(1.5)]
        trail = audit(backing, FastClock())
        entry = AuditEntry(1.0, "ada", "10.0.0.1", "delete", "deployment", "m", "ok")
        trail.append(entry)
        assert await trail.query() == [entry]

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

    on(rows, test)


def test_strange_texts_do_not_break_the_log(rows: Place) -> None:
    async def test(backing: Backing) -> None:
        log = events(backing, FastClock())
        log.append(event(1.0, name="a\x00b\ud800' OR 1=1 --" + "é" * 300))
        [found] = await log.query()
        assert found.name.startswith("a\N{REPLACEMENT CHARACTER}b")
        assert len(found.name) == 255
        assert await log.query(name="a\x00b\ud800' OR 1=1 --" + "é" * 300) == [found]
        log.append(Event(2.0, "k", "n", "c", {"text": "\x00 艾达 🚀", "deep": [1, {"a": None}]}))
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
