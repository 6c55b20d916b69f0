"""What workers' agents call: join, follow the desired set, report."""

from collections.abc import Iterable

import anyio
import msgspec
from fastapi import Request
from starlette.responses import Response

from aimindserve.core.errors import AimsError, BodyInvalidError
from aimindserve.core.report import Report
from aimindserve.server.answers import answer, encode
from aimindserve.server.body import REPORT_MAX_BYTES, read_bytes, read_model
from aimindserve.server.desired import desired_set
from aimindserve.server.operations import Audience, Operation
from aimindserve.server.parameters import name_of
from aimindserve.server.registration import Registration, register
from aimindserve.server.reports import apply_report
from aimindserve.server.services import Services, principal_of
from aimindserve.server.streams import KEEP_ALIVE, Write, event

KEEP_ALIVE_S = 10.0
COALESCE_S = 0.02
TAG = "worker agents"

_decoder = msgspec.json.Decoder(Report)


def operations(services: Services) -> Iterable[Operation]:
    """The worker protocol."""
    routes = WorkerRoutes(services)
    yield Operation(
        "POST", "/api/v1/workers/register", routes.register, Audience.JOIN,
        "register_worker", "Join as a worker", TAG,
        request="Registration", response="Registered",
    )  # fmt: skip
    yield Operation(
        "GET", "/api/v1/workers/{name}/desired", routes.desired, Audience.WORKER,
        "follow_desired_set", "Follow everything the worker must run and hold", TAG,
        response="DesiredSet", media_type="text/event-stream",
    )  # fmt: skip
    yield Operation(
        "PUT", "/api/v1/workers/{name}/report", routes.report, Audience.WORKER,
        "report", "Tell everything the worker sees", TAG,
        request="Report", response="Ack",
    )  # fmt: skip


class WorkerRoutes:
    """The three calls of an agent."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._store = services.parts.store

    async def register(self, request: Request) -> Response:
        """With the join token: a name, and credentials of its own."""
        wish = await read_model(request, Registration)
        try:
            registered = await register(self._store, self._services.parts.config.pepper, wish)
        except AimsError as error:
            self._services.audit.note(
                request, "register", ("worker", wish.name), outcome=error.code
            )
            raise
        self._services.audit.note(request, "register", ("worker", registered.name))
        return answer(registered)

    async def desired(self, request: Request) -> Response:
        """Server-sent events `desired`: the whole set at once, and again whenever it changes."""
        principal, name = principal_of(request), name_of(request)

        async def work(write: Write) -> None:
            await self._write_desired(write, name)

        return self._services.streams.stream(
            principal, lambda: self._services.still_valid(principal), work
        )

    async def report(self, request: Request) -> Response:
        """Everything the worker sees; the answer says when to report next at the latest."""
        data = await read_bytes(request, limit=REPORT_MAX_BYTES)
        try:
            report = _decoder.decode(data)
        except (msgspec.DecodeError, RecursionError) as error:
            raise BodyInvalidError(f"The body is no report: {error}.") from error
        ack = await apply_report(
            self._store,
            self._services.parts.leases,
            name_of(request),
            report,
            telemetry=self._services.telemetry,
            interval_s=self._services.parts.config.report_interval_s,
        )
        return answer(ack)

    async def _write_desired(self, write: Write, worker: str) -> None:
        pepper = self._services.parts.config.pepper
        with self._services.desired.waiter(worker) as waiter:
            while self._store.find("worker", worker) is not None:
                wanted = desired_set(self._store, worker, pepper)
                await write(event(encode(wanted), name="desired"))
                while not await waiter.changed(KEEP_ALIVE_S):
                    await write(KEEP_ALIVE)
                await anyio.sleep(COALESCE_S)
