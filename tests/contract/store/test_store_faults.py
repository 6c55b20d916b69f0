"""What breaks must break in words, and what was acknowledged must be there afterwards."""

import asyncio
import os
import shutil
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from aimindserve.core.errors import SettingsError, StorageFullError, StoreUnavailableError
from aimindserve.resources.user import UserSpec
from aimindserve.store._schema import SCHEMA
from aimindserve.store.base import Bookmark, Change, ChangeType, Write
from aimindserve.store.urls import backing_for
from contract.store.places import Place, ask, at, child_environment, draft, opened, place
from contract.store.relay import Relay


async def until(happened: object) -> None:
    async def wait() -> None:
        while not happened():
            await asyncio.sleep(0.02)

    await asyncio.wait_for(wait(), 20)


def test_a_crash_between_commit_and_notify_loses_nothing(rows: Place) -> None:
    async def run() -> None:
        async with opened(rows) as store:
            made = await store.create(draft("ada"))
        # A process that is killed here has committed, and told nobody.
        backing = rows.backing()
        await backing.open()
        _, [row] = await backing.load()
        await backing.commit(Write(ChangeType.MODIFIED, replace(row, generation=2), 1))
        await backing.commit(Write(ChangeType.ADDED, replace(row, name="bob"), None))
        await backing.close()
        async with opened(rows) as store:
            assert [user.name for user in store.list("user")] == ["ada", "bob"]
            assert store.get("user", "ada").metadata.generation == 2
            watch = store.watch(["user"], since=made.metadata.revision)
            events = [await asyncio.wait_for(anext(watch), 5) for _ in range(2)]
            assert [(event.revision, event.type.value) for event in events] == [
                (2, "MODIFIED"),
                (3, "ADDED"),
            ]

    asyncio.run(run())


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_kill_9_in_a_storm_of_writes_loses_nothing_acknowledged(tmp_path: Path) -> None:
    script = Path(__file__).with_name("storm.py")
    done = subprocess.run(
        [sys.executable, "-W", "ignore", str(script), str(tmp_path / "db"), "8", "7"],
        capture_output=True,
        text=True,
        timeout=60,
        env=child_environment(),
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert int(done.stdout.split()[-1]) > 20, "too few writes to prove anything"


def test_only_one_process_opens_a_sqlite_file(sqlite: Place) -> None:
    async def run() -> None:
        async with opened(sqlite) as store:
            with pytest.raises(SettingsError, match=f"in use by process {os.getpid()}"):
                await sqlite.backing().open()
            await store.create(draft("ada"))
        async with opened(sqlite) as store:
            assert store.find("user", "ada") is not None

    asyncio.run(run())
    path = Path(urlsplit(sqlite.url).path)
    assert path.stat().st_mode & 0o077 == 0, "it holds credentials"


def test_a_file_that_is_no_database_is_refused(tmp_path: Path) -> None:
    (tmp_path / "store.db").write_text("This is a letter to my grandmother.\n" * 100)
    with pytest.raises(SettingsError, match="refuses to be used"):
        asyncio.run(backing_for(f"sqlite:///{tmp_path}/store.db").open())
    (tmp_path / "file").write_text("")
    with pytest.raises(SettingsError, match="cannot be opened"):
        asyncio.run(backing_for(f"sqlite:///{tmp_path}/file/store.db").open())


def test_wrong_credentials_and_missing_databases_are_settings(database: Place) -> None:
    if database.name == "sqlite":
        pytest.skip("a file has neither")
    missing = urlsplit(database.url)._replace(path="/no_such_database").geturl()
    with pytest.raises(SettingsError, match="no_such_database"):
        asyncio.run(backing_for(missing).open())


@pytest.fixture
def tiny_disk(tmp_path: Path) -> Iterator[Path]:
    folder = tmp_path / "disk"
    folder.mkdir()
    made = shutil.which("mount") and subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(folder)],
        capture_output=True,
        check=False,
    )
    if not made or made.returncode != 0:
        pytest.skip("a small file system can only be mounted by root")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


def test_a_full_disk_refuses_writes_and_recovers_without_a_restart(tiny_disk: Path) -> None:
    async def run() -> None:
        async with opened(at("sqlite", f"sqlite:///{tiny_disk}/store.db")) as store:
            count = 0
            with suppress(StorageFullError):
                while count < 100:
                    await store.create(draft(f"u{count}", password_hash="y" * 50_000))
                    count += 1
            assert 5 < count < 100
            assert len(store.list("user")) == count, "reads go on"
            with pytest.raises(StorageFullError):
                await store.create(draft("big", password_hash="y" * 500_000))
            subprocess.run(["mount", "-o", "remount,size=20m", str(tiny_disk)], check=True)
            made = await store.create(draft("big", password_hash="y" * 500_000))
            assert made.metadata.revision == count + 1
            assert store.find("user", f"u{count}") is None
        async with opened(at("sqlite", f"sqlite:///{tiny_disk}/store.db")) as store:
            assert len(store.list("user")) == count + 1

    asyncio.run(run())


