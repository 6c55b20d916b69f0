"""Records have an id; events count how often the same thing happened, and know its reason."""

from typing import Any

import sqlalchemy as sa
from alembic import op
from sqlalchemy.types import TypeEngine

from aimindserve.store.migrations.steps import (
    add_column_once,
    create_index_once,
    create_table_once,
    long_text,
)

revision = "0003"
down_revision = "0002"

EVENT = ("time", "kind", "name", "code", "reason", "params", "count", "first_time")


def upgrade() -> None:
    """Audit entries stay, without an id: a unique index allows any number of those. The events'
    table is made anew, because no program has ever written to the one of version 0002."""
    add_column_once("audit", sa.Column("id", sa.String(255), nullable=True))
    create_index_once("audit_id", "audit", ["id"], unique=True)
    known = sa.inspect(op.get_bind())
    if known.has_table("events") and not any(
        column["name"] == "count" for column in known.get_columns("events")
    ):
        op.drop_table("events")
    number = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
    create_table_once(
        "events",
        sa.Column("number", number, primary_key=True, autoincrement=True),
        *(sa.Column(name, _type(name), nullable=False) for name in EVENT),
        sa.Column("id", sa.String(255), nullable=True),
    )
    create_index_once("events_time", "events", ["time"])
    create_index_once("events_object", "events", ["kind", "name"])
    create_index_once("events_id", "events", ["id"], unique=True)


def _type(column: str) -> TypeEngine[Any]:
    if column in {"time", "first_time"}:
        return sa.Double()
    if column == "count":
        return sa.BigInteger()
    return long_text() if column == "params" else sa.String(255)
