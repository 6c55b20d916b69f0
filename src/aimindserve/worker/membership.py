"""Being a worker of a cluster: registering once, and again when the server has forgotten us."""

import asyncio
from collections.abc import Awaitable, Callable

from aimindserve import __version__
from aimindserve.core.errors import AimsError, ExistsError, UnauthenticatedError
from aimindserve.kit.clock import Clock
from aimindserve.kit.log import get_logger
from aimindserve.worker.backoff import Backoff
from aimindserve.worker.config import WorkerConfig
from aimindserve.worker.link import Hello, Identity, ServerLink

log = get_logger("worker")

REFUSED_LIMIT_S = 60.0


class Membership:
    """Who this worker is to its server."""

    def __init__(
        self, config: WorkerConfig, link: ServerLink, clock: Clock, jitter: Callable[[], float]
    ) -> None:
        self._config = config
        self._link = link
        self._clock = clock
        self._jitter = jitter
        self._joining = asyncio.Lock()
        self.machine_id = ""
        self.identity: Identity | None = None
        self.keep: Callable[[], Awaitable[None]] | None = None
        """Called whenever the identity has changed."""

    async def join(self) -> Identity:
        """This machine's identity; asks the server until it answers when there is none yet.

        Raises UnauthenticatedError (wrong token) or ExistsError (name taken) on a machine that was
        never a member: there is nothing running here yet that could be lost by giving up.
        """
        if self.identity is not None:
            return self.identity
        pauses = Backoff(self._jitter)
        while True:
            try:
                return await self._register()
            except (UnauthenticatedError, ExistsError):
                raise
            except AimsError as error:
                log.warning("server.unreachable", url=self._config.server_url, error=error.message)
            await self._clock.sleep(pauses.next_s())

    async def rejoin(self, refused: Identity) -> Identity:
        """A new identity after the server refused one. Never gives up: engines run here."""
        async with self._joining:
            pauses = Backoff(self._jitter, limit_s=REFUSED_LIMIT_S)
            while self.identity is None or self.identity == refused:
                try:
                    return await self._register()
                except AimsError as error:
                    log.error("worker.refused", error=error.message, hint=error.hint)
                await self._clock.sleep(pauses.next_s())
            return self.identity

    async def _register(self) -> Identity:
        config = self._config
        known = self.identity.name if self.identity is not None else config.name
        hello = Hello(
            name=known if not config.explicit_name else config.name,
            explicit_name=config.explicit_name,
            machine_id=self.machine_id,
            version=__version__,
            labels=config.labels,
        )
        self.identity = await self._link.register(hello)
        log.info("worker.registered", name=self.identity.name, server=config.server_url)
        if self.keep is not None:
            await self.keep()
        return self.identity
