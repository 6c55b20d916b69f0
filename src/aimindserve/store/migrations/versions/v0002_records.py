"""The append-only records: events and audit."""

from typing import Any

import sqlalchemy as sa
from sqlalchemy.types import TypeEngine

from aimindserve.store.migrations.steps import create_index_once, create_table_once, long_text

revision = "0002"
down_revision = "0001"

COLUMNS = {
    "events": ("time", "kind", "name", "code", "params", "actor"),
    "audit": ("time", "actor", "client", "action", "kind", "name", "outcome"),
}


def upgrade() -> None:
    """Make the tables and their indexes."""
    number = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
    for table, names in COLUMNS.items():
        create_table_once(
            table,
            sa.Column("number", number, primary_key=True, autoincrement=True),
            *(sa.Column(name, _type(name), nullable=False) for name in names),
        )
        create_index_once(f"{table}_time", table, ["time"])
        create_index_once(f"{table}_object", table, ["kind", "name"])


def _type(column: str) -> TypeEngine[Any]:
    if column == "time":
        return sa.Double()
    return long_text() if column == "params" else sa.String(255)
