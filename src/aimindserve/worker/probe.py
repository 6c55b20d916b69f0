"""Asking an engine on loopback whether it is ready. A dozen bytes of HTTP over asyncio streams:
this runs for every engine every two seconds, so nothing larger is loaded for it.

The engine's secret is not sent: whoever listens on the port may not be the engine. Before the first
ready answer counts, the listener must be proven to belong to it.
"""

import asyncio
from collections.abc import Callable

from aimindserve.core.launch import Probe, ProbeKind
from aimindserve.runtimes.base import Handle
from aimindserve.worker.life import Answer

TIMEOUT_S = 2.0
LINE_BYTES_MAX = 512

Owns = Callable[[Handle], bool | None]
"""Whether this engine listens on its own port; None where the system does not tell. Blocks."""


class LoopbackProber:
    """GET on the engine's health path: 2xx is ready, 503 is loading, all else is no answer. Or, of
    engines that answer no questions, whether they listen."""

    def __init__(self, owns: Owns, taken: Callable[[int], bool]) -> None:
        """`taken`: whether anybody listens on a port of loopback."""
        self._owns = owns
        self._taken = taken

    async def ask(self, handle: Handle, probe: Probe, *, confirm: bool) -> Answer:
        """One health check, within two seconds."""
        if probe.kind is ProbeKind.LISTENS:
            return await asyncio.to_thread(self._listens, handle)
        status = await _status(handle.port, probe.path)
        if status == 503:
            return Answer.LOADING
        if not 200 <= status < 300:
            return Answer.SILENT
        if confirm and await asyncio.to_thread(self._owns, handle) is False:
            return Answer.FOREIGN
        return Answer.READY

    def _listens(self, handle: Handle) -> Answer:
        """Nothing is sent, not even a connection opened: one that serves a single client at a time
        would take the probe for it."""
        owned = self._owns(handle)
        if owned is False:
            return Answer.FOREIGN
        return Answer.READY if owned or self._taken(handle.port) else Answer.SILENT


async def _status(port: int, path: str) -> int:
    """The status of one GET on loopback; 0 when nobody answers properly in time."""
    try:
        return await asyncio.wait_for(_get(port, path), TIMEOUT_S)
    except (OSError, asyncio.TimeoutError, ValueError, asyncio.IncompleteReadError):
        return 0


async def _get(port: int, path: str) -> int:
    reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=LINE_BYTES_MAX)
    try:
        writer.write(
            f"GET {path} HTTP/1.1\r\nhost: 127.0.0.1:{port}\r\nconnection: close\r\n\r\n".encode()
        )
        line = await reader.readuntil(b"\r\n")
        parts = line.split(b" ", 2)
        if len(parts) < 2 or not parts[0].startswith(b"HTTP/1."):
            raise ValueError("not an HTTP answer")
        return int(parts[1])
    except asyncio.LimitOverrunError as error:
        raise ValueError("not an HTTP answer") from error
    finally:
        writer.close()
