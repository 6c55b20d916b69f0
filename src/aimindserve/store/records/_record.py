"""Facts on record: how they are appended without waiting, written in batches, and found again.

    append ─▶ bounded queue ─▶ within a second ─▶ one transaction
                 full: the oldest go first, counted and logged

A record kind is one file: a frozen dataclass and a `RecordKind`. This file knows no record kind and
no database. Each record has an id, and one that is written again takes the place of the earlier: so
a batch may be repeated after an outage whose outcome nobody knows, and a record that counts may be
brought up to date. A record is lost only when the queue overflows or the process is killed within
that second.
"""

import asyncio
import json
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import TYPE_CHECKING, Any, Generic, Protocol, TypeVar

from aimindserve.core.errors import StorageFullError, StoreUnavailableError
from aimindserve.kit.clock import Clock
from aimindserve.kit.log import get_logger
from aimindserve.kit.secrets import new_id
from aimindserve.kit.tasks import TaskSupervisor

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

log = get_logger("records")

FLUSH_EVERY_S = 1.0
BATCH_MAX = 500
QUEUE_MAX = 10_000
LIMIT_MAX = 1_000
TEXT_MAX = 255
TRIM_EVERY = 1_000

R = TypeVar("R", bound="DataclassInstance")
RecordRow = Mapping[str, Any]
"""Column -> text or number; what is not a text or a number is JSON text."""


@dataclass(frozen=True, slots=True)
class RecordKind(Generic[R]):
    """A kind of record: a table whose columns are the fields of a flat dataclass."""

    table: str
    record: type[R]
    """Fields are str (cut at 255 characters), float, int or Mapping; one is `time`, in seconds, and
    one `id`, which may be empty until the record is appended."""
    kept: int
    """How many of the newest records stay."""

    @property
    def columns(self) -> Mapping[str, str]:
        """Column -> str, float, int, or json for what is kept as JSON text."""
        plain: dict[Any, str] = {str: "str", float: "float", int: "int"}
        return {column.name: plain.get(column.type, "json") for column in fields(self.record)}


@dataclass(frozen=True, slots=True)
class RecordQuery:
    """Which records to find: `since` <= time < `before`, and every column of `where` equal; of
    these, newest first, `limit` after the first `offset`."""

    table: str
    where: Mapping[str, str] = field(default_factory=dict[str, str])
    since: float | None = None
    before: float | None = None
    limit: int = 100
    offset: int = 0

    def matches(self, row: RecordRow) -> bool:
        """Whether a row is wanted."""
        if self.since is not None and row["time"] < self.since:
            return False
        if self.before is not None and row["time"] >= self.before:
            return False
        return all(row[column] == value for column, value in self.where.items())


class RecordKeeper(Protocol):
    """The part of a backing that keeps records; every backing has it."""

    async def add_records(self, table: str, rows: Sequence[RecordRow]) -> None:
        """Append records, all or none; those whose id is there already replace it. No id twice."""
        ...

    async def find_records(self, query: RecordQuery) -> Sequence[RecordRow]:
        """The newest records that match, newest first."""
        ...

    async def count_records(self, query: RecordQuery) -> int:
        """How many records match, whatever its limit and offset."""
        ...

    async def trim_records(self, table: str, keep: int) -> None:
        """Forget all but the newest `keep` records."""
        ...


