"""One gateway process, put together: `Gateway(config, clock)`, `start`, `stop`, `port`.

It serves from its last good table whatever happens to the control plane or the database.
"""

from aimindserve.gateway.admit import Doorkeeper
from aimindserve.gateway.config import GatewayConfig
from aimindserve.gateway.cors import Cors
from aimindserve.gateway.door import Door
from aimindserve.gateway.meter import Meter
from aimindserve.gateway.portal import Portal
from aimindserve.gateway.proxy import Proxy
from aimindserve.gateway.replies import refusals
from aimindserve.gateway.request_ids import RequestIds
from aimindserve.gateway.sync import Sync
from aimindserve.gateway.table import RoutingTable
from aimindserve.kit.clock import Clock
from aimindserve.kit.log import get_logger
from aimindserve.kit.tasks import TaskSupervisor
from aimindserve.wire.server import Request, Server, ServerConfig
from aimindserve.wire.upstream import Pool, UpstreamLimits

log = get_logger("gateway")

METRICS_TYPE = b"text/plain; version=0.0.4; charset=utf-8"
CONTROL_HEAD_TIMEOUT_S = 300.0


class Gateway:
    """The front door. Raises SettingsError for a bad certificate, OSError for a taken port."""

    def __init__(self, config: GatewayConfig, clock: Clock) -> None:
        self._config = config
        self._clock = clock
        self._tasks = TaskSupervisor(clock)
        self._workers = Pool(clock)
        self._control = Pool(clock, UpstreamLimits(head_timeout_s=CONTROL_HEAD_TIMEOUT_S))
        self._proxy = Proxy(
            pool=self._workers,
            meter=Meter(),
            clock=clock,
            tasks=self._tasks,
            bodies=config.bodies,
            retry_window_s=config.retry_window_s,
            table=RoutingTable(),
        )
        self._sync = Sync(
            self._proxy, self._control, config.control, config.credential, config.table_path
        )
        ids = RequestIds()
        door = Door(
            self._proxy,
            Portal(self._control, config.control),
            Doorkeeper(config.pepper, trust_localhost=config.trust_localhost),
            Cors(config.cors),
            self._sync.why_not_ready,
            ids,
        )
        self._server = Server(
            door,
            ServerConfig(
                host=config.host,
                port=config.port,
                reuse_port=config.reuse_port,
                tls=config.tls_context(),
                limits=config.limits,
                error_reply=refusals(ids),
            ),
            clock,
        )
        self._metrics: Server | None = None

    @property
    def port(self) -> int:
        """The port it listens on, once started."""
        return self._server.port

    @property
    def metrics_port(self) -> int:
        """The port of the metrics, once started; 0 when they are off."""
        return self._metrics.port if self._metrics is not None else 0

    @property
    def meter(self) -> Meter:
        """The counters."""
        return self._proxy.meter

    @property
    def table(self) -> RoutingTable:
        """The table in use."""
        return self._proxy.table

    async def start(self) -> None:
        """Listen, with the table of the last run until the control plane sends its own."""
        self._sync.load()
        config = self._config
        await self._server.start()
        try:
            if config.metrics_port is not None:
                metrics = ServerConfig(host=config.metrics_host, port=config.metrics_port)
                self._metrics = Server(self._show_metrics, metrics, self._clock)
                await self._metrics.start()
        except OSError:
            await self._server.stop(0)
            raise
        self._tasks.keep_running(self._sync.run, name="gateway.sync")
        log.info("gateway.started", port=self.port, metrics_port=self.metrics_port)

    async def stop(self, grace_s: float | None = None) -> None:
        """Let answers under way finish (for `grace_s`, else as the limits say), then end."""
        await self._server.stop(grace_s)
        if self._metrics is not None:
            await self._metrics.stop(0)
        await self._tasks.aclose()
        await self._sync.save()
        await self._workers.close()
        await self._control.close()

    def _show_metrics(self, request: Request) -> None:
        if request.path != "/metrics":
            request.respond(404)
            return
        gauges = {
            "aims_gateway_connections": self._server.connections,
            "aims_gateway_table_revision": self._proxy.table.revision,
            "aims_gateway_control_plane_up": int(self._sync.control_is_there),
        }
        text = self._proxy.meter.render(gauges)
        request.respond(200, text.encode(), content_type=METRICS_TYPE)
