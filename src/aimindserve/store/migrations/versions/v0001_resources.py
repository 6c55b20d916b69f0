"""Resources, their changes, and the counter of revisions."""

import sqlalchemy as sa
from alembic import op

from aimindserve.store.migrations.steps import create_table_once, long_text

revision = "0001"
down_revision = None


def upgrade() -> None:
    """Make the three tables, and the counter's one row."""
    create_table_once(
        "resources",
        sa.Column("kind", sa.String(63), primary_key=True),
        sa.Column("name", sa.String(63), primary_key=True),
        sa.Column("id", sa.String(63), nullable=False),
        sa.Column("spec", long_text(), nullable=False),
        sa.Column("status", long_text(), nullable=False),
        sa.Column("labels", long_text(), nullable=False),
        sa.Column("generation", sa.BigInteger, nullable=False),
        sa.Column("revision", sa.BigInteger, nullable=False),
        sa.Column("created_at", sa.Double, nullable=False),
    )
    create_table_once(
        "changes",
        sa.Column("revision", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("type", sa.String(16), nullable=False),
        sa.Column("kind", sa.String(63), nullable=False),
        sa.Column("name", sa.String(63), nullable=False),
        sa.Column("id", sa.String(63), nullable=False),
        sa.Column("spec", long_text(), nullable=False),
        sa.Column("status", long_text(), nullable=False),
        sa.Column("labels", long_text(), nullable=False),
        sa.Column("generation", sa.BigInteger, nullable=False),
        sa.Column("created_at", sa.Double, nullable=False),
    )
    create_table_once(
        "counter",
        sa.Column("id", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("revision", sa.BigInteger, nullable=False),
    )
    counter = sa.table("counter", sa.column("id", sa.Integer), sa.column("revision", sa.BigInteger))
    if op.get_bind().execute(sa.select(counter.c.id)).first() is None:
        op.get_bind().execute(sa.insert(counter).values(id=1, revision=0))
