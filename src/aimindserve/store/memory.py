"""Rows kept in memory: for tests, the simulation and `aimindserve demo`. Gone with the process.

It survives `close` and `open`, so that a simulated server may restart on it.
"""

from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import islice
from typing import Any

from aimindserve.store._refusals import missing, stale, taken
from aimindserve.store.base import ChangeRow, ChangeType, Row, Write
from aimindserve.store.records._record import RecordQuery, RecordRow


class MemoryBacking:
    """A backing without a database. `shared` says that several stores are opened on it."""

    def __init__(self, *, shared: bool = False) -> None:
        self._shared = shared
        self._revision = 0
        self._rows: dict[tuple[str, str], Row] = {}
        self._changes: deque[ChangeRow] = deque()
        self._records: dict[str, dict[str, RecordRow]] = {}
        """By table, by id, the newest last."""

    @property
    def shared(self) -> bool:
        """Whether others may write to it while it is open here."""
        return self._shared

    async def open(self) -> None:
        """Nothing to connect to."""

    async def close(self) -> None:
        """Nothing to let go of."""

    async def load(self) -> tuple[int, Sequence[Row]]:
        """The present revision and every row at it."""
        return self._revision, list(self._rows.values())

    async def commit(self, write: Write) -> int:
        """Apply one write; raises ExistsError, NotFoundError, StaleError."""
        key = (write.row.kind, write.row.name)
        _check(write, self._rows.get(key))
        self._revision += 1
        row = replace(write.row, revision=self._revision)
        if write.type is ChangeType.DELETED:
            del self._rows[key]
        else:
            self._rows[key] = row
        self._changes.append(ChangeRow(self._revision, write.type.value, row))
        return self._revision

    async def changes_since(self, revision: int, limit: int) -> Sequence[ChangeRow] | None:
        """Up to `limit` changes after `revision`; None when they are no longer kept."""
        first = self._revision - len(self._changes)
        if revision < first or revision > self._revision:
            return None
        return list(islice(self._changes, revision - first, revision - first + limit))

    async def trim(self, keep: int) -> None:
        """Forget all but the newest `keep` changes."""
        while len(self._changes) > keep:
            self._changes.popleft()

    async def add_records(self, table: str, rows: Sequence[Mapping[str, Any]]) -> None:
        """Append records; those whose id is there already replace it."""
        kept = self._records.setdefault(table, {})
        for row in rows:
            kept.pop(row["id"], None)
            kept[row["id"]] = dict(row)

    async def find_records(self, query: RecordQuery) -> Sequence[RecordRow]:
        """The newest records that match, newest first."""
        found = (row for row in reversed(self._of(query.table).values()) if query.matches(row))
        return list(islice(found, query.offset, query.offset + query.limit))

    async def count_records(self, query: RecordQuery) -> int:
        """How many records match."""
        return sum(query.matches(row) for row in self._of(query.table).values())

    async def trim_records(self, table: str, keep: int) -> None:
        """Forget all but the newest `keep` records."""
        kept = self._of(table)
        for id_ in list(islice(kept, max(0, len(kept) - keep))):
            del kept[id_]

    def _of(self, table: str) -> dict[str, RecordRow]:
        return self._records.get(table, {})


def _check(write: Write, present: Row | None) -> None:
    """Whether `write` fits what is there; raises ExistsError, NotFoundError, StaleError."""
    kind, name = write.row.kind, write.row.name
    if write.expected is None:
        if present is not None:
            raise taken(kind, name)
    elif present is None:
        raise missing(kind, name)
    elif present.revision != write.expected:
        raise stale(kind, name, present=present.revision, expected=write.expected)
