"""SQLite: one process, one thread, one connection.

A whole transaction is one hop into the thread, not one hop for each statement, and a caller who is
cancelled cannot stop it half-way. With a single connection nobody else writes or checkpoints, so
that "database is locked" and the WAL-reset defect of SQLite before 3.51.3 (two connections at once;
sqlite.org/wal.html) cannot happen. A lock file keeps a second process out and names the first.
"""

import asyncio
import os
import shutil
import sqlite3
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.engine import URL
from sqlalchemy.exc import DBAPIError, SQLAlchemyError

from aimindserve.core.errors import SettingsError
from aimindserve.kit.lockfile import LockFile
from aimindserve.kit.units import MIB
from aimindserve.store._dialect import TRANSACTION_S, Trouble
from aimindserve.store._refusals import no_database

T = TypeVar("T")

BUSY_MS = 5_000
ROOM_BYTES = MIB
"""With less than this free on the disk, an I/O error means that it is full."""


class Sqlite:
    """A database in the file `path`."""

    shared = False
    snapshot = None
    errors = (SQLAlchemyError, OSError, sqlite3.Error)

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = LockFile(path.with_name(path.name + ".lock"))
        self._thread: ThreadPoolExecutor | None = None

    def claim(self, *, create: bool) -> None:
        """Make the directory and take the lock file; raises SettingsError, NotFoundError."""
        if not create and not self._path.is_file():
            raise no_database(str(self._path))
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            holder = self._lock.take()
            if holder is None:
                # Made by us, because it holds credentials and SQLite would let everybody read it.
                os.close(os.open(self._path, os.O_RDWR | os.O_CREAT, 0o600))
        except OSError as error:
            self._lock.release()
            raise SettingsError(
                f"The database {self._path} cannot be opened: {error.strerror or error}.",
                hint="Choose a data directory that this user may write to.",
                params={"path": str(self._path)},
            ) from error
        if holder is not None:
            raise SettingsError(
                f"The database {self._path} is in use by process {holder}.",
                hint="Stop that process, or start this one with another data directory.",
                params={"path": str(self._path), "pid": holder},
            )

    def release(self) -> None:
        """Give the lock file back."""
        self._lock.release()

    def engine(self, *, patient: bool = False) -> Engine:
        """An engine of one connection."""
        del patient  # a thread waits for as long as it takes
        engine = create_engine(
            URL.create("sqlite+pysqlite", database=str(self._path)),
            pool_size=1,
            max_overflow=0,
            connect_args={"timeout": BUSY_MS / 1000, "check_same_thread": False},
        )
        event.listen(engine, "connect", _on_connect)
        event.listen(engine, "begin", _on_begin)
        return engine

    def judge(self, error: BaseException) -> Trouble:
        """What an error means; SQLite says it in words (codes exist from Python 3.11 on only)."""
        text = str(error.orig if isinstance(error, DBAPIError) else error).lower()
        if "disk is full" in text:
            return Trouble.FULL
        if "not a database" in text or "malformed" in text or "readonly" in text:
            return Trouble.REFUSED
        if "disk i/o error" in text or "unable to open" in text:
            return Trouble.FULL if self._is_full() else Trouble.AWAY
        if "locked" in text or isinstance(error, OSError):
            return Trouble.AWAY
        return Trouble.DEFECT

    def lock_schema(self, connection: Connection) -> None:
        """The lock file has done it."""

    async def run(self, work: Callable[[], T], *, timeout_s: float | None = TRANSACTION_S) -> T:
        """Run `work` in the database's thread. A thread cannot be stopped: there is no timeout."""
        del timeout_s
        if self._thread is None:
            self._thread = ThreadPoolExecutor(1, thread_name_prefix="sqlite")
        return await asyncio.get_running_loop().run_in_executor(self._thread, work)

    async def stop(self) -> None:
        """End the thread, which has nothing left to do."""
        if self._thread is not None:
            self._thread.shutdown(wait=False)
            self._thread = None

    def _is_full(self) -> bool:
        try:
            return shutil.disk_usage(self._path.parent).free < ROOM_BYTES
        except OSError:
            return False


def _on_connect(connection: Any, _record: Any) -> None:
    connection.isolation_level = None  # we begin transactions, not the driver
    cursor = connection.cursor()
    for pragma in (
        "journal_mode = WAL",
        "synchronous = FULL",  # what was acknowledged survives a power cut
        f"busy_timeout = {BUSY_MS}",
        "foreign_keys = ON",
    ):
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()


def _on_begin(connection: Connection) -> None:
    # IMMEDIATE: a transaction that reads first and writes later would fail at once, whatever the
    # busy timeout, if anybody (a backup, say) wrote in between.
    connection.exec_driver_sql("BEGIN IMMEDIATE")
