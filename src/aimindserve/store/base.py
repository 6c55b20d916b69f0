"""The store's two seams: what everybody uses, and what a database must give.

    Store    what controllers and server see: reads from memory, writes with an expected revision,
             watches that resume. One implementation, `store.resources.ResourceStore`.
    Backing  what keeps it: memory, or SQL (SQLite, PostgreSQL, MySQL/MariaDB). One contract suite.

Revisions are commit-ordered and without gaps: each write transaction locks a one-row counter. An
auto-increment id would not do: numbers are given before commits, so a watcher that has seen a high
one misses a lower one that is committed later.
"""

from collections.abc import AsyncIterator, Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import Protocol

from aimindserve.resources._kind import AnyResource, Part


class ChangeType(str, Enum):
    """What a change did to its object."""

    ADDED = "ADDED"
    MODIFIED = "MODIFIED"
    DELETED = "DELETED"


@dataclass(frozen=True, slots=True)
class Change:
    """One committed change. For DELETED, `resource` is the object as it last was."""

    revision: int
    type: ChangeType
    resource: AnyResource
    size_bytes: int = 0
    """About how much it takes: its spec and status as text."""


@dataclass(frozen=True, slots=True)
class Bookmark:
    """Nothing before `revision` is still to come: a watcher may resume from here."""

    revision: int


@dataclass(frozen=True, slots=True)
class Resync:
    """The watcher fell behind, or asked for what is no longer kept: list again. Ends the watch."""

    revision: int


WatchEvent = Change | Bookmark | Resync


@dataclass(frozen=True, slots=True)
class Draft:
    """An object to create. `name` must satisfy `core.ids.is_name`."""

    kind: str
    name: str
    spec: Part
    status: Part | None = None
    labels: Mapping[str, str] = field(default_factory=dict[str, str])


class Store(Protocol):
    """Resources at a revision. Reads are synchronous and never touch a database."""

    @property
    def revision(self) -> int:
        """The revision of the newest change seen."""
        ...

    def get(self, kind: str, name: str) -> AnyResource:
        """The object; raises NotFoundError."""
        ...

    def find(self, kind: str, name: str) -> AnyResource | None:
        """The object or None."""
        ...

    def list(self, kind: str) -> Sequence[AnyResource]:
        """All objects of a kind, by name."""
        ...

    async def create(self, draft: Draft) -> AnyResource:
        """Store a new object; raises ExistsError, InvalidError (name), StoreUnavailableError,
        StorageFullError. Returns after the commit."""
        ...

    async def replace(
        self,
        kind: str,
        name: str,
        *,
        revision: int,
        spec: Part | None = None,
        status: Part | None = None,
        labels: Mapping[str, str] | None = None,
    ) -> AnyResource:
        """Write the given parts if the object is still at `revision`; raises StaleError,
        NotFoundError. A changed spec raises the generation. No change at all writes nothing."""
        ...

    async def update(
        self,
        kind: str,
        name: str,
        change: Callable[[AnyResource], AnyResource | None],
    ) -> AnyResource:
        """Read, change, write; again when somebody was faster. `change` gets the newest object and
        returns it with another spec, status or labels, or None to leave it alone; it may run
        several times. Raises NotFoundError, ConflictError after too many tries."""
        ...

    async def delete(self, kind: str, name: str, *, revision: int | None = None) -> AnyResource:
        """Remove the object (only at `revision`, if given) and return it as it was, at the revision
        of the deletion; raises NotFoundError, StaleError."""
        ...

    def watch(
        self, kinds: Collection[str], *, since: int | None = None
    ) -> AsyncIterator[WatchEvent]:
        """Every change of `kinds` after revision `since` (None: from now on), in order, each once;
        a Bookmark from time to time; a Resync as the last event when it cannot go on."""
        ...


@dataclass(frozen=True, slots=True)
class Row:
    """An object as a backing keeps it: `spec` and `status` are JSON texts, `labels` too."""

    kind: str
    name: str
    id: str
    spec: str
    status: str
    labels: str
    generation: int
    revision: int
    created_at: float


@dataclass(frozen=True, slots=True)
class ChangeRow:
    """A change as a backing keeps it."""

    revision: int
    type: str
    row: Row


@dataclass(frozen=True, slots=True)
class Write:
    """One write of one object. `expected`: the revision it has, None when it must not exist."""

    type: ChangeType
    row: Row
    """`row.revision` is ignored: the backing sets it."""
    expected: int | None


class Backing(Protocol):
    """What keeps rows. Several processes may use one database at the same time."""

    @property
    def shared(self) -> bool:
        """Whether others may write to it while it is open here, so that one has to look."""
        ...

    async def open(self) -> None:
        """Connect and migrate; raises StoreUnavailableError, or SettingsError when the database is
        of an unknown kind or newer than this program."""
        ...

    async def close(self) -> None:
        """Let go of every connection."""
        ...

    async def load(self) -> tuple[int, Sequence[Row]]:
        """The present revision and every row at it, read in one transaction."""
        ...

    async def commit(self, write: Write) -> int:
        """Apply one write, append its change row and bump the counter, all or nothing; returns its
        revision. Raises ExistsError, StaleError, NotFoundError, StorageFullError: nothing was
        written; StoreUnavailableError: it may or may not have been."""
        ...

    async def changes_since(self, revision: int, limit: int) -> Sequence[ChangeRow] | None:
        """Up to `limit` changes after `revision`, in order and without a gap; None when they are no
        longer kept, or when `revision` lies ahead (an older backup was restored)."""
        ...

    async def trim(self, keep: int) -> None:
        """Forget all but the newest `keep` changes."""
        ...
