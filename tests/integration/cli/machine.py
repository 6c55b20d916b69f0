"""A worker of which there is only what logs need: its real HTTP server over real log files."""

import itertools
from pathlib import Path

from aimindserve.core.device import Reserved
from aimindserve.core.placement import Placement, Rank
from aimindserve.core.report import WorkerObservation
from aimindserve.kit.clock import SystemClock
from aimindserve.resources.worker import WorkerSpec, WorkerStatus
from aimindserve.store.base import Draft
from aimindserve.wire.server import ServerConfig, serve
from aimindserve.wire.upstream import Pool
from aimindserve.worker.logs import RunLogs
from aimindserve.worker.proxy import Proxy, ProxyParts
from aimindserve.worker.traffic import Traffic
from aimindserve.worker.tunnel_door import Door, DoorParts
from integration.cli.serving import INVENTORY, USAGE

KEY = "proxy-key"


class Machine:
    """The worker `name` of a server, at a port it keeps. It can go away and come back."""

    def __init__(self, served, name: str, folder: Path) -> None:
        self._served, self.name = served, name
        self._logs = RunLogs(folder / "run", folder / "log")
        self._going = True
        self._server = self._pool = None
        self._port = 0
        self.come()
        seen = WorkerObservation(
            version="9.9.9", host="127.0.0.1", port=self._port, metrics_port=1,
            inventory=INVENTORY, usage=USAGE, reserved=Reserved(),
        )  # fmt: skip
        spec, status = WorkerSpec(proxy_key=KEY), WorkerStatus(ready=True, observed=seen)
        served.do(served.store.create(Draft("worker", name, spec, status)))

    def come(self) -> None:
        """Answer, at the same port as before."""

        async def start():
            clock = SystemClock()
            self._pool = Pool(clock)
            traffic = Traffic()
            parts = ProxyParts(
                key=lambda: KEY, processes=dict, going=lambda *_: self._going,
                suspect=print, traffic=traffic, shelf=self._logs, pool=self._pool, clock=clock,
                door=Door(DoorParts(dict, dict, str, print, traffic, clock)),
            )  # fmt: skip
            self._server = await serve(Proxy(parts).handle, ServerConfig(port=self._port), clock)
            self._port = self._server.port

        self._served.do(start())

    def leave(self) -> None:
        """Answer no more, and drop what was being answered."""

        async def stop():
            await self._server.stop(0)
            await self._pool.close()

        self._served.do(stop())

    def end_runs(self) -> None:
        """The engines have ended: no more lines come."""
        self._going = False

    def writes(self, instance: str, *lines: str, run: int = 1) -> None:
        """An engine of this worker writes into its log."""
        path = Path(self._logs.place(instance, run)[1])
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("a") as file:
            file.writelines(f"{line}\n" for line in lines)

    def holds(self, deployment: str, instance: str) -> None:
        """An instance was placed here."""
        place = Placement(f"p-{next(_COUNT)}", "cpu", (Rank(self.name),))
        self._served.add_instance(deployment, instance, placement=place)


_COUNT = itertools.count()
