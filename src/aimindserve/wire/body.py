"""The body of a request while it arrives: collected, iterated, or piped; never without a limit."""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable
from typing import Protocol

from aimindserve.wire.errors import BodyTooLargeError, WireError
from aimindserve.wire.limits import Limits


class Flow(Protocol):
    """Whoever can stop reading from the client for a while."""

    def pause(self) -> None: ...

    def resume(self) -> None: ...


class Sink(Protocol):
    """Where a body goes as it arrives."""

    def feed(self, data: bytes) -> None: ...

    def end(self) -> None: ...

    def lost(self, error: WireError) -> None: ...


class Body:
    """One request's body. Take it in exactly one of four ways:

    * `take()`: at once, when `complete`;
    * `collect(limit, done, failed)`: a callback with all of it;
    * `await read(limit)`: the same for coroutines;
    * `pipe(sink)` or `async for piece in body`: as it comes, with back pressure.
    """

    __slots__ = (
        "_buffered",
        "_failure",
        "_flow",
        "_high_bytes",
        "_on_first_reader",
        "_pieces",
        "_sink",
        "complete",
        "length",
        "limit",
        "size",
    )

    def __init__(self, flow: Flow, length: int | None, limits: Limits) -> None:
        self.length = length
        """As declared by content-length; None for a chunked body."""
        self.limit = limits.body_bytes
        self._flow = flow
        self._high_bytes = limits.body_buffer_bytes
        self._pieces: list[bytes] = []
        self.complete = False
        self.size = self._buffered = 0
        """Bytes so far, and those of them that nobody took yet."""
        self._sink: Sink | None = None
        self._failure: WireError | None = None
        self._on_first_reader: Callable[[], None] | None = None

    def take(self) -> bytes:
        """All that has arrived and was not taken yet."""
        pieces = self._pieces
        data = pieces[0] if len(pieces) == 1 else b"".join(pieces)
        self._pieces = []
        self._buffered = 0
        return data

    def collect(
        self, limit: int, done: Callable[[bytes], None], failed: Callable[[WireError], None]
    ) -> None:
        """Call `done` with the whole body, or `failed` once; either may happen before returning."""
        if self.complete and self.size <= limit:
            done(self.take())
            return
        self.pipe(_Collector(self, limit, done, failed))

    async def read(self, limit: int) -> bytes:
        """The whole body. Raises BodyTooLargeError, BodyBrokenError, ClientGoneError."""
        result: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()

        def done(data: bytes) -> None:
            if not result.done():
                result.set_result(data)

        def failed(error: WireError) -> None:
            if not result.done():
                result.set_exception(error)

        self.collect(limit, done, failed)
        return await result

    def pipe(self, sink: Sink) -> None:
        """Hand what is there, and then everything that comes, to `sink`."""
        if self._sink is not None:
            raise RuntimeError("this body already has a reader")
        self._sink = sink
        if self._on_first_reader is not None and not self.size and not self.complete:
            self._on_first_reader()
        held, self._buffered = self.take(), 0
        if held:
            sink.feed(held)
        if self._failure is not None:
            sink.lost(self._failure)
        elif self.complete:
            sink.end()
        else:
            self._flow.resume()

    def detach(self) -> None:
        """Take the reader off again; what comes is held for the next one."""
        self._sink = None

    def pause(self) -> None:
        """Read nothing more from the client until `resume`."""
        if not self.complete:
            self._flow.pause()

    def resume(self) -> None:
        """Go on reading."""
        if not self.complete:
            self._flow.resume()

    async def __aiter__(self) -> AsyncIterator[bytes]:
        queue = _Queue(self, self._high_bytes)
        self.pipe(queue)
        while True:
            piece = await queue.get()
            if piece is None:
                return
            yield piece

    # What follows is called by the connection.

    def before_first_reader(self, action: Callable[[], None]) -> None:
        """Run `action` when somebody begins to read an empty body (100-continue)."""
        self._on_first_reader = action

    def receive(self, data: bytes) -> None:
        """Take in `data`. Raises BodyTooLargeError."""
        self.size += len(data)
        if self.size > self.limit:
            raise BodyTooLargeError(self.limit)
        if self._sink is not None:
            self._sink.feed(data)
            return
        self._pieces.append(data)
        self._buffered += len(data)
        if self._buffered > self._high_bytes:
            self._flow.pause()

    def finish(self) -> None:
        """The body is whole."""
        self.complete = True
        if self._sink is not None:
            self._sink.end()

    def fail(self, error: WireError) -> None:
        """The body will never be whole."""
        if self.complete or self._failure is not None:
            return
        self._failure = error
        if self._sink is not None:
            self._sink.lost(error)


class WholeBody(Body):
    """A body that came in one piece with its head."""

    __slots__ = ()

    def __init__(self, data: bytes, limit: int) -> None:  # all else is for bodies that still come
        self._pieces = [data]
        self.length = self.size = self._high_bytes = len(data)
        self.limit = limit
        self.complete = True
        self._sink = self._failure = self._on_first_reader = None


class _Collector:
    __slots__ = ("_body", "_done", "_failed", "_limit", "_over", "_pieces")

    def __init__(
        self,
        body: Body,
        limit: int,
        done: Callable[[bytes], None],
        failed: Callable[[WireError], None],
    ) -> None:
        self._body = body
        self._limit = limit
        self._done = done
        self._failed = failed
        self._pieces: list[bytes] = []
        self._over = False
        if body.length is not None and body.length > limit:
            self._refuse()

    def feed(self, data: bytes) -> None:
        if self._over:
            return
        self._pieces.append(data)
        if self._body.size > self._limit:
            self._refuse()

    def end(self) -> None:
        if not self._over:
            self._done(b"".join(self._pieces))

    def lost(self, error: WireError) -> None:
        if not self._over:
            self._over = True
            self._failed(error)

    def _refuse(self) -> None:
        self._over = True
        self._pieces = []
        self._failed(BodyTooLargeError(self._limit))


class _Queue:
    __slots__ = ("_body", "_error", "_high_bytes", "_over", "_paused", "_pieces", "_size", "_wake")

    def __init__(self, body: Body, high_bytes: int) -> None:
        self._body = body
        self._high_bytes = high_bytes
        self._pieces: deque[bytes] = deque()
        self._size = 0
        self._over = False
        self._paused = False
        self._error: WireError | None = None
        self._wake = asyncio.Event()

    def feed(self, data: bytes) -> None:
        self._pieces.append(data)
        self._size += len(data)
        self._wake.set()
        if self._size > self._high_bytes and not self._paused:
            self._paused = True
            self._body.pause()

    def end(self) -> None:
        self._over = True
        self._wake.set()

    def lost(self, error: WireError) -> None:
        self._error = error
        self._wake.set()

    async def get(self) -> bytes | None:
        while not self._pieces:
            if self._error is not None:
                raise self._error
            if self._over:
                return None
            self._wake.clear()
            await self._wake.wait()
        piece = self._pieces.popleft()
        self._size -= len(piece)
        if self._paused and self._size <= self._high_bytes // 2:
            self._paused = False
            self._body.resume()
        return piece
