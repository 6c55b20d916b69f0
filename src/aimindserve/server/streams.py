"""Streams that stay open: how many one party may hold, when they end, and server-sent events.

A stream ends when the client leaves, when its credential is revoked, and when the server stops;
without the last, a stopping server would wait for its streams for ever.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import anyio
from starlette.responses import Response
from starlette.types import Message, Receive, Scope, Send

from aimindserve.core.errors import ThrottledError, UnavailableError
from aimindserve.server.auth.principals import Principal

LOOK_S = 5.0
"""How often a stream asks whether its party may still have it."""

HEADERS = {"cache-control": "no-store", "x-accel-buffering": "no"}

Write = Callable[[bytes], Awaitable[None]]
Work = Callable[[Write], Awaitable[None]]
StillAllowed = Callable[[], bool]


class Streams:
    """The open streams of this process."""

    def __init__(self, per_principal: int) -> None:
        self._limit = per_principal
        self._open: dict[str, int] = {}
        self._closing = anyio.Event()

    def close(self) -> None:
        """End every stream and take no new ones. Call it before the HTTP server stops."""
        self._closing.set()

    def count(self) -> int:
        """How many are open."""
        return sum(self._open.values())

    def stream(
        self,
        principal: Principal,
        allowed: StillAllowed,
        work: Work,
        *,
        media_type: str = "text/event-stream",
    ) -> "Stream":
        """A response whose body `work` writes; raises ThrottledError when `principal` has too many
        open, UnavailableError when the server is stopping."""
        owner = str(principal)
        if self._closing.is_set():
            raise UnavailableError("The server is stopping.")
        if self._open.get(owner, 0) >= self._limit:
            raise ThrottledError(
                f"{self._limit} streams are open with this credential, which is all it may have.",
                hint="Close some; one watch can carry every kind.",
                params={"retry_after_s": 5, "limit": self._limit},
            )
        return Stream(self, owner, allowed, work, media_type)

    def opened(self, owner: str) -> None:
        """A stream of `owner` began."""
        self._open[owner] = self._open.get(owner, 0) + 1

    def closed(self, owner: str) -> None:
        """A stream of `owner` ended."""
        left = self._open.get(owner, 0) - 1
        if left > 0:
            self._open[owner] = left
        else:
            self._open.pop(owner, None)

    async def wait_closing(self) -> None:
        """Return when the server is stopping."""
        await self._closing.wait()


class Stream(Response):
    """An open-ended response. (Starlette asks that responses derive from its class.)"""

    def __init__(
        self, streams: Streams, owner: str, allowed: StillAllowed, work: Work, media_type: str
    ) -> None:
        super().__init__(headers=HEADERS, media_type=media_type)
        del self.headers["content-length"]
        self._streams = streams
        self._owner = owner
        self._allowed = allowed
        self._work = work

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        del scope
        await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})

        async def write(data: bytes) -> None:
            await send({"type": "http.response.body", "body": data, "more_body": True})

        self._streams.opened(self._owner)
        try:
            async with anyio.create_task_group() as group:

                async def ending(wait: Callable[[], Awaitable[Any]]) -> None:
                    await wait()
                    group.cancel_scope.cancel()

                group.start_soon(ending, lambda: _left(receive))
                group.start_soon(ending, self._streams.wait_closing)
                group.start_soon(ending, self._revoked)
                await self._work(write)
                group.cancel_scope.cancel()
        finally:
            self._streams.closed(self._owner)
        await send({"type": "http.response.body", "body": b"", "more_body": False})

    async def _revoked(self) -> None:
        while self._allowed():  # noqa: ASYNC110 - nothing tells us; what is asked is a memory read
            await anyio.sleep(LOOK_S)


async def _left(receive: Receive) -> None:
    message: Message = await receive()
    while message["type"] != "http.disconnect":
        message = await receive()


def event(data: bytes, *, name: str = "", identifier: int | None = None) -> bytes:
    """One server-sent event; `data` is one line of JSON."""
    head = f"event: {name}\n".encode() if name else b""
    if identifier is not None:
        head += f"id: {identifier}\n".encode()
    return b"%bdata: %b\n\n" % (head, data)


KEEP_ALIVE = b": keep-alive\n\n"


ENDED = object()


class Pump:
    """Carries what an asynchronous iterator yields to a reader that also has a timer.

    Cancelling an iterator's next step ends the iterator, so a reader that waits with a deadline
    needs somebody else to hold it.
    """

    def __init__(self, source: AsyncIterator[Any], size: int = 256) -> None:
        self._source = source
        self._items: asyncio.Queue[Any] = asyncio.Queue(size)

    async def run(self) -> None:
        """Carry until the source ends, then say so."""
        async for item in self._source:
            await self._items.put(item)
        await self._items.put(ENDED)

    async def next(self, within_s: float) -> Any:
        """The next item, `ENDED` when there will be none, None when there is none in time."""
        with anyio.move_on_after(within_s):
            return await self._items.get()
        return None

    def ready(self) -> list[Any]:
        """Everything that is there without waiting."""
        return [self._items.get_nowait() for _ in range(self._items.qsize())]
