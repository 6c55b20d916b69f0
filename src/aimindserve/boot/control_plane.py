"""The control plane joined from its parts: store, controllers, API.

Used by its process (`boot.control`) and by the demo; must not know how either is started.
"""

import asyncio
import socket
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import cast

import uvicorn

from aimindserve import __version__
from aimindserve.backends._all import backends
from aimindserve.boot.child import Child, Orders
from aimindserve.boot.handover import forget_bootstrap_password
from aimindserve.boot.places import Places, join_token
from aimindserve.boot.settings import Settings
from aimindserve.controllers.all import build
from aimindserve.controllers.chronicle import Chronicle
from aimindserve.controllers.fits import FitParts, Fits
from aimindserve.controllers.inspections import Inspections
from aimindserve.controllers.loop import ControllerLoop
from aimindserve.controllers.snapshot import Snapshots
from aimindserve.kit.log import get_logger
from aimindserve.kit.secrets import new_id, read_or_create
from aimindserve.kit.tasks import TaskSupervisor
from aimindserve.server.app import ControlPlane
from aimindserve.server.parts import ServerConfig, ServerParts
from aimindserve.store.base import Backing
from aimindserve.store.decisions import Decisions
from aimindserve.store.leases import Leases
from aimindserve.store.records._record import RecordKeeper
from aimindserve.store.records.audit import audit
from aimindserve.store.records.decisions import decision_records, question_records
from aimindserve.store.records.events import events
from aimindserve.store.resources import ResourceStore

log = get_logger("boot")

GRACE_S = 5
"""How long open requests may go on once the process was told to end; watches never end alone."""
POLL_S = 0.005


@asynccontextmanager
async def control_plane(child: Child, backing: Backing) -> AsyncGenerator[ServerParts, None]:
    """Store and controllers at work, with the parts that an API over them needs."""
    clock = child.clock
    config = server_config(child.settings, child.places)
    store = ResourceStore(backing, clock)
    await store.open()
    tasks = TaskSupervisor(clock)
    # Every backing keeps records too; the two protocols are apart because most see only one.
    keeper = cast("RecordKeeper", backing)
    trail, history = audit(keeper, clock), events(keeper, clock)
    decided, asked = decision_records(keeper, clock), question_records(keeper, clock)
    try:
        await trail.open()
        await history.open()
        await decided.open()
        await asked.open()
        leases = Leases(clock)
        decisions = Decisions(clock=clock, decisions=decided, questions=asked)
        inspections = Inspections(clock)
        snapshots = Snapshots(store, leases)
        controllers = build(
            store,
            leases,
            clock,
            backends(),
            new_id,
            decisions,
            inspections=inspections,
            snapshots=snapshots,
        )
        fits = Fits(FitParts(store, snapshots, clock, backends(), inspections))
        loop = ControllerLoop(store, controllers, clock)
        tasks.keep_running(loop.run, name="controllers")
        tasks.keep_running(Chronicle(store, history, clock, new_id).run, name="chronicle")
        yield ServerParts(store, leases, clock, decisions, config, trail, history, fits)
    finally:
        await tasks.aclose()
        await trail.close()
        await history.close()
        await decided.close()
        await asked.close()
        await store.close()


def server_config(settings: Settings, places: Places) -> ServerConfig:
    """What the API needs of the settings."""
    server = settings.server
    with_cookies = server.enable_cors and server.allow_credentials
    return ServerConfig(
        version=__version__,
        data_dir=places.data_dir,
        pepper=read_or_create(places.pepper).encode(),
        join_token=join_token(places, settings),
        gateway_credential=read_or_create(places.gateway_credential),
        operator_credential=read_or_create(places.operator_credential),
        trust_localhost=not server.force_auth_localhost,
        openapi_docs=not server.disable_openapi_docs,
        bootstrap_password=server.bootstrap_password,
        trusted_origins=server.allow_origins if with_cookies else (),
        web_dir=_built_console(),
    )


async def serve(app: ControlPlane, listener: socket.socket, child: Child) -> None:
    """Answer on `listener` until ordered to end."""
    server = uvicorn.Server(
        uvicorn.Config(
            app,
            loop="none",
            http="httptools",
            ws="none",
            lifespan="on",
            log_config=None,
            access_log=False,
            server_header=False,
            date_header=True,
            proxy_headers=False,
            timeout_graceful_shutdown=GRACE_S,
            timeout_keep_alive=75,
        )
    )
    tasks = TaskSupervisor(child.clock)
    tasks.spawn(_announce(server, child), name="announce")
    tasks.spawn(_obey(app, server, child.orders), name="obey")
    try:
        await server.serve(sockets=[listener])
    finally:
        await tasks.aclose()


async def _announce(server: uvicorn.Server, child: Child) -> None:
    """Once it serves, the first administrator is there: its password is kept nowhere any more."""
    while not server.started:
        await child.clock.sleep(POLL_S)
    try:
        await asyncio.to_thread(forget_bootstrap_password, child.settings, child.places)
    except OSError as error:
        # A full disk: it stays in a file that only this user reads, and is gone at the end.
        log.warning("bootstrap.kept", path=str(child.places.handover), error=str(error))
    child.ready()


async def _obey(app: ControlPlane, server: uvicorn.Server, orders: Orders) -> None:
    await orders.end_streams.wait()
    app.end_streams()
    await orders.stop.wait()
    server.should_exit = True


def _built_console() -> Path | None:
    folder = Path(__file__).parent.parent / "_web"
    return folder if (folder / "index.html").is_file() else None
