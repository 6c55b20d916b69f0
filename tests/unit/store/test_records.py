"""Records while the database is away: kept, then written in order; the oldest go, counted."""

import asyncio
from collections.abc import Sequence

import pytest

from aimindserve.core.errors import StoreUnavailableError
from aimindserve.store.memory import MemoryBacking
from aimindserve.store.records import _record
from aimindserve.store.records._record import RecordRow
from aimindserve.store.records.events import Event, events
from unit.store.clocks import ManualClock


class Away(MemoryBacking):
    away = False

    async def add_records(self, table: str, rows: Sequence[RecordRow]) -> None:
        if self.away:
            raise StoreUnavailableError("away")
        await super().add_records(table, rows)


def event(at: float) -> Event:
    return Event(at, "instance", "m", "placed")


def test_an_outage_loses_nothing_that_fits_the_queue() -> None:
    async def run() -> None:
        backing, clock = Away(), ManualClock()
        log = events(backing, clock)
        await log.open()
        backing.away = True
        for at in range(3):
            log.append(event(at))
            await clock.advance(2)
        with pytest.raises(StoreUnavailableError):
            await log.query()
        backing.away = False
        log.append(event(3))
        await clock.advance(1)
        assert [found.time for found in await log.query()] == [3, 2, 1, 0]
        assert log.dropped == 0
        await log.close()

    asyncio.run(run())


def test_a_full_queue_drops_the_oldest_and_counts_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_record, "QUEUE_MAX", 3)

    async def run() -> None:
        backing = Away()
        backing.away = True
        log = events(backing, ManualClock())
        for at in range(5):
            log.append(event(at))
        with pytest.raises(StoreUnavailableError):
            await log.flush()
        log.append(event(5))
        backing.away = False
        assert [found.time for found in await log.query()] == [5, 4, 3]
        assert log.dropped == 3

    asyncio.run(run())


def test_an_unknown_column_is_a_mistake_of_the_caller() -> None:
    with pytest.raises(TypeError, match="no column colour"):
        asyncio.run(events(MemoryBacking(), ManualClock()).query(colour="red"))
