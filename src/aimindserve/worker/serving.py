"""The worker's two listeners: the proxy for gateways, and metrics for Prometheus."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from aimindserve.kit.clock import Clock
from aimindserve.kit.log import get_logger
from aimindserve.wire.limits import Limits, UpstreamLimits
from aimindserve.wire.request import Request
from aimindserve.wire.server import Server, ServerConfig, serve
from aimindserve.wire.upstream import Pool
from aimindserve.worker import metrics
from aimindserve.worker.config import WorkerConfig
from aimindserve.worker.observed import Process
from aimindserve.worker.proxy import Proxy, ProxyParts, Shelf, error_reply
from aimindserve.worker.traffic import Traffic
from aimindserve.worker.tunnel_door import Door

log = get_logger("worker")

DRAIN_S = 2.0
_ENGINE_LIMITS = UpstreamLimits(connect_timeout_s=3.0, idle_timeout_s=4.0)
"""Idle connections to engines end before the engines end them (five seconds in some)."""
_METRICS_LIMITS = Limits(body_bytes=0, connections=64)


@dataclass(frozen=True, slots=True)
class Serving:
    """What the listeners show."""

    config: WorkerConfig
    clock: Clock
    key: Callable[[], str]
    processes: Callable[[], Mapping[str, Process]]
    going: Callable[[str, int], bool]
    suspect: Callable[[str], None]
    traffic: Traffic
    shelf: Shelf
    picture: Callable[[], metrics.Picture]
    door: Door


class Listeners:
    """Both of them. Raises OSError from `start` when a port is taken."""

    def __init__(self, serving: Serving) -> None:
        self._serving = serving
        self._pool: Pool | None = None
        self._servers: list[Server] = []
        self.port = 0
        self.metrics_port = 0

    async def start(self) -> None:
        """Listen."""
        serving, config = self._serving, self._serving.config
        pool = self._pool = Pool(serving.clock, _ENGINE_LIMITS)
        proxy = Proxy(
            ProxyParts(
                key=serving.key,
                processes=serving.processes,
                going=serving.going,
                suspect=serving.suspect,
                traffic=serving.traffic,
                shelf=serving.shelf,
                pool=pool,
                clock=serving.clock,
                door=serving.door,
            )
        )
        front = ServerConfig(host=config.bind, port=config.port, error_reply=error_reply)
        self._servers.append(await serve(proxy.handle, front, serving.clock))
        self.port = self._servers[0].port
        if config.metrics:
            side = ServerConfig(
                host=config.metrics_bind, port=config.metrics_port, limits=_METRICS_LIMITS
            )
            self._servers.append(await serve(self._metrics, side, serving.clock))
            self.metrics_port = self._servers[1].port
        log.info("worker.listening", port=self.port, metrics_port=self.metrics_port)

    async def stop(self) -> None:
        """Finish what is under way for a moment, then close."""
        self._serving.door.close()
        for server in self._servers:
            await server.stop(DRAIN_S)
        self._servers.clear()
        if self._pool is not None:
            await self._pool.close()
            self._pool = None

    def _metrics(self, request: Request) -> None:
        if request.path != "/metrics" or request.method not in {"GET", "HEAD"}:
            request.respond(404, b"metrics are at /metrics\n")
            return
        text = metrics.render(self._serving.picture())
        request.respond(200, text, content_type=metrics.CONTENT_TYPE.encode())
