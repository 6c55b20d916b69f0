"""PostgreSQL through asyncpg."""

import asyncio
from collections.abc import Callable
from typing import Any, TypeVar

import asyncpg
from sqlalchemy import Connection, Engine, create_engine, text
from sqlalchemy.engine import URL
from sqlalchemy.engine.interfaces import IsolationLevel
from sqlalchemy.exc import DBAPIError, SQLAlchemyError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from sqlalchemy.pool import NullPool

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

SCHEMA_LOCK = 0x61696D73
"""The number of our advisory lock: "aims"."""

_AGAIN = {"40001", "40P01", "55P03"}  # serialization failure, deadlock, lock timeout
_FULL = {"53100"}  # disk full
_REFUSED = {"28000", "28P01", "3D000", "42501", "25006"}
"""Wrong user, wrong password, no such database, no such right, read-only."""
_AWAY_CLASSES = ("08", "53", "57", "58")
"""Connection, resources, operator intervention, system error."""


class Postgres:
    """A PostgreSQL database."""

    shared = True
    snapshot: IsolationLevel = "REPEATABLE READ"
    errors = (
        SQLAlchemyError,
        OSError,
        asyncio.TimeoutError,
        asyncpg.PostgresError,
        asyncpg.InterfaceError,
    )

    def __init__(self, url: URL) -> None:
        query = dict(url.query)
        self._ssl = query.pop("sslmode", None)
        self._url = url.set(drivername="postgresql+asyncpg", query={})

    def claim(self, *, create: bool) -> None:
        """Others may use it too."""
        del create  # a database is made by its own administrator; its tables are looked for later

    def release(self) -> None:
        """Nothing was claimed."""

    def engine(self, *, patient: bool = False) -> Engine:
        """An engine whose connections give up by themselves, on both sides."""
        statement_s = MIGRATION_S if patient else STATEMENT_S
        lock_s = MIGRATION_S if patient else LOCK_S
        settings = {
            "application_name": "aimindserve",
            "statement_timeout": f"{statement_s:.0f}s",
            "lock_timeout": f"{lock_s:.0f}s",
            "idle_in_transaction_session_timeout": f"{IDLE_IN_TRANSACTION_S:.0f}s",
        }
        arguments: dict[str, Any] = {
            "timeout": CONNECT_S,
            "command_timeout": statement_s + 1,  # later than the server's own
            "server_settings": settings,
        }
        if self._ssl is not None:
            arguments["ssl"] = self._ssl
        if patient:
            return create_engine(self._url, poolclass=NullPool, connect_args=arguments)
        return create_engine(
            self._url,
            isolation_level="READ COMMITTED",
            pool_size=POOL,
            max_overflow=0,
            pool_timeout=CHECKOUT_S,
            pool_pre_ping=True,
            pool_use_lifo=True,
            connect_args=arguments,
        )

    def judge(self, error: BaseException) -> Trouble:
        """What an error means, by its SQLSTATE."""
        code = getattr(error.orig if isinstance(error, DBAPIError) else error, "sqlstate", None)
        if code in _AGAIN:
            return Trouble.AGAIN
        if code in _FULL:
            return Trouble.FULL
        if code in _REFUSED:
            return Trouble.REFUSED
        if isinstance(code, str):
            return Trouble.AWAY if code.startswith(_AWAY_CLASSES) else Trouble.DEFECT
        if isinstance(error, DBAPIError):
            return Trouble.AWAY if _is_broken(error) else Trouble.DEFECT
        away = (OSError, asyncio.TimeoutError, PoolTimeoutError, asyncpg.InterfaceError)
        return Trouble.AWAY if isinstance(error, away) else Trouble.DEFECT

    def lock_schema(self, connection: Connection) -> None:
        """Hold the advisory lock until the transaction ends."""
        connection.execute(text(f"SELECT pg_advisory_xact_lock({SCHEMA_LOCK})"))

    async def run(self, work: Callable[[], T], *, timeout_s: float | None = TRANSACTION_S) -> T:
        """Run `work` on the event loop."""
        return await run_blocking(work, timeout_s)

    async def stop(self) -> None:
        """Nothing runs besides the event loop."""


def _is_broken(error: DBAPIError) -> bool:
    """Whether a driver's error without a SQLSTATE is about the connection."""
    return (
        error.connection_invalidated
        or isinstance(error.orig, OSError)
        or ("connection" in str(error.orig).lower())
    )
