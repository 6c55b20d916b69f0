"""Steps of migrations that may be repeated: databases that cannot undo DDL may stop between two."""

from collections.abc import Mapping
from typing import Any

import sqlalchemy as sa
from alembic import op

TEXT_OPTIONS: Mapping[str, Any] = {
    "mysql_engine": "InnoDB",
    "mysql_charset": "utf8mb4",
    "mysql_collate": "utf8mb4_bin",  # names that differ in case or accents are different names
}


def create_table_once(name: str, *columns: "sa.schema.SchemaItem") -> None:
    """Create a table unless it is there; it is created whole or not at all."""
    if not sa.inspect(op.get_bind()).has_table(name):
        op.create_table(name, *columns, **TEXT_OPTIONS)


def create_index_once(name: str, table: str, columns: list[str], *, unique: bool = False) -> None:
    """Create an index unless it is there."""
    present = {index["name"] for index in sa.inspect(op.get_bind()).get_indexes(table)}
    if name not in present:
        op.create_index(name, table, columns, unique=unique)


def add_column_once(table: str, column: "sa.Column[Any]") -> None:
    """Add a column unless it is there."""
    present = {each["name"] for each in sa.inspect(op.get_bind()).get_columns(table)}
    if column.name not in present:
        op.add_column(table, column)


def long_text() -> Any:
    """The text type that holds a whole object; MySQL's TEXT ends at 64 KiB."""
    if op.get_bind().dialect.name == "mysql":
        from sqlalchemy.dialects.mysql import LONGTEXT

        return LONGTEXT()
    return sa.Text()
