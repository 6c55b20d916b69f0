"""`GET /api/v1/instances/<name>/logs`: an instance's log, read from its worker while it is sent on.

The instance's name decides which worker is asked and for what; nothing of a path comes from the
caller. The worker is asked with its own proxy key, which no user ever sees.
"""

from collections.abc import AsyncGenerator, Iterable
from contextlib import AsyncExitStack, asynccontextmanager
from typing import TYPE_CHECKING

from fastapi import Request
from pydantic import Field
from starlette.responses import Response

from aimindserve.core.errors import AimsError, NotFoundError, UnavailableError, UpstreamError
from aimindserve.kit.log import get_logger
from aimindserve.kit.units import MIB
from aimindserve.server.addresses import authority, check_host
from aimindserve.server.objects import find_worker, get_instance
from aimindserve.server.operations import Audience, Operation
from aimindserve.server.parameters import QueryModel, name_of, read_query
from aimindserve.server.services import Services, principal_of
from aimindserve.server.streams import Write
from aimindserve.store.base import Store

if TYPE_CHECKING:
    import httpx

log = get_logger("logs")

TAIL = 1000
TAIL_MAX = 10_000
SEARCH_MAX = 200
BYTES_MAX = 64 * MIB
CONNECT_TIMEOUT_S = 3.0
READ_TIMEOUT_S = 30.0


def operations(services: Services) -> Iterable[Operation]:
    """The logs of one instance."""
    yield Operation(
        "GET", "/api/v1/instances/{name}/logs", LogsRoute(services).logs, Audience.MEMBER,
        "get_logs", "Read an instance's log", "instances",
        query=LogQuery, media_type="text/plain",
    )  # fmt: skip


class LogQuery(QueryModel):
    """Which lines."""

    tail: int = Field(default=TAIL, ge=0, le=TAIL_MAX, description="The last so many.")
    follow: bool = Field(default=False, description="And the coming ones.")
    run: str = Field(
        default="", pattern="^(previous|[0-9]{1,9})?$", description="A run's number, or previous."
    )
    q: str = Field(default="", max_length=SEARCH_MAX, description="Only lines with this in them.")
    worker: str = Field(
        default="",
        max_length=63,
        description="Of an instance on several workers, the process on this one; else the first.",
    )

    def parameters(self) -> dict[str, str]:
        """As the worker's log path takes them."""
        told = {"tail": str(self.tail), "follow": "1" if self.follow else "0"}
        if self.run:
            told["run"] = self.run
        if self.q:
            told["q"] = self.q
        return told


class LogsRoute:
    """Relays logs."""

    def __init__(self, services: Services) -> None:
        self._services = services

    async def logs(self, request: Request) -> Response:
        """Plain text: the last lines, and with follow the coming ones too."""
        principal, name = principal_of(request), name_of(request)
        query = read_query(request, LogQuery)
        url, key = _address(self._services.parts.store, name, query.worker)
        async with AsyncExitStack() as opening:
            upstream = await opening.enter_async_context(_ask(url, key, query))
            if upstream.status_code != 200:
                raise _refusal(upstream.status_code, name)
            held = AsyncExitStack()

            async def work(write: Write) -> None:
                async with held:
                    await _copy(upstream, write, name)

            response = self._services.streams.stream(
                principal,
                lambda: self._services.still_valid(principal),
                work,
                media_type="text/plain; charset=utf-8",
            )
            held.push_async_exit(opening.pop_all())
        return response


def _address(store: Store, name: str, wanted: str) -> tuple[str, str]:
    """(URL of the log on the worker, the worker's proxy key). `wanted`: which of its workers."""
    instance = get_instance(store, name)
    placement = instance.status.placement
    if placement is None:
        raise NotFoundError(
            f"{name} has not been placed, so there is no log yet.",
            hint=f"See why: aimindserve why {name}",
            params={"kind": "log", "name": name},
        )
    home = wanted or placement.worker
    if home not in placement.workers:
        raise NotFoundError(
            f"{name} has no process on {home}.",
            hint=f"It runs on {', '.join(placement.workers)}.",
            params={"kind": "log", "name": name},
        )
    worker = find_worker(store, home)
    seen = None if worker is None else worker.status.observed
    if worker is None or seen is None:
        raise UnavailableError(
            f"The worker {home} has not said where it can be reached.", params={"worker": home}
        )
    check_host(seen.host)
    return f"http://{authority(seen.host, seen.port)}/logs/{name}", worker.spec.proxy_key


@asynccontextmanager
async def _ask(url: str, key: str, query: LogQuery) -> AsyncGenerator["httpx.Response", None]:
    import httpx  # only here: most servers never need it, and it is slow to load

    reading = None if query.follow else READ_TIMEOUT_S
    timeout = httpx.Timeout(READ_TIMEOUT_S, connect=CONNECT_TIMEOUT_S, read=reading)
    headers = {"authorization": f"Bearer {key}"}
    # No environment: a proxy configured there is for the outside world, not for our workers.
    async with httpx.AsyncClient(timeout=timeout, trust_env=False, verify=False) as client:  # noqa: S501 - plain HTTP, nothing to verify
        try:
            request = client.build_request("GET", url, params=query.parameters(), headers=headers)
            response = await client.send(request, stream=True)
        except httpx.TransportError as error:
            raise UnavailableError(
                "The worker does not answer.",
                hint="See whether it runs: aimindserve workers",
                params={"cause": type(error).__name__},
            ) from error
        try:
            yield response
        finally:
            await response.aclose()


async def _copy(upstream: "httpx.Response", write: Write, name: str) -> None:
    import httpx

    size = 0
    try:
        async for chunk in upstream.aiter_bytes():
            size += len(chunk)
            if size > BYTES_MAX:
                await write(b"\n[cut here: the log is longer than one answer may be]\n")
                return
            await write(chunk)
    except httpx.TransportError as error:
        # The status is long sent; the log says in its own words that it is not complete.
        log.info("logs.broken", instance=name, cause=type(error).__name__)
        await write(b"\n[cut here: the connection to the worker broke]\n")


def _refusal(status: int, name: str) -> AimsError:
    if status == 404:
        return NotFoundError(
            f"The worker has no such log of {name}.",
            hint="Logs of the five newest runs are kept; leave out run for the present one.",
            params={"kind": "log", "name": name},
        )
    return UpstreamError(
        f"The worker answered {status} when asked for the log.", params={"status": status}
    )
