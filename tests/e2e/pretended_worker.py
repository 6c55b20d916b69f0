"""A worker whose devices are there by declaration: `pretended_worker.py CONFIG.json`.

Everything else about it is real: the agent, its HTTP server, its engines. `files`: whether it finds
models on its disk, which it shares with the other workers of a test.
"""

import asyncio
import contextlib
import json
import signal
import sys
from pathlib import Path

from aimindserve.accelerators.fake import FakeAccelerator, FakeDevice
from aimindserve.backends._all import backends
from aimindserve.core.device import Reserved
from aimindserve.core.errors import NotFoundError
from aimindserve.kit.clock import SystemClock
from aimindserve.runtimes.process import ProcessRuntime
from aimindserve.sources._all import sources
from aimindserve.wire.loop import run
from aimindserve.worker.agent import Agent
from aimindserve.worker.config import WorkerConfig
from aimindserve.worker.host import SystemHost
from aimindserve.worker.http_link import HttpLink


class Nowhere:
    """A disk without models."""

    name = "local"

    async def resolve(self, model):
        raise NotFoundError("It is not here.", params={"reason": "path_missing"})

    async def fetch(self, model, target_dir, progress):
        raise NotFoundError("It is not here.", params={"reason": "path_missing"})


async def work(given: dict) -> None:
    root = Path(given["dir"])
    config = WorkerConfig(
        server_url=given["url"],
        token=given["token"],
        data_dir=root / "data",
        log_dir=root / "log",
        cache_dir=root / "cache",
        name=given["name"],
        explicit_name=True,
        ip="127.0.0.1",
        bind="127.0.0.1",
        port=given["port"],
        service_port_range=tuple(given["ports"]),
        tunnel_port_range=tuple(given["tunnel_ports"]),
        metrics=False,
        reserved=Reserved(0, 0),
        backend_paths=tuple(given["backend_paths"]),
    )
    clock = SystemClock()
    devices = [FakeDevice("Pretended", size) for size in given["devices"]]
    found = sources() if given["files"] else {"local": Nowhere()}
    link = HttpLink(config)
    agent = Agent(
        config, link, ProcessRuntime(config.root, clock), backends(),
        {"fake": FakeAccelerator(devices)}, found, clock, SystemHost(config.name),
    )  # fmt: skip
    task = asyncio.get_running_loop().create_task(agent.run())
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, task.cancel)
    with contextlib.suppress(asyncio.CancelledError):
        await task
    await link.aclose()


if __name__ == "__main__":
    run(work(json.loads(Path(sys.argv[1]).read_text())))
