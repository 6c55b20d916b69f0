"""What drivers raise, and what it means; the numbers are those of the databases' manuals."""

import asyncio
import sqlite3
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy.engine import make_url
from sqlalchemy.exc import DBAPIError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from aimindserve.store._dialect import Trouble
from aimindserve.store._sqlite import Sqlite


class DriverError(Exception):
    def __init__(self, *args: Any, sqlstate: str | None = None) -> None:
        super().__init__(*args)
        self.sqlstate = sqlstate


def wrapped(cause: Exception) -> DBAPIError:
    return OperationalError("SELECT 1", {}, cause)


@pytest.mark.parametrize(
    ("words", "trouble"),
    [
        ("database or disk is full", Trouble.FULL),
        ("database is locked", Trouble.AWAY),
        ("disk I/O error", Trouble.AWAY),
        ("unable to open database file", Trouble.AWAY),
        ("file is not a database", Trouble.REFUSED),
        ("database disk image is malformed", Trouble.REFUSED),
        ("attempt to write a readonly database", Trouble.REFUSED),
        ('near "SELEC": syntax error', Trouble.DEFECT),
    ],
)
def test_sqlite(words: str, trouble: Trouble, tmp_path: Path) -> None:
    dialect = Sqlite(tmp_path / "x.db")
    assert dialect.judge(wrapped(sqlite3.OperationalError(words))) is trouble
    assert dialect.judge(sqlite3.OperationalError(words)) is trouble


@pytest.mark.parametrize(
    ("code", "trouble"),
    [
        ("40001", Trouble.AGAIN),
        ("40P01", Trouble.AGAIN),
        ("55P03", Trouble.AGAIN),
        ("53100", Trouble.FULL),
        ("53300", Trouble.AWAY),  # too many connections
        ("57P01", Trouble.AWAY),  # the server is shut down
        ("57014", Trouble.AWAY),  # the statement took too long
        ("08006", Trouble.AWAY),
        ("28P01", Trouble.REFUSED),
        ("3D000", Trouble.REFUSED),
        ("42601", Trouble.DEFECT),
        ("23502", Trouble.DEFECT),
    ],
)
def test_postgresql(code: str, trouble: Trouble) -> None:
    postgres = pytest.importorskip("aimindserve.store._postgres")
    dialect = postgres.Postgres(make_url("postgresql://u@h/d"))
    assert dialect.judge(wrapped(DriverError("x", sqlstate=code))) is trouble
    assert dialect.judge(DriverError("x", sqlstate=code)) is trouble


@pytest.mark.parametrize(
    ("code", "trouble"),
    [
        (1213, Trouble.AGAIN),
        (1205, Trouble.AGAIN),
        (1021, Trouble.FULL),
        (1114, Trouble.FULL),
        (2006, Trouble.AWAY),
        (2013, Trouble.AWAY),
        (2003, Trouble.AWAY),
        (1040, Trouble.AWAY),  # too many connections
        (1969, Trouble.AWAY),  # the statement took too long
        (1045, Trouble.REFUSED),
        (1049, Trouble.REFUSED),
        (1064, Trouble.DEFECT),
        (1062, Trouble.DEFECT),
    ],
)
def test_mysql(code: int, trouble: Trouble) -> None:
    mysql = pytest.importorskip("aimindserve.store._mysql")
    dialect = mysql.MySql(make_url("mysql://u@h/d"))
    assert dialect.judge(wrapped(DriverError(code, "x"))) is trouble


def test_a_storage_engine_without_room_is_full() -> None:
    mysql = pytest.importorskip("aimindserve.store._mysql")
    dialect = mysql.MySql(make_url("mysql://u@h/d"))
    full = wrapped(DriverError(1030, 'Got error 28 "No space left on device"'))
    assert dialect.judge(full) is Trouble.FULL


@pytest.mark.parametrize(
    "error",
    [ConnectionRefusedError(), asyncio.TimeoutError(), PoolTimeoutError("no connection left")],
)
@pytest.mark.parametrize("module", ["_postgres", "_mysql"])
def test_no_answer_is_away(error: Exception, module: str) -> None:
    loaded = pytest.importorskip(f"aimindserve.store.{module}")
    dialect = {"_postgres": "Postgres", "_mysql": "MySql"}[module]
    assert getattr(loaded, dialect)(make_url("x://u@h/d")).judge(error) is Trouble.AWAY
