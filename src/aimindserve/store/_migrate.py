"""Bringing a database's schema up to date, or refusing one that is newer than this program.

The version is read first and by plain SQL, and a new SQLite file gets today's tables at once:
Alembic, which takes half a second and 10 MB to load, is only imported when there is something to
migrate. A test holds both ways against each other. It must not know how a database is reached.
"""

from pathlib import Path

from sqlalchemy import Column, Connection, MetaData, String, Table, insert, inspect, select

from aimindserve import __version__
from aimindserve.core.errors import SettingsError
from aimindserve.store._schema import SCHEMA, counter, metadata

FOLDER = Path(__file__).parent / "migrations"

_versions = Table("schema_version", MetaData(), Column("version_num", String(32), primary_key=True))


def is_needed(connection: Connection) -> bool:
    """Whether the schema is older than this program's; raises SettingsError when it is newer."""
    present = version(connection)
    if present is not None and present not in SCHEMA:
        raise SettingsError(
            f"The database has schema {present}; aiMindServe {__version__} knows schemas up to "
            f"{SCHEMA[-1]}.",
            hint="Start the newer version of aiMindServe that wrote it, or restore the backup made "
            "before it was upgraded.",
            params={"schema": present, "known": SCHEMA[-1], "version": __version__},
        )
    return present != SCHEMA[-1]


def version(connection: Connection) -> str | None:
    """The schema version that the database has; None for a new one."""
    if not inspect(connection).has_table(_versions.name):
        return None
    found = connection.execute(select(_versions.c.version_num)).scalar_one_or_none()
    return None if found is None else str(found)


def upgrade(connection: Connection) -> None:
    """Bring the schema to the newest version, in the transaction of `connection`."""
    if not is_needed(connection):
        return  # another process has done it while this one waited for the lock
    if connection.dialect.name == "sqlite" and not inspect(connection).get_table_names():
        create(connection)
    else:
        migrate(connection, SCHEMA[-1])


def create(connection: Connection) -> None:
    """Make today's schema in an empty database that can undo DDL."""
    metadata.create_all(connection)
    connection.execute(insert(counter).values(id=1, revision=0))
    _versions.create(connection)
    connection.execute(insert(_versions).values(version_num=SCHEMA[-1]))


def migrate(connection: Connection, target: str) -> None:
    """Run the migrations up to `target`. Each step first looks whether it has been done, so that a
    run that was killed anywhere is finished by the next one."""
    from alembic import command
    from alembic.config import Config

    _versions.create(connection, checkfirst=True)
    config = Config()
    config.set_main_option("script_location", str(FOLDER).replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    config.attributes["connection"] = connection
    config.attributes["version_table"] = _versions.name
    command.upgrade(config, target)
