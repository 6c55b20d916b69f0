"""Places where a store can keep its rows: made fresh for one test, gone after it."""

import asyncio
import os
import secrets
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from aimindserve.kit.clock import Clock, SystemClock
from aimindserve.resources.user import UserSpec
from aimindserve.store.base import Backing, Draft
from aimindserve.store.memory import MemoryBacking
from aimindserve.store.resources import ResourceStore
from aimindserve.store.urls import backing_for

POSTGRES = "postgresql://postgres@127.0.0.1:5432/postgres"
MYSQL = "mysql://root@127.0.0.1:3306/mysql"


@dataclass(frozen=True)
class Place:
    """`backing()` gives one more way into the same rows."""

    name: str
    url: str
    backing: Callable[[], Backing]

    @property
    def shared(self) -> bool:
        return self.name != "sqlite"


class FastClock(SystemClock):
    """Real, but ten times as fast for whoever sleeps."""

    def monotonic(self) -> float:
        return super().monotonic() * 10

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds / 10)


@asynccontextmanager
async def opened(place: Place, clock: Clock | None = None) -> AsyncIterator[ResourceStore]:
    store = ResourceStore(place.backing(), clock or FastClock())
    await store.open()
    try:
        yield store
    finally:
        await store.close()


def draft(name: str, **spec: object) -> Draft:
    return Draft("user", name, UserSpec(**spec))


def child_environment() -> dict[str, str]:
    """For a child process that imports what this one can import."""
    return {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}


@contextmanager
def place(name: str, folder: Path) -> Iterator[Place]:
    if name == "memory":
        rows = MemoryBacking(shared=True)
        yield Place(name, "", lambda: rows)
    elif name == "sqlite":
        yield at(name, f"sqlite:///{folder / 'store.db'}")
    else:
        server = _server(name)
        database = f"aims_test_{secrets.token_hex(6)}"
        _ask(name, server, f"CREATE DATABASE {database}")
        try:
            yield at(name, urlsplit(server)._replace(path=f"/{database}").geturl())
        finally:
            force = " WITH (FORCE)" if name == "postgresql" else ""
            _ask(name, server, f"DROP DATABASE {database}{force}")


def at(name: str, url: str) -> Place:
    return Place(name, url, lambda: backing_for(url))


def _server(name: str) -> str:
    variable, default = {
        "postgresql": ("AIMS_TEST_POSTGRES_URL", POSTGRES),
        "mysql": ("AIMS_TEST_MYSQL_URL", MYSQL),
    }[name]
    url = os.environ.get(variable, default)
    try:
        _ask(name, url, "SELECT 1")
    except Exception as error:  # noqa: BLE001 - whatever stops it from answering
        why = f"no {name} server at {url} ({error}); set {variable}"
        if os.environ.get("CI"):
            pytest.fail(why)
        pytest.skip(why)
    return url


def _ask(name: str, url: str, statement: str) -> None:
    """Run one statement on the server itself, past everything under test."""
    asyncio.run(ask(name, url, statement))


async def ask(name: str, url: str, statement: str) -> object:
    """The first value that a statement returns."""
    parts = urlsplit(url)
    address = {
        "host": parts.hostname,
        "port": parts.port or (5432 if name == "postgresql" else 3306),
        "user": parts.username or "root",
        "password": parts.password or "",
        "database": parts.path.lstrip("/"),
    }
    if name == "postgresql":
        import asyncpg

        connection = await asyncpg.connect(**address, timeout=5)
        try:
            return await connection.fetchval(statement)
        finally:
            await connection.close()
    import asyncmy

    connection = await asyncmy.connect(**address, connect_timeout=5, autocommit=True)
    try:
        async with connection.cursor() as cursor:
            await cursor.execute(statement)
            row = await cursor.fetchone()
            return None if row is None else row[0]
    finally:
        await connection.ensure_closed()
