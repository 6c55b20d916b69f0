"""Rows kept in a SQL database: the same statements on SQLite, PostgreSQL, MySQL and MariaDB.

Each write is one transaction that first takes the counter's row: whoever holds it is alone until
the commit, so that revisions come in commit order, without gaps, and no two writers can wait for
each other. It must not know how to reach a database, nor what a resource means.
"""

from collections.abc import Mapping, Sequence
from random import Random
from typing import Any

from sqlalchemy import ColumnElement, Connection, bindparam, delete, func, insert, select, update
from sqlalchemy import Row as SqlRow
from sqlalchemy.exc import IntegrityError

from aimindserve.kit.clock import Clock, SystemClock
from aimindserve.store._database import Database
from aimindserve.store._refusals import missing, stale, taken
from aimindserve.store._schema import changes, counter, records, resources
from aimindserve.store.base import ChangeRow, ChangeType, Row, Write
from aimindserve.store.records._record import RecordQuery, RecordRow

_ROW = ("kind", "name", "id", "spec", "status", "labels", "generation", "revision", "created_at")
_THE_OBJECT = (resources.c.kind == bindparam("_kind")) & (resources.c.name == bindparam("_name"))
_AS_EXPECTED = _THE_OBJECT & (resources.c.revision == bindparam("_expected"))

_BUMP = update(counter).values(revision=counter.c.revision + 1)
_REVISION = select(counter.c.revision)
_PRESENT = select(resources.c.revision).where(_THE_OBJECT)
_INSERT = insert(resources)
_UPDATE = update(resources).where(_AS_EXPECTED)  # sets the columns it is given
_DELETE = delete(resources).where(_AS_EXPECTED)
_LOG = insert(changes)
_ALL = select(*(resources.c[name] for name in _ROW))
_SINCE = (
    select(changes.c.type, *(changes.c[name] for name in _ROW))
    .where(changes.c.revision > bindparam("_since"))
    .order_by(changes.c.revision)
    .limit(bindparam("_limit"))
)
_TRIM = delete(changes).where(changes.c.revision <= bindparam("_until"))


class SqlBacking:
    """A backing on a database; raises SettingsError for a URL that `check_url` refuses."""

    def __init__(
        self,
        url: str,
        *,
        clock: Clock | None = None,
        random: Random | None = None,
        create: bool = True,
    ) -> None:
        jitter = random or Random()  # noqa: S311 - no secret depends on it
        self._database = Database(url, clock or SystemClock(), jitter, create=create)

    @property
    def shared(self) -> bool:
        """Whether others may write to it while it is open here: only SQLite is ours alone."""
        return self._database.shared

    async def open(self) -> None:
        """Connect and migrate."""
        await self._database.open()

    async def probe(self) -> None:
        """Whether it can be used, without changing anything; raises as `open` does."""
        await self._database.probe()

    async def close(self) -> None:
        """Let go of every connection."""
        await self._database.close()

    async def load(self) -> tuple[int, Sequence[Row]]:
        """The present revision and every row at it, read in one transaction."""

        def work(connection: Connection) -> tuple[int, Sequence[Row]]:
            revision = connection.execute(_REVISION).scalar_one()
            return revision, [_row(found) for found in connection.execute(_ALL)]

        return await self._database.run(work, snapshot=True)

    async def commit(self, write: Write) -> int:
        """Apply one write; raises ExistsError, StaleError, NotFoundError."""
        return await self._database.run(lambda connection: _commit(connection, write))

    async def changes_since(self, revision: int, limit: int) -> Sequence[ChangeRow] | None:
        """Up to `limit` changes after `revision`, in order; None when they are no longer kept."""

        def work(connection: Connection) -> Sequence[ChangeRow] | None:
            present = connection.execute(_REVISION).scalar_one()
            if present <= revision:
                return [] if present == revision else None
            found = connection.execute(_SINCE, {"_since": revision, "_limit": limit}).all()
            # Revisions have no gaps, so a first one further on means that some were forgotten.
            if not found or found[0].revision != revision + 1:
                return None
            return [ChangeRow(row.revision, row.type, _row(row)) for row in found]

        return await self._database.run(work)

    async def trim(self, keep: int) -> None:
        """Forget all but the newest `keep` changes."""

        def work(connection: Connection) -> None:
            present = connection.execute(_REVISION).scalar_one()
            connection.execute(_TRIM, {"_until": present - keep})

        await self._database.run(work)

    async def add_records(self, table: str, rows: Sequence[RecordRow]) -> None:
        """Append records, all or none; those whose id is there already replace it."""
        kept, values = records[table], [dict(row) for row in rows]
        earlier = delete(kept).where(kept.c.id.in_([row["id"] for row in rows]))

        def work(connection: Connection) -> None:
            connection.execute(earlier)
            connection.execute(insert(kept), values)

        await self._database.run(work)

    async def find_records(self, query: RecordQuery) -> Sequence[RecordRow]:
        """The newest records that match, newest first."""
        table = records[query.table]
        statement = (
            select(table)
            .where(*_conditions(query))
            .order_by(table.c.number.desc())
            .limit(query.limit)
            .offset(query.offset)
        )

        def work(connection: Connection) -> Sequence[RecordRow]:
            return [dict(row) for row in connection.execute(statement).mappings()]

        return await self._database.run(work)

    async def count_records(self, query: RecordQuery) -> int:
        """How many records match."""
        table = records[query.table]
        statement = select(func.count()).select_from(table).where(*_conditions(query))
        return await self._database.run(
            lambda connection: int(connection.execute(statement).scalar_one())
        )

    async def trim_records(self, table: str, keep: int) -> None:
        """Forget all but about the newest `keep` records."""
        numbers = records[table].c.number

        def work(connection: Connection) -> None:
            newest = connection.execute(select(func.max(numbers))).scalar_one()
            if newest is not None:
                connection.execute(delete(records[table]).where(numbers <= newest - keep))

        await self._database.run(work)


def _conditions(query: RecordQuery) -> Sequence[ColumnElement[bool]]:
    columns = records[query.table].c
    conditions = [columns[name] == value for name, value in query.where.items()]
    if query.since is not None:
        conditions.append(columns.time >= query.since)
    if query.before is not None:
        conditions.append(columns.time < query.before)
    return conditions


def _commit(connection: Connection, write: Write) -> int:
    connection.execute(_BUMP)
    revision = int(connection.execute(_REVISION).scalar_one())
    values = {name: getattr(write.row, name) for name in _ROW} | {"revision": revision}
    if write.expected is None:
        try:
            connection.execute(_INSERT, values)
        except IntegrityError as error:
            raise taken(write.row.kind, write.row.name) from error
    else:
        _overwrite(connection, write, values)
    connection.execute(_LOG, {**values, "type": write.type.value})
    return revision


def _overwrite(connection: Connection, write: Write, values: Mapping[str, Any]) -> None:
    kind, name = write.row.kind, write.row.name
    where = {"_kind": kind, "_name": name, "_expected": write.expected}
    if write.type is ChangeType.DELETED:
        done = connection.execute(_DELETE, where)
    else:
        done = connection.execute(_UPDATE, {**values, **where})
    if done.rowcount == 1:
        return
    present = connection.execute(_PRESENT, where).scalar_one_or_none()
    if present is None:
        raise missing(kind, name)
    raise stale(kind, name, present=present, expected=write.expected or 0)


def _row(found: SqlRow[Any]) -> Row:
    return Row(**{name: getattr(found, name) for name in _ROW})
