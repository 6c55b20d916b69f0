"""The append-only records: events and audit."""

import sqlalchemy as sa

from aimindserve.store.migrations.steps import create_index_once, create_table_once, long_text

revision = "0002"
down_revision = "0001"

TEXTS = {
    "events": ("kind", "name", "code", "actor"),
    "audit": ("actor", "client", "action", "kind", "name", "outcome"),
}


def upgrade() -> None:
    """Make the tables and their indexes."""
    number = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
    for table, texts in TEXTS.items():
        extra = [sa.Column("params", long_text(), nullable=False)] if table == "events" else []
        create_table_once(
            table,
            sa.Column("number", number, primary_key=True, autoincrement=True),
            sa.Column("time", sa.Double, nullable=False),
            *(sa.Column(text, sa.String(255), nullable=False) for text in texts),
            *extra,
        )
        create_index_once(f"{table}_time", table, ["time"])
        create_index_once(f"{table}_object", table, ["kind", "name"])
