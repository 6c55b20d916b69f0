"""A control plane reduced to the worker protocol: what a worker sends is kept, what it gets is set
by the test. Runs in the test's process over real sockets."""

import asyncio
import contextlib
from pathlib import Path

import msgspec

from aimindserve.core.facts import ModelRef, Options, SourceName
from aimindserve.core.launch import Assignment, DesiredSet, FileAssignment
from aimindserve.core.placement import Placement, Rank
from aimindserve.core.report import Ack, InstanceObservation, Report
from aimindserve.kit.clock import SystemClock
from aimindserve.wire.errors import ClientGoneError
from aimindserve.wire.server import Request, ServerConfig, serve
from aimindserve.worker.link import Identity

TOKEN = "join-token"


class Plane:
    """One worker's server."""

    def __init__(self) -> None:
        self.identity = Identity("w1", "credential-1", "proxy-key-1")
        self.registrations = []
        self.reports: list[Report] = []
        self.desired = DesiredSet(1, "w1")
        self.silent = False
        self.streams = 0
        self._changed = asyncio.Event()
        self._reported = asyncio.Event()
        self.port = 0

    async def __aenter__(self):
        self._server = await serve(self._handle, ServerConfig(port=self.port), SystemClock())
        self.port = self._server.port
        return self

    async def __aexit__(self, *_exc):
        await self._server.stop(0.0)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def want(self, *assignments: Assignment) -> None:
        files = {a.model: FileAssignment(f"file-{n}", a.model) for n, a in enumerate(assignments)}
        revision = self.desired.revision + 1
        self.desired = DesiredSet(revision, "w1", assignments, tuple(files.values()))
        self._changed.set()
        self._changed = asyncio.Event()

    def seen(self, instance: str) -> InstanceObservation | None:
        return dict(self.reports[-1].instances).get(instance) if self.reports else None

    async def until(self, condition, limit_s: float = 20.0):
        """Wait for a report after which `condition()` holds; returns what it said."""
        deadline = asyncio.get_running_loop().time() + limit_s
        while not (found := self.reports and condition()):
            left = deadline - asyncio.get_running_loop().time()
            assert left > 0, f"never became so; last report: {self.reports[-1:]}"
            with contextlib.suppress(asyncio.TimeoutError):
                await asyncio.wait_for(self._reported.wait(), left)
            self._reported.clear()
        return found

    async def until_state(self, instance: str, state: str, limit_s: float = 20.0):
        await self.until(
            lambda: (o := self.seen(instance)) is not None and o.state.value == state, limit_s
        )
        return self.seen(instance)

    def _handle(self, request: Request):
        return self._answer(request)

    async def _answer(self, request: Request) -> None:
        secret = (request.header(b"authorization") or b"").decode().removeprefix("Bearer ")
        body = await request.body.read(10_000_000)
        if request.path == "/api/v1/workers/register":
            if secret != TOKEN:
                self._problem(request, 401, "unauthenticated")
                return
            self.registrations.append(msgspec.json.decode(body))
            request.respond(200, msgspec.json.encode(self.identity))
        elif secret != self.identity.credential:
            self._problem(request, 401, "unauthenticated")
        elif request.path.endswith("/report"):
            self.reports.append(msgspec.json.decode(body, type=Report))
            self._reported.set()
            request.respond(200, msgspec.json.encode(Ack(1.0, self.desired.revision)))
        else:
            await self._stream(request)

    async def _stream(self, request: Request) -> None:
        self.streams += 1
        request.start(200, [(b"content-type", b"text/event-stream")])
        try:
            while True:
                if not self.silent:
                    data = msgspec.json.encode(self.desired)
                    request.write(b": keep-alive\n\nevent: desired\ndata: " + data + b"\n\n")
                    await request.drain()
                await self._changed.wait()
        except ClientGoneError:
            return

    @staticmethod
    def _problem(request: Request, status: int, code: str) -> None:
        request.respond(status, msgspec.json.encode({"code": code, "detail": f"{code}!"}))


def assignment(
    instance: str, path: Path, *parameters: str, placement: str = "p1", **changes
) -> Assignment:
    fields = {
        "instance": instance,
        "instance_id": f"id-{instance}",
        "deployment": "dep",
        "model": ModelRef(SourceName.LOCAL, path=str(path)),
        "backend": "fake",
        "options": Options(parameters=tuple(parameters)),
        "placement": Placement(placement, "cpu", (Rank("w1"),)),
    }
    return Assignment(**{**fields, **changes})
