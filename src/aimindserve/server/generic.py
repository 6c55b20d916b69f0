"""List, get, create, replace, patch and delete for every kind, from its declaration alone.

A kind with a special way in (users, keys) or a rule of its own on the way out (workers) names it in
`hooks`; nothing else here knows any kind by name.
"""

from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from fastapi import Request
from pydantic import Field
from starlette.responses import Response

from aimindserve.core.errors import InvalidError, NotFoundError, StaleError
from aimindserve.resources._all import kinds
from aimindserve.resources._kind import AnyResource, Kind
from aimindserve.server.answers import answer
from aimindserve.server.auth import policy
from aimindserve.server.body import PATCH, read_object
from aimindserve.server.inputs import (
    changed_spec,
    check_name,
    check_unchanged,
    new_spec,
    patched_labels,
    patched_spec,
    read_input,
    read_patch,
)
from aimindserve.server.operations import Audience, Endpoint, Operation
from aimindserve.server.parameters import QueryModel, name_of, read_query
from aimindserve.server.query import ListQuery, select
from aimindserve.server.services import Services, principal_of
from aimindserve.store.base import Draft

Refuse = Callable[[AnyResource, AnyResource | None, bool], None]
"""(present object, the object wanted or None for a delete, whether force was asked for): raises."""
Before = Callable[[Request, str, Any], Awaitable[None]]
"""(the request, the object's name, the spec wanted): raises when it must not be written."""
After = Callable[[AnyResource, AnyResource | None], Awaitable[None]]
"""(the object before, the object now or None): what a committed change entails."""


@dataclass(frozen=True, slots=True)
class Hooks:
    """What a kind adds to the generic routes."""

    refuse: Refuse | None = None
    after: After | None = None
    before: Before | None = None
    conditions: type[QueryModel] | None = None
    """The query that `before` reads."""


def operations(services: Services, hooks: Mapping[str, Hooks]) -> Iterable[Operation]:
    """The routes of every kind that may be read."""
    for kind in kinds().values():
        if kind.access.read != "none":
            yield from KindRoutes(kind, services, hooks.get(kind.name, Hooks())).operations()


class DeleteQuery(QueryModel):
    """How to delete."""

    revision: int | None = Field(default=None, ge=0, description="Only if it is still there.")
    force: bool = Field(default=False, description="Also when it is in use.")


