"""Scheduling decisions outlive the server, with the questions they answer."""

from typing import Any

import sqlalchemy as sa
from sqlalchemy.types import TypeEngine

from aimindserve.store.migrations.steps import (
    create_index_once,
    create_table_once,
    long_text,
)

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    """Two tables of records."""
    _records("decisions", "record")
    _records("questions", "packed")


def _records(table: str, content: str) -> None:
    number = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
    create_table_once(
        table,
        sa.Column("number", number, primary_key=True, autoincrement=True),
        *(
            sa.Column(name, _type(name), nullable=False)
            for name in ("time", "kind", "name", content)
        ),
        sa.Column("id", sa.String(255), nullable=True),
    )
    create_index_once(f"{table}_time", table, ["time"])
    create_index_once(f"{table}_object", table, ["kind", "name"])
    create_index_once(f"{table}_id", table, ["id"], unique=True)


def _type(column: str) -> TypeEngine[Any]:
    if column == "time":
        return sa.Double()
    return sa.String(255) if column in {"kind", "name"} else long_text()
