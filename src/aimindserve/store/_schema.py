"""The tables as queries see them. Migrations make them; a test holds both against each other.

It must not know how a database is reached.
"""

from collections.abc import Mapping
from typing import Any

from sqlalchemy import (
    BigInteger,
    Column,
    Double,
    Index,
    Integer,
    MetaData,
    String,
    Table,
    Text,
)
from sqlalchemy.types import TypeEngine

from aimindserve.store.records._record import TEXT_MAX, RecordKind
from aimindserve.store.records.audit import AUDIT
from aimindserve.store.records.decisions import DECISIONS, QUESTIONS
from aimindserve.store.records.events import EVENTS

SCHEMA = ("0001", "0002", "0003", "0004")
"""Every version of the schema that this program knows, oldest first."""

metadata = MetaData()

resources = Table(
    "resources",
    metadata,
    Column("kind", String(63), primary_key=True),
    Column("name", String(63), primary_key=True),
    Column("id", String(63), nullable=False),
    Column("spec", Text, nullable=False),
    Column("status", Text, nullable=False),
    Column("labels", Text, nullable=False),
    Column("generation", BigInteger, nullable=False),
    Column("revision", BigInteger, nullable=False),
    Column("created_at", Double, nullable=False),
)

changes = Table(
    "changes",
    metadata,
    Column("revision", BigInteger, primary_key=True, autoincrement=False),
    Column("type", String(16), nullable=False),
    Column("kind", String(63), nullable=False),
    Column("name", String(63), nullable=False),
    Column("id", String(63), nullable=False),
    Column("spec", Text, nullable=False),
    Column("status", Text, nullable=False),
    Column("labels", Text, nullable=False),
    Column("generation", BigInteger, nullable=False),
    Column("created_at", Double, nullable=False),
)

counter = Table(
    "counter",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=False),
    Column("revision", BigInteger, nullable=False),
)

_TYPES: Mapping[str, TypeEngine[Any]] = {
    "str": String(TEXT_MAX),
    "float": Double(),
    "int": BigInteger(),
    "json": Text(),
}


def _record_table(kind: RecordKind[Any]) -> Table:
    columns = [
        # What version 0002 wrote has no id.
        Column(name, _TYPES[type_], nullable=name == "id")
        for name, type_ in kind.columns.items()
    ]
    number = BigInteger().with_variant(Integer(), "sqlite")  # SQLite counts only INTEGER keys
    return Table(
        kind.table,
        metadata,
        Column("number", number, primary_key=True, autoincrement=True),
        *columns,
        Index(f"{kind.table}_time", "time"),
        Index(f"{kind.table}_object", "kind", "name"),
        Index(f"{kind.table}_id", "id", unique=True),
    )


records = {kind.table: _record_table(kind) for kind in (EVENTS, AUDIT, DECISIONS, QUESTIONS)}