class KindRoutes:
    """The routes of one kind."""

    def __init__(self, kind: Kind[Any, Any], services: Services, hooks: Hooks) -> None:
        self._kind = kind
        self._store = services.parts.store
        self._renderer = services.renderer
        self._audit = services.audit
        self._hooks = hooks

    def operations(self) -> Iterable[Operation]:
        """What may be done with this kind over HTTP."""
        kind, title = self._kind, title_of(self._kind)
        path, one = f"/api/v1/{kind.plural}", f"/api/v1/{kind.plural}/{{name}}"
        reads = Audience.ADMIN if kind.access.read == "admin" else Audience.MEMBER
        writes = Audience.ADMIN if kind.access.write == "admin" else Audience.MEMBER
        yield self._operation("GET", path, self.index, reads, "list", answers=f"{title}List")
        yield self._operation("GET", one, self.read, reads, "get")
        if kind.access.write == "none":
            return
        if kind.creatable:
            takes = f"{title}Input"
            yield self._operation("POST", path, self.create, writes, "create", takes=takes)
        yield self._operation("PUT", one, self.put, writes, "replace", takes=f"{title}Input")
        yield self._operation("PATCH", one, self.patch, writes, "patch", takes=f"{title}Patch")
        yield self._operation("DELETE", one, self.remove, writes, "delete")

    def _operation(  # noqa: PLR0913 - the columns of the table above
        self,
        method: str,
        path: str,
        endpoint: Endpoint,
        audience: Audience,
        verb: str,
        *,
        takes: str | None = None,
        answers: str | None = None,
    ) -> Operation:
        several = "s" if verb == "list" else ""
        return Operation(
            method=method,
            path=path,
            endpoint=endpoint,
            audience=audience,
            operation_id=f"{verb}_{self._kind.name.replace('-', '_')}{several}",
            summary=f"{verb.capitalize()} {self._kind.name.replace('-', ' ')}{several}",
            tag=self._kind.plural,
            status=201 if verb == "create" else 200,
            query=self._query(verb),
            request=takes,
            response=answers or title_of(self._kind),
        )

    def _query(self, verb: str) -> type[QueryModel] | None:
        writes = dict.fromkeys(("create", "replace", "patch"), self._hooks.conditions)
        queries = {"list": ListQuery, "delete": DeleteQuery, **writes}
        return queries.get(verb)

    async def index(self, request: Request) -> Response:
        """Objects that match, one page of them. A watch may begin at the answer's revision."""
        principal = principal_of(request)
        query = read_query(request, ListQuery)
        revision = self._store.revision
        found = self._store.list(self._kind.name)
        if self._kind.access.read == "owner" and not principal.is_admin:
            found = [each for each in found if policy.may_read(principal, self._kind, each)]
        chosen, total = select(found, query)
        items = [self._renderer.encoded(each) for each in chosen]
        return answer({"items": items, "revision": revision, "total": total})

    async def read(self, request: Request) -> Response:
        """One object."""
        return answer(self._renderer.encoded(self._visible(request)))

    async def create(self, request: Request) -> Response:
        """A new object: metadata.name, metadata.labels and spec."""
        wish = read_input(await read_object(request), self._kind)
        check_name(wish.metadata.name)
        if wish.metadata.revision is not None:
            raise InvalidError(
                "A new object has no revision yet.", params={"fields": ["metadata.revision"]}
            )
        spec = new_spec(self._kind, wish.metadata.name, wish.spec)
        if self._store.find(self._kind.name, wish.metadata.name) is None:
            await self._check(request, wish.metadata.name, spec)
        labels = wish.metadata.labels or {}
        made = await self._store.create(
            Draft(self._kind.name, wish.metadata.name, spec, None, labels)
        )
        return self._changed(request, "create", None, made, 201)

    async def put(self, request: Request) -> Response:
        """The whole object anew; metadata.revision says what was read and is required."""
        old = self._writable(request)
        wish = read_input(await read_object(request), self._kind)
        if wish.metadata.revision is None:
            raise InvalidError(
                "metadata.revision is missing: a replace says which revision it replaces.",
                hint="Read the object, change it, send it back; or use PATCH.",
                params={"fields": ["metadata.revision"]},
            )
        if wish.metadata.revision != old.metadata.revision:
            raise self._stale(old)
        check_unchanged(old, wish.metadata)
        spec = changed_spec(self._kind, old, wish.spec)
        labels = wish.metadata.labels or {}
        wanted = replace(old, spec=spec, metadata=replace(old.metadata, labels=labels))
        self._refuse(old, wanted)
        await self._check(request, old.name, spec)
        made = await self._store.replace(
            self._kind.name, old.name, revision=wish.metadata.revision, spec=spec, labels=labels
        )
        return await self._finish(request, "replace", old, made)

    async def patch(self, request: Request) -> Response:
        """A JSON merge patch (RFC 7396) of metadata.labels and spec: null removes."""
        old = self._writable(request)
        body = await read_object(request, types=PATCH)
        label_patch, spec_patch, revision = read_patch(body, self._kind)

        def change(current: AnyResource) -> AnyResource:
            spec = patched_spec(self._kind, current, spec_patch)
            labels = patched_labels(current.metadata.labels, label_patch)
            wanted = replace(current, spec=spec, metadata=replace(current.metadata, labels=labels))
            self._refuse(current, wanted)
            return wanted

        if revision not in (None, old.metadata.revision):
            raise self._stale(old)
        if self._hooks.before is not None:
            await self._check(request, old.name, patched_spec(self._kind, old, spec_patch))
        if revision is None:
            made = await self._store.update(self._kind.name, old.name, change)
        else:
            wanted = change(old)
            made = await self._store.replace(
                self._kind.name,
                old.name,
                revision=revision,
                spec=wanted.spec,
                labels=wanted.metadata.labels,
            )
        return await self._finish(request, "patch", old, made)

    async def remove(self, request: Request) -> Response:
        """Remove the object, only at `revision` when one is given; answers with it as it was."""
        old = self._writable(request)
        query = read_query(request, DeleteQuery)
        if self._hooks.refuse is not None:
            self._hooks.refuse(old, None, query.force)
        gone = await self._store.delete(self._kind.name, old.name, revision=query.revision)
        if self._hooks.after is not None:
            await self._hooks.after(old, None)
        return self._changed(request, "delete", old, gone, 200)

    async def _finish(
        self, request: Request, action: str, old: AnyResource, made: AnyResource
    ) -> Response:
        if self._hooks.after is not None:
            await self._hooks.after(old, made)
        return self._changed(request, action, old, made, 200)

    def _changed(
        self, request: Request, action: str, old: AnyResource | None, now: AnyResource, status: int
    ) -> Response:
        if old is None or old.metadata.revision != now.metadata.revision:
            self._audit.note(request, action, (self._kind.name, now.name))
        headers = {"location": f"/api/v1/{self._kind.plural}/{now.name}"} if status == 201 else None
        return answer(self._renderer.encoded(now), status, headers)

    def _visible(self, request: Request) -> AnyResource:
        name = name_of(request)
        found = self._store.find(self._kind.name, name)
        if found is None or not policy.may_read(principal_of(request), self._kind, found):
            raise missing(self._kind, name)
        return found

    def _writable(self, request: Request) -> AnyResource:
        found = self._visible(request)
        policy.require_write(principal_of(request), self._kind, found)
        return found

    async def _check(self, request: Request, name: str, spec: Any) -> None:
        if self._hooks.before is not None:
            await self._hooks.before(request, name, spec)

    def _refuse(self, old: AnyResource, wanted: AnyResource) -> None:
        if self._hooks.refuse is not None:
            self._hooks.refuse(old, wanted, False)

    def _stale(self, old: AnyResource) -> StaleError:
        return StaleError(
            f"The {self._kind.name} {old.name} has changed since it was read.",
            hint="Read it again, apply your change to what it is now, and send that.",
            params={"revision": old.metadata.revision},
        )


def title_of(kind: Kind[Any, Any]) -> str:
    """`ModelFile` for `model-file`: the kind's name in schemas."""
    return "".join(word.capitalize() for word in kind.name.split("-"))


def missing(kind: Kind[Any, Any], name: str) -> NotFoundError:
    """There is no such object, or none that the caller may know of."""
    return NotFoundError(
        f"There is no {kind.name.replace('-', ' ')} {name[:80]!r}.",
        params={"kind": kind.name, "name": name[:80]},
    )