@pytest.fixture(params=("postgresql", "mysql"))
def remote(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Place]:
    with place(request.param, tmp_path) as made:
        yield made


def through(remote: Place, relay: Relay) -> Place:
    parts = urlsplit(remote.url)
    user = parts.netloc.rpartition("@")[0]
    return at(remote.name, parts._replace(netloc=f"{user}@127.0.0.1:{relay.port}").geturl())


def relay_to(remote: Place) -> Relay:
    parts = urlsplit(remote.url)
    return Relay(parts.hostname or "", parts.port or 0)


def test_a_database_that_goes_away_and_comes_back(remote: Place) -> None:
    async def run() -> None:
        async with relay_to(remote) as relay, opened(through(remote, relay)) as store:
            await store.create(draft("ada"))
            watch = store.watch(["user"], since=0)
            relay.cut()
            began = time.monotonic()
            with pytest.raises(StoreUnavailableError):
                await store.create(draft("bob"))
            assert time.monotonic() - began < 5
            assert [user.name for user in store.list("user")] == ["ada"], "reads go on"
            async with opened(remote) as other:  # somebody who still reaches it
                await other.create(draft("carl"))
            relay.restore()
            await until(lambda: store.find("user", "carl") is not None)
            made = await store.create(draft("bob"))
            names: list[str] = []
            while len(names) < 3:
                event = await asyncio.wait_for(anext(watch), 5)
                assert isinstance(event, Change | Bookmark)
                if isinstance(event, Change):
                    names.append(event.resource.name)
            assert names == ["ada", "carl", "bob"]
            assert made.metadata.revision == 3

    asyncio.run(run())


def test_a_connection_that_breaks_in_a_commit_leaves_memory_right(remote: Place) -> None:
    """Whichever moment the cable is pulled at, in the end memory is what the database holds."""

    async def run() -> None:
        async with relay_to(remote) as relay, opened(through(remote, relay)) as store:
            for turn in range(15):
                task = asyncio.ensure_future(store.create(draft(f"u{turn}")))
                await asyncio.sleep(0.0007 * turn)
                relay.cut()
                outcome = (await asyncio.gather(task, return_exceptions=True))[0]
                relay.restore()
                if isinstance(outcome, BaseException):
                    assert isinstance(outcome, StoreUnavailableError)
            await store.create(draft("last"))
            backing = remote.backing()
            await backing.open()
            revision, rows = await backing.load()
            await backing.close()
            assert store.revision == revision
            assert {user.name: user.metadata.revision for user in store.list("user")} == {
                row.name: row.revision for row in rows
            }

    asyncio.run(run())


@pytest.mark.slow
def test_a_database_that_swallows_everything_is_given_up(remote: Place) -> None:
    async def run() -> None:
        async with relay_to(remote) as relay, opened(through(remote, relay)) as store:
            await store.create(draft("ada"))
            relay.swallow()
            began = time.monotonic()
            with pytest.raises(StoreUnavailableError):
                await store.update(
                    "user", "ada", lambda user: replace(user, spec=UserSpec(full_name="x"))
                )
            assert time.monotonic() - began < 12
            relay.restore()
            await store.create(draft("bob"))

    asyncio.run(run())


def test_a_database_newer_than_the_program_is_refused(database: Place) -> None:
    async def run() -> None:
        async with opened(database) as store:
            await store.create(draft("ada"))
        await _pretend_schema(database, "0099")
        with pytest.raises(SettingsError, match="0099") as refused:
            await database.backing().open()
        assert "newer" in refused.value.hint
        await _pretend_schema(database, SCHEMA[-1])
        async with opened(database) as store:
            assert store.find("user", "ada") is not None, "nothing was touched"

    asyncio.run(run())


async def _pretend_schema(database: Place, version: str) -> None:
    statement = f"UPDATE schema_version SET version_num = '{version}'"  # noqa: S608 - ours
    if database.name == "sqlite":
        with sqlite3.connect(urlsplit(database.url).path) as connection:
            connection.execute(statement)
        connection.close()
    else:
        await ask(database.name, database.url, statement)
