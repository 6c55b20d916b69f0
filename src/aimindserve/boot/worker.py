"""The worker agent's process, embedded beside a server or alone on its machine.

`python -m aimindserve.boot.worker HANDOVER`
"""

import asyncio
import socket

from aimindserve.accelerators._all import accelerators
from aimindserve.backends._all import backends
from aimindserve.boot.child import Child, RefusedError, main
from aimindserve.boot.places import Places, join_token
from aimindserve.boot.settings import Settings, environment
from aimindserve.core.errors import AimsError, ExistsError, UnauthenticatedError
from aimindserve.core.ids import is_name
from aimindserve.kit.tasks import TaskSupervisor
from aimindserve.runtimes.base import Runtime
from aimindserve.runtimes.process import ProcessRuntime
from aimindserve.sources._all import sources
from aimindserve.worker.agent import Agent
from aimindserve.worker.config import WorkerConfig
from aimindserve.worker.host import SystemHost
from aimindserve.worker.http_link import HttpLink

ALL_INTERFACES = "0.0.0.0"  # noqa: S104 - gateways on other machines must reach a worker
LOOPBACK = "127.0.0.1"
POLL_S = 0.02
PROGRAM_VARIABLES = ("PATH", "LD_LIBRARY_PATH")


async def work(child: Child) -> None:
    """Work until ordered to end; then the inference backends end too.

    Raises RefusedError when this machine may not join, AimsError for whatever else ended the agent.
    """
    config = worker_config(child.settings, child.places)
    runtime = ProcessRuntime(config.root, child.clock, environment())
    link = HttpLink(config)
    parts = (backends(), accelerators(), sources(), child.clock, SystemHost(config.name))
    agent = Agent(config, link, runtime, *parts)
    tasks = TaskSupervisor(child.clock)
    failures: list[AimsError] = []
    life = tasks.spawn(_live(agent, failures), name="agent")
    told = tasks.spawn(_told(child.orders.stop), name="orders")
    tasks.spawn(_announce(agent, child), name="announce")
    try:
        await asyncio.wait([life, told], return_when=asyncio.FIRST_COMPLETED)
        tasks.spawn(_hurry(runtime, child.orders.stop_now), name="hurry")
        life.cancel()
        await asyncio.wait([life])
    finally:
        await tasks.aclose()
        await link.aclose()
    if not child.orders.stop.is_set():
        raise _refused(failures[0]) if failures else AimsError("The agent ended by itself.")


def worker_config(settings: Settings, places: Places) -> WorkerConfig:
    """What the agent needs of the settings."""
    worker = settings.worker
    # Beside a server only its own gateway asks for this worker, and it asks over loopback.
    embedded = worker.server_url is None and worker.worker_ip is None
    return WorkerConfig(
        server_url=worker.server_url or places.control_url,
        token=join_token(places, settings),
        data_dir=places.data_dir,
        log_dir=places.log_dir,
        cache_dir=settings.general.cache_dir,
        name=worker.worker_name or host_name(),
        explicit_name=worker.worker_name is not None,
        ip=LOOPBACK if embedded else worker.worker_ip,
        bind=LOOPBACK if embedded else ALL_INTERFACES,
        port=worker.worker_port,
        service_port_range=worker.service_port_range,
        tunnel_port_range=worker.rpc_server_port_range,
        lends_devices=not worker.disable_rpc_servers,
        metrics=not worker.disable_metrics,
        metrics_port=worker.metrics_port,
        reserved=worker.system_reserved,
        backend_paths=worker.backend_paths,
        program_env={
            name: value for name, value in environment().items() if name in PROGRAM_VARIABLES
        },
    )


def host_name() -> str:
    """This machine's name in the form names have here; `worker` when nothing is left of it."""
    plain = "".join(
        letter if letter.isalnum() and letter.isascii() else "-"
        for letter in socket.gethostname().split(".")[0].lower()
    )
    name = plain.strip("-")[:63].rstrip("-")
    return name if is_name(name) else "worker"


async def _live(agent: Agent, failures: list[AimsError]) -> None:
    try:
        await agent.run()
    except AimsError as error:
        failures.append(error)


async def _told(stop: asyncio.Event) -> None:
    await stop.wait()


async def _announce(agent: Agent, child: Child) -> None:
    """The worker does its work once it knows what is wanted of it."""
    while agent.desired is None:
        await child.clock.sleep(POLL_S)
    child.ready()


async def _hurry(runtime: Runtime, stop_now: asyncio.Event) -> None:
    """When nobody wants to wait any more, inference backends get no time to end by themselves."""
    await stop_now.wait()
    for handle in await runtime.recover():
        await runtime.stop(handle, 0.0)


def _refused(error: AimsError) -> AimsError:
    if isinstance(error, UnauthenticatedError):
        return RefusedError(
            "The server does not accept this token.",
            hint="Give with --token what is in <data-dir>/token on the server.",
        )
    if isinstance(error, ExistsError):
        return RefusedError(error.message, hint=error.hint, params=error.params)
    return error


if __name__ == "__main__":
    main("worker", work)
