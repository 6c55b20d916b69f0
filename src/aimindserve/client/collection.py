"""The objects of one kind, for both clients: the same verbs, answered at once or awaited.

Which verbs a caller may use on a kind is the server's business; it answers with the reason.
"""

from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, Generic, TypeVar

from aimindserve.client.calls import FIRST_PAGE, Calls, Listing
from aimindserve.client.objects import Document, Event, Object, Page

S = TypeVar("S")
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Collection(Generic[S, T]):
    """The objects of one kind, for the client that waits."""

    calls: Calls[S, T]
    send: Callable[..., Any]
    follow: Callable[..., Iterator[Event]]

    def list(self, listing: Listing = FIRST_PAGE) -> Page[S, T]:
        """One page."""
        page: Page[S, T] = self.send(self.calls.list(listing))
        return page

    def all(self, listing: Listing = FIRST_PAGE) -> Iterator[Object[S, T]]:
        """Every object, page by page."""
        seen = 0
        while True:
            page = self.list(listing)
            yield from page
            seen += len(page)
            if seen >= page.total or not len(page):
                return
            listing = replace(listing, page=listing.page + 1)

    def get(self, name: str) -> Object[S, T]:
        """One object; raises NotFoundError."""
        found: Object[S, T] = self.send(self.calls.get(name))
        return found

    def create(
        self,
        name: str,
        spec: S | Document,
        labels: Mapping[str, str] | None = None,
        *,
        fit: str = "",
    ) -> Object[S, T]:
        """A new object; raises ExistsError, InvalidError. `fit`: verdicts of the preview, separated
        by commas, with which a deployment is made; with another it raises FitError."""
        made: Object[S, T] = self.send(self.calls.create(name, spec, labels or {}, fit))
        return made

    def replace(self, document: Document) -> Object[S, T]:
        """Write the whole object; raises StaleError when it changed since `document` was read."""
        made: Object[S, T] = self.send(self.calls.replace(document))
        return made

    def patch(self, name: str, patch: Document) -> Object[S, T]:
        """Change what `patch` names (RFC 7396), for example `{"spec": {"replicas": 2}}`."""
        made: Object[S, T] = self.send(self.calls.patch(name, patch))
        return made

    def delete(self, name: str, *, revision: int | None = None, force: bool = False) -> None:
        """Remove the object, with `force` also one in use; raises NotFoundError, ConflictError."""
        self.send(self.calls.delete(name, revision, force=force))

    def watch(self, *, since: int | None = None, idle_s: float | None = None) -> Iterator[Event]:
        """Every change of this kind, for ever; see Client.watch."""
        return self.follow(self.calls.of.plural, since=since, idle_s=idle_s)


@dataclass(frozen=True, slots=True)
class AsyncCollection(Generic[S, T]):
    """The objects of one kind, for the client of asyncio."""

    calls: Calls[S, T]
    send: Callable[..., Any]
    follow: Callable[..., AsyncIterator[Event]]

    async def list(self, listing: Listing = FIRST_PAGE) -> Page[S, T]:
        """One page."""
        page: Page[S, T] = await self.send(self.calls.list(listing))
        return page

    async def all(self, listing: Listing = FIRST_PAGE) -> AsyncIterator[Object[S, T]]:
        """Every object, page by page."""
        seen = 0
        while True:
            page = await self.list(listing)
            for found in page:
                yield found
            seen += len(page)
            if seen >= page.total or not len(page):
                return
            listing = replace(listing, page=listing.page + 1)

    async def get(self, name: str) -> Object[S, T]:
        """One object; raises NotFoundError."""
        found: Object[S, T] = await self.send(self.calls.get(name))
        return found

    async def create(
        self,
        name: str,
        spec: S | Document,
        labels: Mapping[str, str] | None = None,
        *,
        fit: str = "",
    ) -> Object[S, T]:
        """A new object; raises ExistsError, InvalidError, and FitError as the other client."""
        made: Object[S, T] = await self.send(self.calls.create(name, spec, labels or {}, fit))
        return made

    async def replace(self, document: Document) -> Object[S, T]:
        """Write the whole object; raises StaleError when it changed since `document` was read."""
        made: Object[S, T] = await self.send(self.calls.replace(document))
        return made

    async def patch(self, name: str, patch: Document) -> Object[S, T]:
        """Change what `patch` names (RFC 7396), for example `{"spec": {"replicas": 2}}`."""
        made: Object[S, T] = await self.send(self.calls.patch(name, patch))
        return made

    async def delete(self, name: str, *, revision: int | None = None, force: bool = False) -> None:
        """Remove the object, with `force` also one in use; raises NotFoundError, ConflictError."""
        await self.send(self.calls.delete(name, revision, force=force))

    def watch(
        self, *, since: int | None = None, idle_s: float | None = None
    ) -> AsyncIterator[Event]:
        """Every change of this kind, for ever; see AsyncClient.watch."""
        return self.follow(self.calls.of.plural, since=since, idle_s=idle_s)
