"""One SQL database: whole transactions go in, results or our own errors come out.

Every transaction runs to its end even when its caller is cancelled, has a time limit, and is tried
again when the database says that it got in others' way. It must not know any table.
"""

import asyncio
from collections.abc import Callable
from functools import partial
from pathlib import Path
from random import Random
from typing import TypeVar

from sqlalchemy import Connection, Engine
from sqlalchemy.engine import make_url
from sqlalchemy.engine.interfaces import IsolationLevel

from aimindserve.core.errors import (
    AimsError,
    SettingsError,
    StorageFullError,
    StoreUnavailableError,
)
from aimindserve.kit.clock import Clock
from aimindserve.kit.log import get_logger
from aimindserve.kit.tasks import TaskSupervisor
from aimindserve.store import _migrate
from aimindserve.store._dialect import MIGRATION_S, TRANSACTION_S, Dialect, Trouble
from aimindserve.store._refusals import no_database
from aimindserve.store.urls import check_url, masked

log = get_logger("store")

T = TypeVar("T")

TRIES = 5
PAUSE_FIRST_S = 0.01


class Database:
    """A database at a URL. `run` may be called by many tasks at once."""

    def __init__(self, url: str, clock: Clock, random: Random, *, create: bool = True) -> None:
        self._url = masked(url)
        self._dialect = _dialect(url)
        self._create = create
        self._clock = clock
        self._random = random
        self._tasks = TaskSupervisor(clock)
        self._engine: Engine | None = None
        self._running = 0
        self._idle = asyncio.Event()

    @property
    def shared(self) -> bool:
        """Whether several processes may use it at once."""
        return self._dialect.shared

    async def open(self) -> None:
        """Connect and bring the schema up to date; raises SettingsError, StoreUnavailableError,
        StorageFullError, and NotFoundError where nothing is to be created."""
        self._tasks = TaskSupervisor(self._clock)
        self._idle = asyncio.Event()
        self._dialect.claim(create=self._create)
        self._engine = self._dialect.engine()
        try:
            if not self._create and await self.run(_migrate.version) is None:
                raise no_database(self._url)
            if await self.run(_migrate.is_needed):
                await self._migrate()
        except BaseException:
            await self.close()
            raise

    async def probe(self) -> None:
        """Connect once, read the schema's version and change nothing; raises as `open` does."""
        self._engine = self._dialect.engine()
        try:
            await self.run(_migrate.is_needed)
        finally:
            await self.close()

    async def close(self) -> None:
        """Let transactions in progress end, then go of every connection and of the file."""
        engine, self._engine = self._engine, None
        # Ending them is sure, they have a time limit; cancelling one would leave its connection
        # half-closed.
        while self._running:
            self._idle.clear()
            await self._idle.wait()
        await self._tasks.aclose()
        if engine is not None:
            await self._dialect.run(engine.dispose)
        await self._dialect.stop()
        self._dialect.release()

    async def run(self, work: Callable[[Connection], T], *, snapshot: bool = False) -> T:
        """The result of `work` in a transaction of its own, which may be run several times; with
        `snapshot`, all its reads see one moment.

        Raises what `work` raises, StoreUnavailableError, StorageFullError, SettingsError.
        """
        level = self._dialect.snapshot if snapshot else None
        for attempt in range(TRIES):
            if self._engine is None:
                raise StoreUnavailableError("The database is closed.")
            transaction = partial(_transact, self._engine, work, level)
            try:
                return await self._finish(transaction, TRANSACTION_S)
            except self._dialect.errors as error:
                trouble = self._dialect.judge(error)
                if trouble is not Trouble.AGAIN or attempt == TRIES - 1:
                    raise self._translated(error, trouble) from error
            await self._clock.sleep(self._random.uniform(0, PAUSE_FIRST_S * 2**attempt))
        raise AssertionError("unreachable")

    async def _migrate(self) -> None:
        engine = self._dialect.engine(patient=True)
        log.info("database.migrating", url=self._url)

        def work(connection: Connection) -> None:
            self._dialect.lock_schema(connection)
            _migrate.upgrade(connection)

        try:
            await self._finish(partial(_transact, engine, work, None), MIGRATION_S * 2)
        except self._dialect.errors as error:
            raise self._translated(error, self._dialect.judge(error)) from error
        finally:
            await self._dialect.run(engine.dispose)

    async def _finish(self, work: Callable[[], T], timeout_s: float) -> T:
        self._running += 1
        return await self._tasks.finish(self._counted(work, timeout_s), name="database.transaction")

    async def _counted(self, work: Callable[[], T], timeout_s: float) -> T:
        try:
            return await self._dialect.run(work, timeout_s=timeout_s)
        finally:
            self._running -= 1
            self._idle.set()

    def _translated(self, error: Exception, trouble: Trouble) -> Exception:
        """Our error for a driver's, or the driver's own when the mistake is ours."""
        params = {"url": self._url, "error": _first_line(error)}
        translated: AimsError
        if trouble is Trouble.FULL:
            translated = StorageFullError(
                "The disk behind the database is full.",
                hint="Make room; nothing has to be restarted.",
                params=params,
            )
        elif trouble is Trouble.REFUSED:
            translated = SettingsError(
                f"The database {self._url} refuses to be used: {params['error']}",
                hint="Check the database URL, the file, and the rights of its user.",
                params=params,
            )
        elif trouble is Trouble.DEFECT:
            return error
        else:
            translated = StoreUnavailableError(
                "The database does not answer.",
                hint="Running models go on serving. Try again when it is back.",
                params=params,
            )
        return translated


def _dialect(url: str) -> Dialect:
    """Only the dialect that is used is imported."""
    name = check_url(url)
    parsed = make_url(url)
    if name == "sqlite":
        from aimindserve.store._sqlite import Sqlite

        return Sqlite(Path(parsed.database or ""))
    if name == "postgresql":
        from aimindserve.store._postgres import Postgres

        return Postgres(parsed)
    from aimindserve.store._mysql import MySql

    return MySql(parsed)


def _transact(engine: Engine, work: Callable[[Connection], T], level: IsolationLevel | None) -> T:
    with engine.connect() as connection:
        if level is not None:
            connection.execution_options(isolation_level=level)
        with connection.begin():
            return work(connection)


def _first_line(error: Exception) -> str:
    """What the driver said, without the statement and its values."""
    cause = getattr(error, "orig", None) or error
    text = str(cause).strip() or type(cause).__name__
    return text.splitlines()[0][:300]
