"""Reading the page on which an engine counts what it generates: one GET on loopback.

The engine's own secret goes with it, as with the requests of the proxy, and only to an engine that
has proven to be the one that listens. Nothing of the environment has a say in where it goes. The
answer is bounded in time and size, and an answer that is cut off counts as none.
"""

import asyncio
from typing import Any

import httptools

from aimindserve.core.launch import Counters
from aimindserve.runtimes.base import Handle
from aimindserve.worker.observed import Counted
from aimindserve.worker.pace import counted

TIMEOUT_S = 5.0
"""An engine answers between two steps of its work, and a step may be a long prompt's."""
PAGE_BYTES_MAX = 2 * 1024**2
"""vLLM's page has about 100 kB, once for each of its engines."""
READ_BYTES = 64 * 1024
_LOST = (OSError, ValueError, httptools.HttpParserError, httptools.HttpParserUpgrade)


class HttpMeter:
    """A `Meter` over HTTP."""

    async def read(self, handle: Handle, counters: Counters) -> Counted | None:
        """What the engine has counted; see `Meter`."""
        try:
            page = await asyncio.wait_for(_page(handle, counters.path), TIMEOUT_S)
        except asyncio.TimeoutError as error:
            raise TimeoutError(f"{handle.instance} did not tell its counters in time") from error
        except _LOST:
            return None
        return counted(page, counters)


async def _page(handle: Handle, path: str) -> bytes:
    """The body of a 200; raises ValueError for any other answer, and what connections raise."""
    reader, writer = await asyncio.open_connection("127.0.0.1", handle.port)
    try:
        writer.write(
            f"GET {path} HTTP/1.1\r\nhost: 127.0.0.1:{handle.port}\r\n"
            f"authorization: Bearer {handle.secret}\r\nconnection: close\r\n\r\n".encode()
        )
        body = _Body()
        while not body.complete:
            data = await reader.read(READ_BYTES)
            if not data:
                return body.ended()
            body.feed(data)
        return body.ended()
    finally:
        writer.close()


class _Body:
    """Takes in an answer of HTTP/1.1."""

    def __init__(self) -> None:
        self._parser: Any = httptools.HttpResponseParser(self)
        self._pieces: list[bytes] = []
        self._read = 0
        self._framed = False
        self._headed = False
        self.complete = False

    def feed(self, data: bytes) -> None:
        """More of it; raises ValueError when it is too much."""
        self._read += len(data)
        if self._read > PAGE_BYTES_MAX:
            raise ValueError("the page is too large")
        self._parser.feed_data(data)

    def ended(self) -> bytes:
        """The page, once there is no more; raises ValueError when it is not all or no page."""
        whole = self.complete or (self._headed and not self._framed)
        if not whole or self._parser.get_status_code() != 200:
            raise ValueError("no page")
        return b"".join(self._pieces)

    # llhttp's callbacks

    def on_header(self, name: bytes, _value: bytes) -> None:
        if name.lower() in {b"content-length", b"transfer-encoding"}:
            self._framed = True

    def on_headers_complete(self) -> None:
        self._headed = True

    def on_body(self, data: bytes) -> None:
        self._pieces.append(data)

    def on_message_complete(self) -> None:
        self.complete = True
