"""This machine for real: the edges an agent has outside a simulation."""

import asyncio
import random
from collections.abc import Mapping, Sequence

from aimindserve.accelerators.base import Accelerator, Host
from aimindserve.core.device import Device, DeviceUsage, Inventory, Usage
from aimindserve.core.ids import DeviceId
from aimindserve.core.launch import Installation
from aimindserve.kit.log import get_logger
from aimindserve.runtimes.base import Handle, Runtime
from aimindserve.runtimes.process import ProcessRuntime
from aimindserve.sources.base import Source
from aimindserve.worker import inventory, llama_cpp_build
from aimindserve.worker.config import WorkerConfig
from aimindserve.worker.edges import Edges
from aimindserve.worker.files import ModelFiles
from aimindserve.worker.host import NamedHost
from aimindserve.worker.installations import find
from aimindserve.worker.logs import RunLogs
from aimindserve.worker.meter import HttpMeter
from aimindserve.worker.ports import LocalPorts, owner_check
from aimindserve.worker.probe import LoopbackProber
from aimindserve.worker.state import StateFile

log = get_logger("worker")


class LocalMachine:
    """Reads this machine in threads, so that a slow tool stops nothing."""

    def __init__(
        self, config: WorkerConfig, accelerators: Mapping[str, Accelerator], host: Host
    ) -> None:
        self._config = config
        self._accelerators = accelerators
        self._host = host
        self._found: frozenset[str] = frozenset()

    async def devices(self, worker: str) -> Mapping[str, Sequence[Device]]:
        """By accelerator plugin; only those that found something."""
        host = NamedHost(self._host, worker)
        found: dict[str, Sequence[Device]] = {}
        for name, plugin in self._accelerators.items():
            devices = await asyncio.to_thread(_detect, plugin, host)
            if devices:
                found[name] = devices
        self._found = frozenset(found)
        return found

    async def inventory(self, devices: Sequence[Device]) -> Inventory:
        """What there is."""
        return await asyncio.to_thread(inventory.read_inventory, devices, self._config.cache_dir)

    async def installations(self) -> Sequence[Installation]:
        """Engines that are there besides those that come with this program."""
        # Supervision point: a directory that cannot be read must not take the worker down.
        try:
            config = self._config
            places = (config.backend_paths, config.data_dir, config.program_env)
            found = await asyncio.to_thread(find, *places)
            lent = config.lends_devices
            return [each for each in found if lent or each.name != llama_cpp_build.NAME]
        except OSError as error:
            log.error("installations.unreadable", exc_info=error)
            return ()

    async def usage(self, worker: str) -> Usage:
        """What is in use now."""
        host = NamedHost(self._host, worker)
        devices: list[DeviceUsage] = []
        for name in sorted(self._found):
            used = await asyncio.to_thread(_use, self._accelerators[name], host)
            devices.extend(used.values())
        return await asyncio.to_thread(inventory.read_usage, devices, self._config.cache_dir)

    def oom_kills(self) -> int:
        """How many processes this system has killed for memory since it started."""
        return inventory.oom_kills()

    def address(self, server_url: str) -> str:
        """The address of this machine on the way to the server."""
        return inventory.address_towards(server_url)


def real_edges(
    config: WorkerConfig,
    accelerators: Mapping[str, Accelerator],
    sources: Mapping[str, Source],
    host: Host,
    runtime: Runtime,
) -> Edges:
    """The edges of this very machine."""

    def owns(handle: Handle, pid: int) -> bool:
        return runtime.owns(handle, pid) if isinstance(runtime, ProcessRuntime) else True

    ports = LocalPorts()
    return Edges(
        prober=LoopbackProber(owner_check(owns), lambda port: bool(ports.taken(port, port))),
        meter=HttpMeter(),
        machine=LocalMachine(config, accelerators, host),
        ports=ports,
        files=ModelFiles(sources, str(config.cache_dir)),
        memory=StateFile(config.root),
        logs=RunLogs(config.root / "runs", config.log_dir / "serve"),
        jitter=random.Random().random,  # noqa: S311 - pauses, not secrets
    )


def _detect(plugin: Accelerator, host: Host) -> Sequence[Device]:
    # Supervision point: a vendor's odd tool output must not take the worker down with it.
    try:
        return plugin.detect(host)
    except Exception as error:
        log.error("devices.unreadable", accelerator=plugin.name, exc_info=error)
        return ()


def _use(plugin: Accelerator, host: Host) -> Mapping[DeviceId, DeviceUsage]:
    # Supervision point, as above.
    try:
        return plugin.usage(host)
    except Exception as error:
        log.error("devices.unreadable", accelerator=plugin.name, exc_info=error)
        return {}
