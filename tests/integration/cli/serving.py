"""The real control plane on a loopback port, in a thread of its own, and a way to run commands.

In front of it stands what a gateway does to management requests: client headers are removed, the
peer's address is added. `/v1/chat/completions` is answered here, for these tests have no worker.
"""

import asyncio
import contextlib
import io
import json
import tempfile
import threading
import time
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import uvicorn

from aimindserve.backends._all import backends
from aimindserve.cli import app as cli
from aimindserve.controllers.fits import FitParts, Fits
from aimindserve.controllers.inspections import Inspections
from aimindserve.controllers.snapshot import Snapshots
from aimindserve.controllers.views import model_file_name
from aimindserve.core.device import (
    Device,
    DeviceUsage,
    Inventory,
    MemoryParts,
    Reserved,
    Usage,
)
from aimindserve.core.facts import ModelRef, SourceName
from aimindserve.core.ids import DeviceId
from aimindserve.core.placement import Placement, Rank
from aimindserve.core.reason import Reason
from aimindserve.core.report import (
    FileObservation,
    FileState,
    InstanceObservation,
    RunState,
    WorkerObservation,
)
from aimindserve.kit import log
from aimindserve.kit.clock import SystemClock
from aimindserve.resources.deployment import DeploymentStatus
from aimindserve.resources.instance import InstanceSpec, InstanceStatus
from aimindserve.resources.model_file import ModelFileSpec, ModelFileStatus
from aimindserve.resources.worker import WorkerSpec, WorkerStatus
from aimindserve.server.app import create_app
from aimindserve.server.parts import ServerConfig, ServerParts
from aimindserve.sim.cluster import model_facts
from aimindserve.store.base import Draft
from aimindserve.store.decisions import Decisions
from aimindserve.store.leases import Leases
from aimindserve.store.memory import MemoryBacking
from aimindserve.store.records._record import Records
from aimindserve.store.records.events import Event, events
from aimindserve.store.resources import ResourceStore

PASSWORD = "correct horse battery"
GIB = 1024**3
INVENTORY = Inventory(
    os="linux", os_name="Debian", os_version="12", kernel="6.1", arch="amd64", cpu_name="Epyc",
    cpu_count=8, ram_bytes=32 * GIB, swap_bytes=0, boot_time=0.0,
)  # fmt: skip
USAGE = Usage(
    cpu=0.1, ram_used_bytes=2 * GIB, ram_available_bytes=30 * GIB, swap_used_bytes=0,
    disk_available_bytes=100 * GIB,
)  # fmt: skip


class Front:
    """What the gateway does for management requests, and a model that always says the same."""

    def __init__(self, plane: Any, peer: str) -> None:
        self._plane, self.peer = plane, peer
        self.asked: list[dict[str, Any]] = []
        self.pieces: list[Any] = ["Hello", " there", "."]

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "http":
            if scope["path"] == "/v1/chat/completions":
                await self._chat(receive, send)
                return
            headers = [pair for pair in scope["headers"] if not pair[0].startswith(b"x-aims-")]
            scope = {**scope, "headers": [*headers, (b"x-aims-client", self.peer.encode())]}
        await self._plane(scope, receive, send)

    async def _chat(self, receive: Any, send: Any) -> None:
        body = b""
        more = True
        while more:
            message = await receive()
            body += message.get("body", b"")
            more = message.get("more_body", False)
        asked = json.loads(body)
        self.asked.append(asked)
        stream = asked.get("stream", False)
        kind = b"text/event-stream" if stream else b"application/json"
        await send(
            {"type": "http.response.start", "status": 200, "headers": [(b"content-type", kind)]}
        )
        if not stream:
            text = "".join(self.pieces)
            answer = {"choices": [{"message": {"role": "assistant", "content": text}}]}
            await send({"type": "http.response.body", "body": json.dumps(answer).encode()})
            return
        for piece in self.pieces:
            chunk = (
                piece if isinstance(piece, dict) else {"choices": [{"delta": {"content": piece}}]}
            )
            data = b"data: " + json.dumps(chunk).encode() + b"\n\n"
            await send({"type": "http.response.body", "body": data, "more_body": True})
        await send({"type": "http.response.body", "body": b"data: [DONE]\n\n"})