class Records(Generic[R]):
    """The records of one kind; open it after its backing and close it before."""

    def __init__(
        self,
        kind: RecordKind[R],
        keeper: RecordKeeper,
        clock: Clock,
        ids: Callable[[], str] = new_id,
    ) -> None:
        """`ids` gives a new id."""
        self._kind = kind
        self._keeper = keeper
        self._clock = clock
        self._ids = ids
        self._tasks = TaskSupervisor(clock)
        self._queue: deque[RecordRow] = deque()
        self._writing = asyncio.Lock()
        self._appended = asyncio.Event()
        self._since_trim = 0
        self.dropped = 0
        """How many records were lost because the queue was full."""

    async def open(self) -> None:
        """Begin to write in the background."""
        self._tasks.keep_running(self._write_on, name=f"records.{self._kind.table}")

    async def close(self) -> None:
        """Write what is queued, if the database lets it, and stop."""
        try:
            await self.flush()
        except (StoreUnavailableError, StorageFullError) as error:
            log.error(
                "records.lost", table=self._kind.table, count=len(self._queue), why=str(error)
            )
        await self.stop()

    async def stop(self) -> None:
        """Stop writing and leave what is queued, as a killed process does."""
        await self._tasks.aclose()

    def append(self, record: R) -> None:
        """Queue a record. Never waits and never fails; the oldest go when the queue is full."""
        if len(self._queue) >= QUEUE_MAX:
            self._queue.popleft()
            if self.dropped % BATCH_MAX == 0:
                log.error("records.dropped", table=self._kind.table, count=self.dropped + 1)
            self.dropped += 1
        row = _to_row(record)
        self._queue.append(row if row["id"] else {**row, "id": self._ids()})
        self._appended.set()

    async def query(
        self,
        *,
        since: float | None = None,
        before: float | None = None,
        limit: int = 100,
        offset: int = 0,
        **where: str | None,
    ) -> Sequence[R]:
        """The newest records with `since` <= time < `before` and the given columns, newest first,
        including those appended just now. Raises StoreUnavailableError, StorageFullError."""
        query = self._asked(since, before, where)
        query = replace(query, limit=max(1, min(limit, LIMIT_MAX)), offset=max(0, offset))
        await self.flush()
        rows = await self._keeper.find_records(query)
        return [_from_row(self._kind, row) for row in rows]

    async def count(
        self, *, since: float | None = None, before: float | None = None, **where: str | None
    ) -> int:
        """How many records `query` would find without a limit; raises as it does."""
        query = self._asked(since, before, where)
        await self.flush()
        return await self._keeper.count_records(query)

    async def flush(self) -> None:
        """Write everything queued; raises StoreUnavailableError, StorageFullError."""
        async with self._writing:
            while self._queue:
                batch = [self._queue.popleft() for _ in range(min(BATCH_MAX, len(self._queue)))]
                try:
                    await self._keeper.add_records(self._kind.table, _each_once(batch))
                except BaseException:
                    self._put_back(batch)
                    raise
                self._since_trim += len(batch)
            if self._since_trim >= TRIM_EVERY:
                await self._keeper.trim_records(self._kind.table, self._kind.kept)
                self._since_trim = 0

    def _asked(
        self, since: float | None, before: float | None, where: Mapping[str, str | None]
    ) -> RecordQuery:
        unknown = sorted(where.keys() - self._kind.columns.keys())
        if unknown:
            raise TypeError(f"{self._kind.table} has no column {', '.join(unknown)}")
        wanted = {name: _clean(text) for name, text in where.items() if text is not None}
        return RecordQuery(self._kind.table, wanted, since, before)

    def _put_back(self, batch: Iterable[RecordRow]) -> None:
        for row in reversed(list(batch)):
            if len(self._queue) >= QUEUE_MAX:
                self.dropped += 1
            else:
                self._queue.appendleft(row)

    async def _write_on(self) -> None:
        away = False
        while True:
            if not self._queue:
                self._appended.clear()
                await self._appended.wait()
            await self._clock.sleep(FLUSH_EVERY_S)
            try:
                await self.flush()
            except (StoreUnavailableError, StorageFullError) as error:
                if not away:
                    log.warning("records.waiting", table=self._kind.table, why=error.message)
                away = True
            else:
                away = False


def _to_row(record: "DataclassInstance") -> RecordRow:
    return {column.name: _to_column(getattr(record, column.name)) for column in fields(record)}


def _to_column(value: Any) -> Any:
    if isinstance(value, str):
        return _clean(value)
    if isinstance(value, (int, float)):
        return value
    return json.dumps(dict(value), sort_keys=True, default=str)


def _clean(text: str) -> str:
    """`text` as every database takes it: no NUL, no half of a surrogate pair, not too long."""
    cut = text[:TEXT_MAX].replace("\x00", "\N{REPLACEMENT CHARACTER}")
    return cut.encode("utf-8", "replace").decode("utf-8")


def _from_row(kind: RecordKind[R], row: RecordRow) -> R:
    values = {
        name: json.loads(row[name]) if column == "json" else _known(row[name])
        for name, column in kind.columns.items()
    }
    return kind.record(**values)


def _each_once(batch: Iterable[RecordRow]) -> Sequence[RecordRow]:
    """The last row of each id, in the order of those."""
    newest: dict[str, RecordRow] = {}
    for row in batch:
        newest.pop(row["id"], None)
        newest[row["id"]] = row
    return list(newest.values())


def _known(value: Any) -> Any:
    """What older programs wrote has no id."""
    return "" if value is None else value
