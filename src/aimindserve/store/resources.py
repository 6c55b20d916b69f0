"""The store everybody uses: what a create, replace, update or delete means for an object.

Reads come from memory and writes go through a backing; both are `_replica`'s work. It must not know
which database is behind it, nor anything about a particular kind.
"""

from collections.abc import AsyncIterator, Callable, Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace

from aimindserve.core.errors import ConflictError, InvalidError, StaleError
from aimindserve.core.ids import NAME_RULE, is_name
from aimindserve.kit.clock import Clock
from aimindserve.kit.secrets import new_id
from aimindserve.resources._kind import AnyResource, Metadata, Part, Resource
from aimindserve.store import _rows
from aimindserve.store._refusals import missing, stale, taken
from aimindserve.store._replica import Plan, Replica
from aimindserve.store.base import Backing, ChangeType, Draft, WatchEvent, Write

UPDATE_TRIES = 30


class ResourceStore:
    """Implements `store.base.Store`; open it before use and close it after."""

    def __init__(self, backing: Backing, clock: Clock, ids: Callable[[], str] = new_id) -> None:
        self._replica = Replica(backing, clock)
        self._clock = clock
        self._ids = ids

    async def open(self) -> None:
        """Open the backing and read everything; raises SettingsError, StoreUnavailableError."""
        await self._replica.open()

    async def close(self) -> None:
        """Let writes in progress end, end every watch, close the backing."""
        await self._replica.close()

    @property
    def revision(self) -> int:
        """The revision of the newest change seen."""
        return self._replica.hub.revision

    def get(self, kind: str, name: str) -> AnyResource:
        """The object; raises NotFoundError."""
        found = self._replica.find(kind, name)
        if found is None:
            raise missing(kind, name)
        return found

    def find(self, kind: str, name: str) -> AnyResource | None:
        """The object or None."""
        return self._replica.find(kind, name)

    def list(self, kind: str) -> Sequence[AnyResource]:
        """All objects of a kind, by name."""
        return self._replica.list(kind)

    def watch(
        self, kinds: Collection[str], *, since: int | None = None
    ) -> AsyncIterator[WatchEvent]:
        """Every change of `kinds` after revision `since`; counts from this call on, not from the
        first step. Raises InvalidError for a kind that does not exist."""
        for kind in kinds:
            _rows.kind_of(kind)
        return self._replica.hub.watch(kinds, since)

    async def create(self, draft: Draft) -> AnyResource:
        """Store a new object; returns after the commit."""
        kind = _rows.kind_of(draft.kind)
        if not is_name(draft.name):
            raise InvalidError(
                f"{draft.name!r} cannot be a name.",
                hint=f"A name has {NAME_RULE}.",
                params={"fields": ["metadata.name"]},
            )
        status = kind.status() if draft.status is None else draft.status

        def plan() -> Plan:
            if self.find(draft.kind, draft.name) is not None:
                raise taken(draft.kind, draft.name)
            meta = Metadata(
                name=draft.name,
                id=self._ids(),
                labels=draft.labels,
                created_at=round(self._clock.now(), 3),
            )
            made = Resource(kind=draft.kind, metadata=meta, spec=draft.spec, status=status)
            row, resource = _rows.normalised(made)
            return Plan(Write(ChangeType.ADDED, row, None), resource)

        return await self._replica.write(plan)

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
        """Write the given parts if the object is still at `revision`."""

        def plan() -> Plan | AnyResource:
            current = self._at(kind, name, revision)
            meta = current.metadata
            wanted = replace(
                current,
                spec=current.spec if spec is None else spec,
                status=current.status if status is None else status,
                metadata=meta if labels is None else replace(meta, labels=labels),
            )
            return _modification(current, wanted)

        return await self._replica.write(plan)

    async def update(
        self, kind: str, name: str, change: Callable[[AnyResource], AnyResource | None]
    ) -> AnyResource:
        """Read, change, write; again when another process was faster."""

        def plan() -> Plan | AnyResource:
            current = self.get(kind, name)
            wanted = change(current)
            return current if wanted is None else _modification(current, wanted)

        for _ in range(UPDATE_TRIES):
            with suppress(StaleError):
                return await self._replica.write(plan)
        raise ConflictError(
            f"The {kind} {name} changed faster than it could be updated.",
            hint="Try again.",
            params={"kind": kind, "name": name, "tries": UPDATE_TRIES},
        )

    async def delete(self, kind: str, name: str, *, revision: int | None = None) -> AnyResource:
        """Remove the object and return it as it was, at the revision of its deletion."""

        def plan() -> Plan:
            current = self.get(kind, name) if revision is None else self._at(kind, name, revision)
            row = _rows.encode(current)
            return Plan(Write(ChangeType.DELETED, row, current.metadata.revision), current)

        return await self._replica.write(plan)

    def _at(self, kind: str, name: str, revision: int) -> AnyResource:
        current = self.get(kind, name)
        if current.metadata.revision != revision:
            raise stale(kind, name, present=current.metadata.revision, expected=revision)
        return current


def _modification(current: AnyResource, wanted: AnyResource) -> Plan | AnyResource:
    """The write that turns `current` into `wanted`, or `current` when there is no difference."""
    new_spec = not _rows.same_part(current.spec, wanted.spec)
    labels = dict(wanted.metadata.labels)
    if (
        not new_spec
        and labels == current.metadata.labels
        and _rows.same_part(current.status, wanted.status)
    ):
        return current
    generation = current.metadata.generation + (1 if new_spec else 0)
    meta = replace(current.metadata, labels=labels, generation=generation)
    row, resource = _rows.normalised(replace(wanted, kind=current.kind, metadata=meta))
    return Plan(Write(ChangeType.MODIFIED, row, current.metadata.revision), resource)
