"""`GET /api/v1/watch`: every change of many kinds on one stream, resumable.

    (no since)  ADDED for every object, BOOKMARK, then changes
    since=N     changes after revision N
    too old, or too slow: RESYNC, and the stream ends: list again

Ordered, unique, gapless for what the party may see. Several changes of one object within a blink
arrive as one. An instance is sent again when its worker comes or goes, because its phase follows.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import anyio
from fastapi import Request
from pydantic import Field
from starlette.responses import Response

from aimindserve.core.errors import ForbiddenError, InvalidError
from aimindserve.resources._all import kinds
from aimindserve.resources._kind import AnyResource, Kind
from aimindserve.server.answers import encode
from aimindserve.server.auth import policy
from aimindserve.server.auth.principals import Principal, PrincipalKind
from aimindserve.server.operations import Audience, Operation
from aimindserve.server.parameters import QueryModel, read_query
from aimindserve.server.services import Services, principal_of
from aimindserve.server.streams import ENDED, Pump, Write, event
from aimindserve.store.base import Change, ChangeType, Resync

BOOKMARK_S = 10.0
COALESCE_S = 0.02
SNAPSHOT_CHUNK = 100


def operations(services: Services) -> Iterable[Operation]:
    """The watch."""
    yield Operation(
        "GET",
        "/api/v1/watch",
        WatchRoute(services).watch,
        Audience.MEMBER,
        "watch",
        "Follow changes of many kinds",
        "watch",
        query=WatchQuery,
        response="WatchEvent",
        media_type="text/event-stream",
    )


class WatchQuery(QueryModel):
    """What to watch."""

    kinds: str = Field(
        default="", max_length=500, description="Plural names, separated by commas; empty: all."
    )
    since: int | None = Field(default=None, ge=0, description="The revision to go on from.")
    secrets: bool = Field(
        default=False,
        description="For our own gateways only: what they need of each object, and nothing else.",
    )


class WatchRoute:
    """Opens watches."""

    def __init__(self, services: Services) -> None:
        self._services = services

    async def watch(self, request: Request) -> Response:
        """Server-sent events; `Last-Event-ID` is taken for `since`. See WatchEvent."""
        query = read_query(request, WatchQuery)
        principal = principal_of(request)
        if query.secrets and principal.kind is not PrincipalKind.GATEWAY:
            raise ForbiddenError("Secrets are shown to our own gateway alone.")
        watcher = Watcher(
            self._services,
            principal,
            frozenset(kind.name for kind in _chosen(principal, query.kinds, secrets=query.secrets)),
            query.since if query.since is not None else _last_event(request),
            secrets=query.secrets,
        )
        return self._services.streams.stream(
            principal, lambda: self._services.still_valid(principal), watcher.run
        )


def _last_event(request: Request) -> int | None:
    told = request.headers.get("last-event-id", "").strip()
    return int(told) if told.isdecimal() and len(told) < 19 else None


def _chosen(principal: Principal, words: str, *, secrets: bool) -> list[Kind[Any, Any]]:
    by_plural = {kind.plural: kind for kind in kinds().values()}
    wanted = [word.strip() for word in words.split(",") if word.strip()]
    unknown = [word for word in wanted if word not in by_plural]
    if unknown:
        raise InvalidError(
            f"There is no kind {unknown[0][:60]!r}; there are: {', '.join(sorted(by_plural))}.",
            params={"fields": ["query.kinds"]},
        )
    chosen = [by_plural[word] for word in wanted] or list(by_plural.values())
    allowed = [
        kind
        for kind in chosen
        if policy.may_list(principal, kind)
        and (kind.gateway if secrets else kind.access.read != "none")
    ]
    refused = [kind.plural for kind in chosen if kind not in allowed]
    if wanted and refused:
        raise ForbiddenError(f"This credential may not read {', '.join(refused)}.")
    return allowed


@dataclass(slots=True)
class Message:
    """One change on its way to a client."""

    revision: int
    type: ChangeType
    resource: AnyResource


class Watcher:
    """One client's watch."""

    def __init__(
        self,
        services: Services,
        principal: Principal,
        wanted: frozenset[str],
        since: int | None,
        *,
        secrets: bool,
    ) -> None:
        self._store = services.parts.store
        self._clock = services.parts.clock
        self._renderer = services.renderer
        self._principal = principal
        self._wanted = wanted
        self._since = since
        self._secrets = secrets
        self._derives = "instance" in wanted
        self._ready: dict[str, bool] = {}
        """Readiness of workers as their instances were last shown with."""

    async def run(self, write: Write) -> None:
        """Write until the client must list again or the store is closed."""
        revision = self._store.revision
        snapshot = self._take_snapshot() if self._since is None else []
        start = revision if self._since is None else self._since
        source = self._store.watch(self._watched(), since=start)
        if self._since is not None and self._since > revision:
            # From before the database was replaced, or from another one.
            await write(self._plain("RESYNC", revision))
            return
        if self._since is None:
            await self._write_snapshot(write, snapshot, revision)
        pump = Pump(source)
        async with anyio.create_task_group() as group:
            group.start_soon(pump.run)
            await self._follow(write, pump, start)
            group.cancel_scope.cancel()

    async def _follow(self, write: Write, pump: Pump, revision: int) -> None:
        due = self._clock.monotonic() + BOOKMARK_S
        while True:
            first = await pump.next(max(0.0, due - self._clock.monotonic()))
            if first is not None:
                await anyio.sleep(COALESCE_S)
                events = [first, *pump.ready()]
                news = [each for each in events if each is not ENDED]
                revision = max([revision, *(each.revision for each in news)])
                messages = coalesced(self._messages(news))
                if messages:
                    await write(b"".join(self._encode(message) for message in messages))
                if any(isinstance(each, Resync) for each in news):
                    await write(self._plain("RESYNC", revision))
                    return
                if len(news) < len(events):
                    return
            if self._clock.monotonic() >= due:
                await write(self._plain("BOOKMARK", revision))
                due = self._clock.monotonic() + BOOKMARK_S

    def _watched(self) -> frozenset[str]:
        return self._wanted | {"worker"} if self._derives else self._wanted

    def _take_snapshot(self) -> list[AnyResource]:
        if self._derives:
            self._ready = {each.name: each.status.ready for each in self._store.list("worker")}
        return [
            each
            for name in sorted(self._wanted)
            for each in self._store.list(name)
            if self._may_see(each)
        ]

    async def _write_snapshot(
        self, write: Write, snapshot: Sequence[AnyResource], revision: int
    ) -> None:
        for start in range(0, len(snapshot), SNAPSHOT_CHUNK):
            chunk = snapshot[start : start + SNAPSHOT_CHUNK]
            await write(
                b"".join(
                    self._encode(
                        Message(each.metadata.revision, ChangeType.ADDED, each), resumable=False
                    )
                    for each in chunk
                )
            )
        await write(self._plain("BOOKMARK", revision))

    def _messages(self, events: Sequence[Any]) -> Iterable[Message]:
        for each in events:
            if not isinstance(each, Change):
                continue
            if each.resource.kind in self._wanted and self._may_see(each.resource):
                yield Message(each.revision, each.type, each.resource)
            if self._derives and each.resource.kind == "worker":
                yield from self._followers(each)

    def _followers(self, change: Change) -> Iterable[Message]:
        """The instances whose phase follows from this worker, when its readiness changed."""
        worker = change.resource
        ready = change.type is not ChangeType.DELETED and worker.status.ready
        if self._ready.get(worker.name) == ready:
            return
        self._ready[worker.name] = ready
        for instance in self._store.list("instance"):
            placement = instance.status.placement
            if placement is not None and placement.worker == worker.name:
                yield Message(change.revision, ChangeType.MODIFIED, instance)

    def _may_see(self, resource: AnyResource) -> bool:
        kind = kinds()[resource.kind]
        return self._secrets or policy.may_read(self._principal, kind, resource)

    def _encode(self, message: Message, *, resumable: bool = True) -> bytes:
        body = {
            "revision": message.revision,
            "type": message.type.value,
            "kind": message.resource.kind,
            "name": message.resource.name,
            "object": self._renderer.for_gateway(message.resource)
            if self._secrets
            else self._renderer.encoded(message.resource),
        }
        # Inside a snapshot nothing may be resumed from: what is still to come would be lost.
        return event(encode(body), identifier=message.revision if resumable else None)

    def _plain(self, word: str, revision: int) -> bytes:
        return event(encode({"revision": revision, "type": word}), identifier=revision)


def coalesced(messages: Iterable[Message]) -> list[Message]:
    """The same news in fewer messages, still in order of revision: of several changes of one object
    the newest counts. A deletion or a new object of the same name is never merged away."""
    newest: dict[tuple[str, str, str], Message] = {}
    done: list[Message] = []
    for message in messages:
        key = (message.resource.kind, message.resource.name, message.resource.metadata.id)
        earlier = newest.pop(key, None)
        kind = message.type
        if earlier is not None and kind is ChangeType.MODIFIED:
            kind = earlier.type
        elif earlier is not None:
            done.append(earlier)
        newest[key] = Message(message.revision, kind, message.resource)
    done.extend(newest.values())
    return sorted(done, key=lambda each: each.revision)
