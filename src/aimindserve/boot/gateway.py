"""A gateway's process: the front door. Several may share the port.

`python -m aimindserve.boot.gateway HANDOVER [NUMBER]`
"""

import sys
from pathlib import Path

from aimindserve.boot.child import Child, main
from aimindserve.boot.places import Places
from aimindserve.boot.settings import Settings
from aimindserve.gateway.app import Gateway
from aimindserve.gateway.config import CorsConfig, GatewayConfig
from aimindserve.kit.secrets import read_or_create
from aimindserve.wire.pool import Origin

DRAIN_S = 20.0
"""How long answers under way may take once the process was told to end."""


async def work(child: Child) -> None:
    """Serve until ordered to end; requests that are under way are finished."""
    gateway = Gateway(gateway_config(child.settings, child.places, _number()), child.clock)
    await gateway.start()
    child.ready()
    await child.orders.stop.wait()
    await gateway.stop(0 if child.orders.stop_now.is_set() else DRAIN_S)


def gateway_config(settings: Settings, places: Places, number: int) -> GatewayConfig:
    """What the gateway with this number, from 1, needs of the settings."""
    server = settings.server
    if places.control_port:
        control = Origin("127.0.0.1", places.control_port)
    else:
        control = Origin.unix(str(places.control_socket))
    return GatewayConfig(
        control=control,
        credential=read_or_create(places.gateway_credential),
        pepper=read_or_create(places.pepper).encode(),
        host=server.host,
        port=server.port,
        reuse_port=server.gateway_processes > 1,
        trust_localhost=not server.force_auth_localhost,
        tls_cert=server.ssl_certfile,
        tls_key=server.ssl_keyfile,
        table_path=_table(places),
        cors=CorsConfig(
            enabled=server.enable_cors,
            origins=server.allow_origins,
            methods=server.allow_methods,
            headers=server.allow_headers,
            credentials=server.allow_credentials,
        ),
        metrics_host=server.host,
        # Two listeners cannot share this port usefully: each would answer for itself.
        metrics_port=server.server_metrics_port if number == 1 else None,
    )


def _table(places: Places) -> Path:
    """All gateways of a machine keep one copy: they know the same."""
    return places.data_dir / "gateway" / "table.json"


def _number() -> int:
    return int(sys.argv[2]) if len(sys.argv) > 2 else 1


if __name__ == "__main__":
    main("gateway", work)
