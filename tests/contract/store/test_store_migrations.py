"""Migrations: they make what queries expect, may be killed anywhere, and run in one process."""

import asyncio
import os
import signal
import sqlite3
import subprocess
import sys
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, Text, create_engine, event, inspect

from aimindserve.core.errors import NotFoundError
from aimindserve.kit.clock import SystemClock
from aimindserve.store import _migrate
from aimindserve.store._schema import SCHEMA, metadata
from aimindserve.store.records.audit import AuditEntry, audit
from aimindserve.store.records.events import Event, events
from aimindserve.store.sql import SqlBacking
from aimindserve.store.urls import backing_for
from contract.store.places import Place, ask, child_environment, draft, opened, place


def on(database: Place, *works: object, migrated: bool = False) -> list[object]:
    """Run functions on connections to a database that is (not) brought up to date before."""

    async def run() -> list[object]:
        backing = SqlBacking(database.url)
        inner = backing._database
        if migrated:
            await backing.open()
        else:
            inner._dialect.claim(create=True)
            inner._engine = inner._dialect.engine(patient=True)
        try:
            return [await inner.run(work) for work in works]
        finally:
            await backing.close()

    return asyncio.run(run())


def differences(connection: Connection) -> object:
    options = {"version_table": "schema_version", "compare_type": _other_type}
    context = MigrationContext.configure(connection, opts=options)
    return compare_metadata(context, metadata)


def _other_type(_context: object, _present: object, _wanted: object, *types: object) -> bool | None:
    """LONGTEXT is how MySQL holds our Text; None leaves the answer to Alembic."""
    present, wanted = types
    if isinstance(wanted, Text) and type(present).__name__ in ("LONGTEXT", "TEXT"):
        return type(present).__name__ == "TEXT" and type(present).__module__.endswith("mysql.types")
    return None


def to(version: str) -> object:
    return lambda connection: _migrate.migrate(connection, version)


def test_migrations_make_the_tables_that_queries_expect(database: Place) -> None:
    before, _, version, left = on(
        database, _migrate.version, to(SCHEMA[-1]), _migrate.version, differences
    )
    assert before is None
    assert version == SCHEMA[-1]
    assert left == []


def test_a_new_sqlite_file_has_the_same_tables_as_a_migrated_one(tmp_path: Path) -> None:
    (tmp_path / "new").mkdir()
    with place("sqlite", tmp_path / "new") as new, place("sqlite", tmp_path) as old:
        on(old, to(SCHEMA[-1]))
        on(new, _migrate.upgrade)
        assert _tables(new) == _tables(old)
        assert on(new, differences, _migrate.version) == [[], SCHEMA[-1]]


def _tables(database: Place) -> dict[str, object]:
    with sqlite3.connect(urlsplit(database.url).path) as connection:
        names = [row[0] for row in connection.execute("SELECT name FROM sqlite_master")]
        columns = {name: list(connection.execute(f"PRAGMA table_info({name})")) for name in names}
        indexes = {name: list(connection.execute(f"PRAGMA index_info({name})")) for name in names}
    connection.close()
    return {"columns": columns, "indexes": indexes}


def test_the_program_knows_its_newest_migration() -> None:
    config = Config()
    config.set_main_option("script_location", str(_migrate.FOLDER))
    config.set_main_option("path_separator", "os")
    script = ScriptDirectory.from_config(config)
    assert script.get_heads() == [SCHEMA[-1]]
    assert tuple(reversed([step.revision for step in script.walk_revisions()])) == SCHEMA


def test_an_older_schema_is_migrated_with_its_rows(database: Place) -> None:
    on(database, to("0001"))
    on(database, _insert_row)

    async def run() -> None:
        async with opened(database) as store:
            assert store.get("user", "ada").spec.full_name == "Ada"
            assert store.revision == 1
            await store.create(draft("bob"))
        backing = database.backing()
        await backing.open()
        log = events(backing, SystemClock())
        log.append(Event(1.0, "user", "ada", "renamed"))
        assert len(await log.query()) == 1
        await backing.close()

    asyncio.run(run())
    assert on(database, _migrate.version, differences, migrated=True) == [SCHEMA[-1], []]


def test_audit_entries_of_an_older_schema_stay(database: Place) -> None:
    on(database, to("0002"))
    on(database, _insert_entry)

    async def run() -> None:
        backing = database.backing()
        await backing.open()
        trail = audit(backing, SystemClock())
        trail.append(AuditEntry(2.0, "ada", "", "delete", "deployment", "n", "ok", id="x"))
        assert [(found.name, found.id) for found in await trail.query()] == [("n", "x"), ("m", "")]
        await backing.close()

    asyncio.run(run())


def _insert_entry(connection: Connection) -> None:
    connection.exec_driver_sql(
        "INSERT INTO audit (time, actor, client, action, kind, name, outcome)"
        " VALUES (1.0, 'ada', '', 'create', 'deployment', 'm', 'ok')"
    )


def _insert_row(connection: Connection) -> None:
    connection.exec_driver_sql(
        "INSERT INTO resources (kind, name, id, spec, status, labels, generation, revision,"
        " created_at)"
        " VALUES ('user', 'ada', 'i', '{\"full_name\": \"Ada\"}', '{}', '{}', 1, 1, 1.5)"
    )
    connection.exec_driver_sql("UPDATE counter SET revision = 1")