@dataclass
class Serving:
    """A running server: its address, its store, and what the cluster would write into it."""

    url: str
    store: ResourceStore
    decisions: Decisions
    front: Front
    loop: asyncio.AbstractEventLoop
    server: uvicorn.Server
    history: Records[Event]
    data_dir: Path
    written: list[str] = field(default_factory=list)

    def do(self, work: Any) -> Any:
        """Run a coroutine in the server's loop and return its result."""
        return asyncio.run_coroutine_threadsafe(work, self.loop).result(20)

    def run(self, *words: str) -> int:
        """Run one command line; its exit code."""
        return cli.run(list(words))

    def add_worker(self, name: str = "gpu-01", *, gpu_gib: int = 0) -> None:
        """A worker that reports; with one GPU of so much memory, if any."""
        inventory, usage = INVENTORY, USAGE
        if gpu_gib:
            gpu = Device(DeviceId(f"{name}:cuda:0"), 0, "cuda", "nvidia", "L4", gpu_gib * GIB)
            inventory = replace(inventory, devices=(gpu,))
            usage = replace(usage, devices=(DeviceUsage(gpu.id, 0),))
        observed = WorkerObservation(
            version="9.9.9", host="10.0.0.1", port=10150, metrics_port=10151,
            inventory=inventory, usage=usage, reserved=Reserved(),
        )  # fmt: skip
        status = WorkerStatus(ready=True, observed=observed)
        self.do(self.store.create(Draft("worker", name, WorkerSpec(), status)))

    def has_model(self, path: str, worker: str = "gpu-01") -> None:
        """A worker knows the model file at `path`."""
        model = ModelRef(SourceName.LOCAL, path=path)
        seen = FileObservation(FileState.READY, path=path, facts=model_facts(0))
        spec = ModelFileSpec(worker=worker, model=model)
        status = ModelFileStatus(observed=seen)
        self.do(
            self.store.create(Draft("model-file", model_file_name(worker, model), spec, status))
        )

    def happened(self, kind: str, name: str, code: str, **fields: Any) -> None:
        """What the control plane's chronicle writes."""
        at = time.time()
        fields = {"time": at, "first_time": at, "params": {"worker": "gpu-01"}, **fields}

        async def append() -> None:
            self.history.append(Event(kind=kind, name=name, code=code, **fields))

        self.do(append())

    def add_instance(self, deployment: str, name: str, **status: Any) -> None:
        found = self.store.get("deployment", deployment)
        spec = InstanceSpec(deployment=deployment, deployment_generation=1, template=found.spec)
        self.do(self.store.create(Draft("instance", name, spec, InstanceStatus(**status))))

    def settle(self, deployment: str, *, ready: int, replicas: int | None = None) -> None:
        """What the deployments controller writes."""

        def change(found: Any) -> Any:
            wanted = found.spec.replicas if replicas is None else replicas
            return found.with_status(
                DeploymentStatus(
                    observed_generation=found.metadata.generation,
                    replicas=wanted,
                    ready_replicas=ready,
                )
            )

        self.do(self.store.update("deployment", deployment, change))

    def observe(self, instance: str, state: RunState, **fields: Any) -> None:
        """What a worker reports."""

        def change(found: Any) -> Any:
            seen = InstanceObservation("p1", state, since=0.0, **fields)
            return found.with_status(found.status.model_copy(update={"observed": seen}))

        self.do(self.store.update("instance", instance, change))


def placement(worker: str = "gpu-01") -> Placement:
    return Placement("p1", "cpu", (Rank(worker, ram=MemoryParts(weights=GIB, kv_cache=2**20)),))


def refusal(code: str = "no_fit_ram", **params: Any) -> Reason:
    return Reason(code, params)


@contextlib.contextmanager
def serving(peer: str = "127.0.0.1", **settings: Any):
    """A server on a free loopback port, for a block."""
    began = threading.Event()
    found: list[Serving] = []
    failed: list[BaseException] = []

    def work() -> None:
        try:
            asyncio.run(_serve(found, began, peer, settings))
        except BaseException as error:  # noqa: BLE001 - told to the test that waits for the server
            failed.append(error)
            began.set()

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    assert began.wait(20)
    if failed:
        raise failed[0]
    try:
        yield found[0]
    finally:
        found[0].server.should_exit = True
        thread.join(20)
        assert not thread.is_alive()


async def _serve(
    found: list[Serving], began: threading.Event, peer: str, settings: dict[str, Any]
) -> None:
    log.configure(stream=io.StringIO())
    with tempfile.TemporaryDirectory() as folder:
        clock = SystemClock()
        config = ServerConfig(
            version="9.9.9", data_dir=Path(folder), pepper=b"pepper", join_token="join",
            gateway_credential="gateway", bootstrap_password=PASSWORD,
        )  # fmt: skip
        backing = MemoryBacking()
        store, history = ResourceStore(backing, clock), events(backing, clock)
        await store.open()
        decisions = Decisions()
        leases, backs = Leases(clock), backends()
        looked_at = Inspections(clock)
        fits = Fits(FitParts(store, Snapshots(store, leases), clock, backs, looked_at))
        given = replace(config, **settings)
        parts = ServerParts(store, leases, clock, decisions, given, events=history, fits=fits)
        plane = create_app(parts)
        front = Front(plane, peer)
        server = uvicorn.Server(
            uvicorn.Config(front, host="127.0.0.1", port=0, log_level="error", lifespan="on")
        )
        task = asyncio.get_running_loop().create_task(server.serve())
        while not server.started:
            await asyncio.sleep(0.005)
        port = server.servers[0].sockets[0].getsockname()[1]
        made = Serving(
            f"http://127.0.0.1:{port}", store, decisions, front, asyncio.get_running_loop(), server,
            history, Path(folder),
        )  # fmt: skip
        found.append(made)
        began.set()
        while not server.should_exit:
            await asyncio.sleep(0.01)
        plane.end_streams()
        await task
        await store.close()
