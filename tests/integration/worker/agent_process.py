"""An agent in a process of its own, so that it can be killed: `agent_process.py CONFIG.json`."""

import asyncio
import contextlib
import json
import signal
import sys
from pathlib import Path

from aimindserve.accelerators._all import accelerators
from aimindserve.backends._all import backends
from aimindserve.kit.clock import SystemClock
from aimindserve.runtimes.process import ProcessRuntime
from aimindserve.sources._all import sources
from aimindserve.worker.agent import Agent
from aimindserve.worker.config import WorkerConfig
from aimindserve.worker.host import SystemHost
from aimindserve.worker.http_link import HttpLink


def config_of(given: dict) -> WorkerConfig:
    root = Path(given["dir"])
    return WorkerConfig(
        server_url=given["url"],
        token=given["token"],
        data_dir=root / "data",
        log_dir=root / "log",
        cache_dir=root / "cache",
        name="w1",
        ip="127.0.0.1",
        bind="127.0.0.1",
        port=given.get("port", 0),
        service_port_range=tuple(given["ports"]),
        metrics_bind="127.0.0.1",
        metrics_port=given.get("metrics_port", 0),
        stop_engines_on_exit=given.get("stop_engines", True),
    )


def agent_of(config: WorkerConfig) -> tuple[Agent, HttpLink]:
    clock = SystemClock()
    link = HttpLink(config, silence_s=5.0)
    runtime = ProcessRuntime(config.root, clock)
    host = SystemHost(config.name)
    agent = Agent(config, link, runtime, backends(), accelerators(), sources(), clock, host)
    return agent, link


async def run(config: WorkerConfig) -> None:
    agent, link = agent_of(config)
    task = asyncio.get_running_loop().create_task(agent.run())
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, task.cancel)
    with contextlib.suppress(asyncio.CancelledError):
        await task
    await link.aclose()


if __name__ == "__main__":
    asyncio.run(run(config_of(json.loads(Path(sys.argv[1]).read_text()))))
