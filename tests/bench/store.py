"""Numbers of the store: `python tests/bench/store.py [URL …]`; without one, memory and SQLite.

Prints writes/s (one task, and twenty at once), reads/s, deliveries/s to watchers, records/s and
the time to open. A limit of the machine stands beside them: commits/s of bare sqlite3 on the same
disk with the same durability. A database server needs an empty database of its own.
"""

import asyncio
import sqlite3
import sys
import tempfile
import time
from pathlib import Path

from aimindserve.kit.clock import SystemClock
from aimindserve.resources.user import UserSpec
from aimindserve.store.base import Backing, Bookmark, Draft
from aimindserve.store.memory import MemoryBacking
from aimindserve.store.records.events import Event, events
from aimindserve.store.resources import ResourceStore
from aimindserve.store.urls import backing_for, masked

WRITES = 1_000
WATCHERS = 200
READS = 200_000
RECORDS = 5_000


def show(name: str, what: str, value: float, unit: str) -> None:
    print(f"{name:<28} {what:<36} {value:>12,.1f} {unit}")


async def measure(name: str, backing: Backing) -> None:
    began = time.perf_counter()
    store = ResourceStore(backing, SystemClock())
    await store.open()
    show(name, "open (migrations included)", (time.perf_counter() - began) * 1000, "ms")

    began = time.perf_counter()
    for turn in range(WRITES):
        await store.create(Draft("user", f"a{turn}", UserSpec()))
    show(name, "creates, one task", WRITES / (time.perf_counter() - began), "/s")

    async def write(writer: int) -> None:
        for turn in range(writer, WRITES, 20):
            spec = UserSpec(full_name="x")
            name = f"a{turn}"
            revision = store.get("user", name).metadata.revision
            await store.replace("user", name, revision=revision, spec=spec)

    began = time.perf_counter()
    await asyncio.gather(*map(write, range(20)))
    show(name, "replaces, twenty tasks", WRITES / (time.perf_counter() - began), "/s")

    began = time.perf_counter()
    for turn in range(READS):
        store.get("user", f"a{turn % WRITES}")
    show(name, "reads", READS / (time.perf_counter() - began), "/s")
    await fan_out(name, store)
    await append(name, backing)
    await store.close()


async def fan_out(name: str, store: ResourceStore) -> None:
    async def follow() -> None:
        watch, seen = store.watch(["user"]), 0
        while seen < WRITES // 2:
            seen += not isinstance(await anext(watch), Bookmark)

    followers = [asyncio.ensure_future(follow()) for _ in range(WATCHERS)]
    await asyncio.sleep(0)
    began = time.perf_counter()
    for turn in range(WRITES // 2):
        await store.delete("user", f"a{turn}")
    await asyncio.gather(*followers)
    count = WATCHERS * WRITES // 2
    show(name, f"deliveries to {WATCHERS} watchers", count / (time.perf_counter() - began), "/s")


async def append(name: str, backing: Backing) -> None:
    log = events(backing, SystemClock())  # type: ignore[arg-type]
    began = time.perf_counter()
    for turn in range(RECORDS):
        log.append(Event(float(turn), "instance", f"m{turn}", "placed", {"worker": "w"}))
    await log.flush()
    show(name, "records", RECORDS / (time.perf_counter() - began), "/s")


def limit(folder: Path) -> None:
    connection = sqlite3.connect(folder / "limit.db", isolation_level=None)
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = FULL")
    connection.execute("CREATE TABLE t (a INTEGER PRIMARY KEY, b TEXT)")
    began = time.perf_counter()
    for turn in range(WRITES):
        connection.execute("BEGIN IMMEDIATE")
        connection.execute("INSERT INTO t VALUES (?, ?)", (turn, "x" * 200))
        connection.execute("COMMIT")
    show("limit: bare sqlite3", "commits", WRITES / (time.perf_counter() - began), "/s")
    connection.close()


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        limit(Path(folder))
        places = {masked(url): backing_for(url) for url in sys.argv[1:]} or {
            "memory": MemoryBacking(),
            "sqlite": backing_for(f"sqlite:///{folder}/store.db"),
        }
        for name, backing in places.items():
            asyncio.run(measure(name, backing))


if __name__ == "__main__":
    main()
