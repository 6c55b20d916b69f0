"""An HTTP/1.1 server for handlers that are called, not spawned.

    server = await serve(handler, ServerConfig(port=10150), clock)
    ...
    await server.stop()

`handler(request)` runs in the event loop as soon as the head of a request is there. It may answer
with plain calls and return None (nothing is allocated but the request), or return a coroutine,
which then runs as a task of the server: cancelled when the client hangs up, and answered with 500
when it fails. It knows nothing of what is served.
"""

import asyncio
import ssl
from dataclasses import dataclass, field
from pathlib import Path

from aimindserve.kit.clock import Clock
from aimindserve.kit.tasks import TaskSupervisor
from aimindserve.wire.connection import Connection, ErrorReply, Handler, Shared, plain_error
from aimindserve.wire.errors import BodyBrokenError, BodyTooLargeError, ClientGoneError
from aimindserve.wire.limits import Limits
from aimindserve.wire.request import Reply, Request, RequestHead

__all__ = [
    "BodyBrokenError",
    "BodyTooLargeError",
    "ClientGoneError",
    "ErrorReply",
    "Handler",
    "Limits",
    "Reply",
    "Request",
    "RequestHead",
    "Server",
    "ServerConfig",
    "serve",
]

SWEEP_S = 0.5
BACKLOG = 1024


@dataclass(frozen=True, slots=True)
class ServerConfig:
    """Where to listen. `unix_path` instead of host and port; port 0 takes a free one."""

    host: str = "127.0.0.1"
    port: int = 0
    unix_path: Path | None = None
    reuse_port: bool = False
    tls: ssl.SSLContext | None = None
    limits: Limits = field(default_factory=Limits)
    error_reply: ErrorReply = plain_error
    """Renders what the server itself refuses."""


class Server:
    """A listening server. Made by `serve`."""

    def __init__(self, handler: Handler, config: ServerConfig, clock: Clock) -> None:
        self._config = config
        self._clock = clock
        self._tasks = TaskSupervisor(clock)
        self._listener: asyncio.Server | None = None
        self.port = 0
        """The TCP port it listens on; 0 before `start` and on a unix socket."""
        self._shared = Shared(
            handler=handler,
            limits=config.limits,
            error_reply=config.error_reply,
            tasks=self._tasks,
            scheme="https" if config.tls is not None else "http",
            now=clock.monotonic(),
        )

    @property
    def connections(self) -> int:
        """Open client connections."""
        return len(self._shared.connections)

    async def start(self) -> None:
        """Listen. Raises OSError when the address cannot be used."""
        loop = asyncio.get_running_loop()
        config = self._config
        if config.unix_path is not None:
            self._listener = await loop.create_unix_server(
                self._connect, str(config.unix_path), ssl=config.tls, backlog=BACKLOG
            )
        else:
            self._listener = await loop.create_server(
                self._connect,
                config.host,
                config.port,
                ssl=config.tls,
                reuse_port=config.reuse_port or None,
                backlog=BACKLOG,
            )
            self.port = int(self._listener.sockets[0].getsockname()[1])
        self._tasks.keep_running(self._sweep, name="wire.server.sweep")

    async def stop(self, grace_s: float | None = None) -> None:
        """Accept nothing more, let answers under way finish for `grace_s`, then cut the rest."""
        if self._listener is not None:
            self._listener.close()
        limit_s = self._config.limits.drain_s if grace_s is None else grace_s
        self._shared.draining = True
        for connection in list(self._shared.connections):
            connection.drain_and_close()
        deadline = self._clock.monotonic() + limit_s
        while self._shared.connections and self._clock.monotonic() < deadline:
            await self._clock.sleep(0.02)
        for connection in list(self._shared.connections):
            connection.cut()
        await self._tasks.aclose()
        await self._clock.sleep(0)

    def _connect(self) -> Connection:
        return Connection(self._shared)

    async def _sweep(self) -> None:
        while True:
            await self._clock.sleep(SWEEP_S)
            now = self._shared.now = self._clock.monotonic()
            for connection in list(self._shared.connections):
                connection.check(now)


async def serve(handler: Handler, config: ServerConfig, clock: Clock) -> Server:
    """Start a server that answers with `handler`. Raises OSError when it cannot listen."""
    server = Server(handler, config, clock)
    await server.start()
    return server
