"""What happened in a run, as lines with a running hash: equal hashes mean equal runs.

Every commit of the store and every engine start is a line. Secrets are random even here, so specs
are left out; statuses are in, because that is where two runs would differ first.
"""

import hashlib
from collections import deque
from collections.abc import Callable, Sequence

from aimindserve.store.base import ChangeRow, Row, Write
from aimindserve.store.memory import MemoryBacking
from aimindserve.store.records._record import RecordQuery, RecordRow

KEPT = 400


class Trace:
    """The lines of one run. Only the newest are kept, all are hashed."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._hash = hashlib.sha256()
        self._newest: deque[str] = deque(maxlen=KEPT)
        self.lines = 0

    def add(self, what: str, *words: object, hidden: str = "") -> None:
        """Note that something happened now. `hidden` is hashed but not shown."""
        line = f"{self._clock():12.4f} {what} {' '.join(str(word) for word in words)}".rstrip()
        self._hash.update(line.encode())
        self._hash.update(hidden.encode())
        self._newest.append(line)
        self.lines += 1

    @property
    def digest(self) -> str:
        """The hash of everything so far."""
        return self._hash.hexdigest()

    def newest(self, count: int = 60) -> Sequence[str]:
        """The last lines, for people."""
        return list(self._newest)[-count:]


class TracedBacking:
    """A backing whose every commit is noted, in the order of revisions, and every event."""

    def __init__(
        self, backing: MemoryBacking, trace: Trace, watch: Callable[[ChangeRow], None] | None = None
    ) -> None:
        self._backing = backing
        self._trace = trace
        self._watch = watch

    @property
    def shared(self) -> bool:
        return self._backing.shared

    async def open(self) -> None:
        await self._backing.open()

    async def close(self) -> None:
        await self._backing.close()

    async def load(self) -> tuple[int, Sequence[Row]]:
        return await self._backing.load()

    async def commit(self, write: Write) -> int:
        revision = await self._backing.commit(write)
        row = write.row
        self._trace.add(write.type.value, revision, row.kind, row.name, hidden=row.status)
        if self._watch is not None:
            self._watch(ChangeRow(revision, write.type.value, row))
        return revision

    async def changes_since(self, revision: int, limit: int) -> Sequence[ChangeRow] | None:
        return await self._backing.changes_since(revision, limit)

    async def trim(self, keep: int) -> None:
        await self._backing.trim(keep)

    async def add_records(self, table: str, rows: Sequence[RecordRow]) -> None:
        for row in rows:
            told = (row[name] for name in ("kind", "name", "code", "reason", "count"))
            self._trace.add("EVENT", *told, hidden=str(row["params"]))
        await self._backing.add_records(table, rows)

    async def find_records(self, query: RecordQuery) -> Sequence[RecordRow]:
        return await self._backing.find_records(query)

    async def count_records(self, query: RecordQuery) -> int:
        return await self._backing.count_records(query)

    async def trim_records(self, table: str, keep: int) -> None:
        await self._backing.trim_records(table, keep)
