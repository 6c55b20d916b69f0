"""How long lists, gets and watches of a filled control plane take, in this process.

    PYTHONPATH=src python tests/bench/api_list.py [instances]

The limit (list of 2,000 instances, p99 under 50 ms) is for the whole request: guard, query, render,
encode. What is timed is one page of 100, one of 500, and all 2,000 as four pages of 500. The
processor time beside it tells what of the rest was waiting for a busy machine.
"""

import asyncio
import gc
import sys
import tempfile
import time
from pathlib import Path

import httpx
import structlog

from aimindserve.core.device import MemoryParts
from aimindserve.core.ids import WorkerName
from aimindserve.core.placement import Placement, Rank
from aimindserve.core.report import InstanceObservation, RunState
from aimindserve.kit.clock import SystemClock
from aimindserve.resources.deployment import DeploymentSpec
from aimindserve.resources.instance import InstanceSpec, InstanceStatus
from aimindserve.resources.worker import WorkerSpec, WorkerStatus
from aimindserve.server.app import create_app
from aimindserve.server.parts import ServerConfig, ServerParts
from aimindserve.store.base import Draft
from aimindserve.store.leases import Leases
from aimindserve.store.memory import MemoryBacking
from aimindserve.store.resources import ResourceStore

LIMIT_MS = 50.0
GATEWAY = "the-gateway-credential"
WORKERS = 200


class NoDecisions:
    def get(self, instance: str) -> None:
        return None


async def fill(store: ResourceStore, count: int) -> None:
    for number in range(WORKERS):
        await store.create(Draft("worker", f"w{number}", WorkerSpec(), WorkerStatus(ready=True)))
    spec = DeploymentSpec.model_validate({"model": {"source": "local", "path": "/models/m.gguf"}})
    for number in range(count):
        placement = Placement(
            id=f"p{number}",
            shape="cpu",
            ranks=(Rank(WorkerName(f"w{number % WORKERS}"), ram=MemoryParts(weights=10**9)),),
        )
        seen = InstanceObservation(f"p{number}", RunState.READY, since=1.0, port=40000, run=1)
        template = InstanceSpec(
            deployment=f"d{number % 50}", deployment_generation=1, template=spec
        )
        status = InstanceStatus(placement=placement, observed=seen)
        await store.create(Draft("instance", f"i{number:05}", template, status))


async def timed(
    client: httpx.AsyncClient, paths: list[str], rounds: int
) -> tuple[list[float], float]:
    """(sorted wall times, mean processor time), in milliseconds per round."""
    times: list[float] = []
    spent = time.process_time()
    for _ in range(rounds):
        started = time.perf_counter()
        for path in paths:
            answer = await client.get(path)
            assert answer.status_code == 200, answer.text
        times.append((time.perf_counter() - started) * 1000)
    return sorted(times), (time.process_time() - spent) * 1000 / rounds


def told(name: str, measured: tuple[list[float], float], limit_ms: float | None = None) -> None:
    times, spent = measured
    p50, p99 = times[len(times) // 2], times[int(len(times) * 0.99)]
    line = f"{name:<28} p50 {p50:7.2f} ms   p99 {p99:7.2f} ms   processor {spent:7.2f} ms"
    if limit_ms is not None:
        line += f"   limit {limit_ms:.0f} ms: {'ok' if p99 < limit_ms else 'OVER'}"
    print(line)


async def main(count: int) -> None:
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(40))
    clock = SystemClock()
    store = ResourceStore(MemoryBacking(), clock)
    await store.open()
    await fill(store, count)
    with tempfile.TemporaryDirectory() as folder:
        config = ServerConfig("0", Path(folder), b"pepper", "join", GATEWAY)
        parts = ServerParts(store, Leases(clock), clock, NoDecisions(), config)
        app = create_app(parts)
    headers = {"authorization": f"Bearer {GATEWAY}"}
    base = "/api/v1/instances"
    async with httpx.AsyncClient(
        transport=httpx.ASGITransport(app), base_url="http://bench", headers=headers
    ) as client:
        pages = [f"{base}?per_page=500&page={n + 1}" for n in range((count + 499) // 500)]
        cold = await timed(client, pages, 1)
        print(f"{count} instances on {WORKERS} workers; the first time, all: {cold[0][0]:.1f} ms")
        gc.freeze()
        told("get one", await timed(client, [f"{base}/i00000"], 500))
        told("page of 100", await timed(client, [base], 300))
        told("search in all, page of 100", await timed(client, [f"{base}?search=i019"], 300))
        told("page of 500", await timed(client, pages[:1], 200))
        told(f"all {count}, in {len(pages)} pages", await timed(client, pages, 100), LIMIT_MS)
    await store.close()


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]) if len(sys.argv) > 1 else 2000))