def test_a_finished_migration_that_was_not_noted_can_run_again(database: Place) -> None:
    on(database, to(SCHEMA[-1]))
    on(database, _insert_row)
    on(database, lambda connection: connection.exec_driver_sql("DELETE FROM schema_version"))
    on(database, to(SCHEMA[-1]))
    _, version, left = on(database, _rows, _migrate.version, differences)
    assert (version, left) == (SCHEMA[-1], [])
    assert on(database, _rows) == [("ada", 1)]


def _rows(connection: Connection) -> object:
    [name] = connection.exec_driver_sql("SELECT name FROM resources").scalars()
    return name, connection.exec_driver_sql("SELECT revision FROM counter").scalar_one()


def test_a_migration_that_stops_at_any_statement_is_finished_by_the_next(database: Place) -> None:
    """Each run stops one statement later; databases that cannot undo DDL keep what came before."""
    for patience in range(200):
        if not _stopped_after(database, patience):
            break
    else:
        pytest.fail("the migration never got to its end")
    assert patience > 3
    assert on(database, _migrate.version, differences) == [SCHEMA[-1], []]


CHANGING = ("CREATE", "INSERT", "UPDATE", "ALTER", "DELETE", "COMMIT")


class _StopError(Exception):
    pass


def _stopped_after(database: Place, count: int) -> bool:
    """Migrate, but stop before the statement number `count` that changes something."""
    left = count

    def before(_c: object, _cursor: object, statement: str, *_rest: object) -> None:
        nonlocal left
        if statement.split(maxsplit=1)[0] in CHANGING:
            left -= 1
            if left < 0:
                raise _StopError

    def work(connection: Connection) -> None:
        event.listen(connection, "before_cursor_execute", before)
        _migrate.migrate(connection, SCHEMA[-1])

    try:
        on(database, work)
    except _StopError:
        return True
    return False


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.parametrize("way", ["create", "migrate"])
def test_a_migration_killed_at_any_statement_is_finished_by_the_next(
    way: str, tmp_path: Path
) -> None:
    done = subprocess.run(
        [sys.executable, "-W", "ignore", __file__, way, str(tmp_path)],
        capture_output=True,
        text=True,
        timeout=60,
        env=child_environment(),
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert int(done.stdout) > 5, "the kills must have come at different statements"


def _kill_everywhere(way: str, folder: Path) -> int:
    """Fork a migration for each of its statements and kill it there; returns how many there are."""
    count = 0
    while True:
        path = folder / f"{way}-{count}.db"
        child = os.fork()
        if child == 0:
            _migrate_file(path, way, count)
            os._exit(0)
        _, status = os.waitpid(child, 0)
        _migrate_file(path, way, None)
        if not os.WIFSIGNALED(status):
            return count
        count += 1


def _migrate_file(path: Path, way: str, kill_at: int | None) -> None:
    engine = create_engine(f"sqlite:///{path}", connect_args={"isolation_level": None})
    seen = -1

    def kill(_c: object, _cursor: object, statement: str, *_rest: object) -> None:
        nonlocal seen
        seen += statement.split(maxsplit=1)[0] in CHANGING
        if seen == kill_at:
            os.kill(os.getpid(), signal.SIGKILL)

    with engine.connect() as connection:
        connection.exec_driver_sql("PRAGMA journal_mode = WAL")
        connection.exec_driver_sql("BEGIN IMMEDIATE")
        event.listen(connection, "after_cursor_execute", kill)
        if way == "create" or kill_at is None:
            _migrate.upgrade(connection)
        else:
            _migrate.migrate(connection, SCHEMA[-1])
        connection.exec_driver_sql("COMMIT")
    if kill_at is None:
        with engine.connect() as connection:
            assert _migrate.version(connection) == SCHEMA[-1]
            assert differences(connection) == []
            assert connection.exec_driver_sql("SELECT revision FROM counter").scalar_one() == 0
    engine.dispose()


def test_processes_that_start_together_migrate_once(database: Place) -> None:
    if database.name == "sqlite":
        pytest.skip("only one process opens a file")

    async def run() -> None:
        backings = [database.backing() for _ in range(5)]
        await asyncio.gather(*(backing.open() for backing in backings))
        for backing in backings:
            await backing.close()
        count = await ask(database.name, database.url, "SELECT COUNT(*) FROM counter")
        assert count == 1

    asyncio.run(run())


def test_where_nothing_is_to_be_created_nothing_is(database: Place) -> None:
    on(database, lambda connection: None)
    with pytest.raises(NotFoundError, match="There is no database of aiMindServe"):
        asyncio.run(backing_for(database.url, create=False).open())
    assert on(database, lambda connection: inspect(connection).get_table_names()) == [[]]
    on(database, _migrate.upgrade)

    async def opened() -> int:
        backing = backing_for(database.url, create=False)
        await backing.open()
        try:
            return (await backing.load())[0]
        finally:
            await backing.close()

    assert asyncio.run(opened()) == 0


def test_a_database_that_is_up_to_date_is_opened_without_alembic(sqlite: Place) -> None:
    on(sqlite, _migrate.upgrade)
    script = (
        "import asyncio, sys\n"
        "from aimindserve.store.urls import backing_for\n"
        f"asyncio.run(backing_for({sqlite.url!r}).open())\n"
        "heavy = ('alembic', 'sqlalchemy.orm', 'asyncpg', 'asyncmy', 'aiosqlite')\n"
        "print([name for name in heavy if name in sys.modules])\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script],
        capture_output=True,
        text=True,
        timeout=60,
        env=child_environment(),
        check=False,
    )
    assert done.stdout.strip() == "[]", done.stderr


if __name__ == "__main__":
    print(_kill_everywhere(sys.argv[1], Path(sys.argv[2])))
