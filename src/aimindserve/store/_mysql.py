"""MySQL and MariaDB through asyncmy."""

import asyncio
import ssl
from collections.abc import Callable
from typing import Any, TypeVar

import asyncmy.errors
from sqlalchemy import Connection, Engine, create_engine, event, text
from sqlalchemy.engine import URL
from sqlalchemy.engine.interfaces import IsolationLevel
from sqlalchemy.exc import DBAPIError, SQLAlchemyError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from sqlalchemy.pool import NullPool

from aimindserve.core.errors import StoreUnavailableError
from aimindserve.store._dialect import (
    CHECKOUT_S,
    CONNECT_S,
    IDLE_IN_TRANSACTION_S,
    LOCK_S,
    MIGRATION_S,
    POOL,
    STATEMENT_S,
    TRANSACTION_S,
    Trouble,
)
from aimindserve.store._greenlet import run_blocking

T = TypeVar("T")

SCHEMA_LOCK = "aimindserve.schema"

_AGAIN = {1205, 1213}  # lock wait timeout, deadlock
_FULL = {1021, 1114, 1041, 3675}  # disk full, table full, out of memory, tablespace full
_REFUSED = {1044, 1045, 1049, 1142, 1698, 1227, 1290}
"""No right to the database, wrong password, no such database, no right to the table, plugin says
no, no such privilege, read-only."""
_DEFECT = {1048, 1054, 1062, 1064, 1136, 1146, 1264, 1292, 1364, 1366, 1406, 3140}
"""Null, unknown column, duplicate, syntax, column count, no such table, value out of range, wrong
value, no default, wrong text, too long, not JSON."""


class MySql:
    """A MySQL or MariaDB database."""

    shared = True
    snapshot: IsolationLevel = "REPEATABLE READ"
    errors = (SQLAlchemyError, OSError, asyncio.TimeoutError, EOFError, asyncmy.errors.MySQLError)

    def __init__(self, url: URL) -> None:
        query = dict(url.query)
        self._arguments: dict[str, Any] = {"charset": "utf8mb4", "connect_timeout": CONNECT_S}
        if query.get("ssl") == "true" or "ssl_ca" in query:
            authority = query.get("ssl_ca")
            self._arguments["ssl"] = ssl.create_default_context(
                cafile=authority if isinstance(authority, str) else None
            )
        self._url = url.set(drivername="mysql+asyncmy", query={})

    def claim(self, *, create: bool) -> None:
        """Others may use it too."""
        del create  # a database is made by its own administrator; its tables are looked for later

    def release(self) -> None:
        """Nothing was claimed."""

    def engine(self, *, patient: bool = False) -> Engine:
        """An engine whose connections give up by themselves, on both sides."""
        statement_s = MIGRATION_S if patient else STATEMENT_S
        arguments = {**self._arguments, "read_timeout": statement_s + 1}
        if patient:
            engine = create_engine(self._url, poolclass=NullPool, connect_args=arguments)
        else:
            engine = create_engine(
                self._url,
                isolation_level="READ COMMITTED",
                pool_size=POOL,
                max_overflow=0,
                pool_timeout=CHECKOUT_S,
                pool_pre_ping=True,
                pool_use_lifo=True,
                connect_args=arguments,
            )
        lock_s = MIGRATION_S if patient else LOCK_S

        def on_connect(connection: Any, _record: Any) -> None:
            _limit(connection, statement_s, lock_s)

        event.listen(engine, "connect", on_connect)
        return engine

    def judge(self, error: BaseException) -> Trouble:
        """What an error means, by its number."""
        cause = error.orig if isinstance(error, DBAPIError) else error
        code = cause.args[0] if cause is not None and cause.args else None
        if code in _AGAIN:
            return Trouble.AGAIN
        if code in _FULL or (code == 1030 and "28" in str(cause)):  # ENOSPC of a storage engine
            return Trouble.FULL
        if code in _REFUSED:
            return Trouble.REFUSED
        if code in _DEFECT:
            return Trouble.DEFECT
        if isinstance(error, DBAPIError | asyncmy.errors.MySQLError | PoolTimeoutError):
            return Trouble.AWAY
        away = isinstance(error, OSError | asyncio.TimeoutError | EOFError)
        return Trouble.AWAY if away else Trouble.DEFECT

    def lock_schema(self, connection: Connection) -> None:
        """Hold the named lock until the connection is closed: DDL would end a transaction's."""
        statement = text(f"SELECT GET_LOCK('{SCHEMA_LOCK}', {MIGRATION_S:.0f})")
        if connection.execute(statement).scalar_one() != 1:
            raise StoreUnavailableError("Another process has been migrating the database too long.")

    async def run(self, work: Callable[[], T], *, timeout_s: float | None = TRANSACTION_S) -> T:
        """Run `work` on the event loop."""
        return await run_blocking(work, timeout_s)

    async def stop(self) -> None:
        """Nothing runs besides the event loop."""


def _limit(connection: Any, statement_s: float, lock_s: float) -> None:
    """Let the server give up on statements, locks and forgotten transactions by itself.

    MariaDB and MySQL name these differently; the server says which of them it is.
    """
    cursor = connection.cursor()
    cursor.execute("SELECT VERSION()")
    if "mariadb" in str(cursor.fetchone()[0]).lower():
        limits = (
            f"max_statement_time = {statement_s:.0f}, "
            f"idle_transaction_timeout = {IDLE_IN_TRANSACTION_S:.0f}"
        )
    else:
        limits = f"max_execution_time = {statement_s * 1000:.0f}"
    cursor.execute(
        f"SET SESSION innodb_lock_wait_timeout = {lock_s:.0f}, lock_wait_timeout = {lock_s:.0f}, "
        + limits
    )
    cursor.close()
