"""The worker's own HTTP server: the only way from outside to an engine, its logs and nothing else.

Whoever asks must present the proxy key that the server gave to this worker; only other workers of
an instance come with the secret of its placement instead (`tunnel_door`). A request that names an
instance is passed to that instance's engine on loopback, byte for byte; the caller's credentials
and our own headers end here, the engine sees its own secret instead.
"""

from collections.abc import Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import parse_qs

import msgspec

from aimindserve.core.errors import (
    AimsError,
    InvalidError,
    NotFoundError,
    TooLargeError,
    UnauthenticatedError,
    UnavailableError,
    UpstreamError,
    openai_envelope,
)
from aimindserve.kit.clock import Clock
from aimindserve.kit.secrets import same
from aimindserve.wire.errors import BodyTooLargeError, ClientGoneError, WireError
from aimindserve.wire.headers import Field, without_hop_by_hop
from aimindserve.wire.request import Reply, Request
from aimindserve.wire.upstream import (
    Failure,
    Onward,
    Origin,
    Pool,
    RelayRules,
    UpstreamFailedError,
    forward,
)
from aimindserve.worker.log_reader import TAIL_MAX, Wish, coming, past
from aimindserve.worker.observed import Health, Process
from aimindserve.worker.traffic import Traffic
from aimindserve.worker.tunnel_door import PREFIX, Door

LOOPBACK = "127.0.0.1"
SEARCH_MAX = 200
_ENDS_HERE = frozenset(
    {b"authorization", b"x-api-key", b"cookie", b"host", b"content-length", b"expect"}
)
_RULES = RelayRules(drop=frozenset({b"set-cookie", b"server", b"x-aims-error-source"}))
_SOURCE: Field = (b"x-aims-error-source", b"worker")


class Shelf(Protocol):
    """Where logs are kept."""

    def place(self, instance: str, run: int) -> tuple[str, str]: ...

    def runs(self, instance: str) -> Sequence[int]: ...


@dataclass(frozen=True, slots=True)
class ProxyParts:
    """What the proxy works with."""

    key: Callable[[], str]
    """The proxy key now; empty while the worker has not registered."""
    processes: Callable[[], Mapping[str, Process]]
    going: Callable[[str, int], bool]
    """Whether this run of this instance starts or lives: its log may still grow."""
    suspect: Callable[[str], None]
    """Tells that the engine with this token did not answer."""
    traffic: Traffic
    shelf: Shelf
    pool: Pool
    clock: Clock
    door: Door


class Proxy:
    """Answers requests of gateways and of the control plane."""

    def __init__(self, parts: ProxyParts) -> None:
        self._parts = parts

    def handle(self, request: Request) -> Coroutine[Any, Any, None] | None:
        """One request; see `wire.server`."""
        instance = request.header(b"x-aims-instance")
        if instance is None and request.path == "/healthz":
            request.respond(200, b"ok\n")
            return None
        if instance is None and request.path.startswith(PREFIX):
            return self._tunnel(request)
        try:
            self._authenticate(request)
            if instance is not None:
                return self._relay(request, self._find(instance.decode("latin-1")))
            return self._logs(request)
        except AimsError as error:
            refuse(request, error)
            return None

    def _authenticate(self, request: Request) -> None:
        given = [value for name, value in request.headers if name == b"authorization"]
        key = self._parts.key()
        presented = given[0].decode("latin-1") if len(given) == 1 else ""
        if not same(presented, f"Bearer {key}") or not key:
            raise UnauthenticatedError("The worker's proxy key is missing or wrong.")

    async def _tunnel(self, request: Request) -> None:
        try:
            await self._parts.door.handle(request)
        except AimsError as error:
            refuse(request, error)

    def _find(self, instance: str) -> Process:
        mine = [p for p in self._parts.processes().values() if p.handle.instance == instance]
        for process in mine:
            if process.health is Health.READY and not process.stopping and process.gone is None:
                return process
        if mine:
            raise UnavailableError(f"The engine of {instance} is not ready.")
        raise NotFoundError(f"{instance} does not run on this worker.")

    async def _relay(self, request: Request, process: Process) -> None:
        parts, token = self._parts, process.token
        origin = Origin(LOOPBACK, process.handle.port)
        headers = onward(request.headers, process.handle.secret)
        parts.traffic.begin(token)
        try:
            await forward(request, parts.pool, origin, Onward(headers, rules=_RULES))
        except ClientGoneError:
            return
        except UpstreamFailedError as error:
            if error.kind in {Failure.CONNECT, Failure.LOST}:
                parts.suspect(token)
            refuse(request, _engine_failed(error))
        except BodyTooLargeError as error:
            refuse(request, TooLargeError(f"{error}."))
        except WireError as error:
            refuse(request, InvalidError(f"The body of the request is broken: {error}."))
        finally:
            parts.traffic.end(token)

    def _logs(self, request: Request) -> Coroutine[Any, Any, None]:
        prefix, _, instance = request.path.partition("/logs/")
        if prefix or not instance or request.method != "GET":
            raise NotFoundError("There is no such path on a worker.")
        query = {name: values[-1] for name, values in parse_qs(request.query).items()}
        run = self._run(instance, query.get("run", ""))
        path = Path(self._parts.shelf.place(instance, run)[1])
        wish = _wish(query)
        if query.get("follow", "0") in {"1", "true"}:
            return self._follow(request, path, wish, lambda: self._parts.going(instance, run))
        return _tail(request, path, wish)

    def _run(self, instance: str, wanted: str) -> int:
        """The run whose log is meant: the newest, the one before it, or one by number."""
        runs = self._parts.shelf.runs(instance)
        index = {"": -1, "previous": -2}.get(wanted)
        if index is not None and len(runs) >= -index:
            return runs[index]
        if wanted.isdigit() and len(wanted) < 10 and int(wanted) in runs:
            return int(wanted)
        which = wanted or "any run"
        raise NotFoundError(f"There is no log of {which} of {instance} on this worker.")

    async def _follow(
        self, request: Request, path: Path, wish: Wish, lives: Callable[[], bool]
    ) -> None:
        request.start(200, [(b"content-type", b"text/plain; charset=utf-8")])
        async for piece in coming(path, wish, self._parts.clock, lives):
            if piece:
                request.write(piece)
            try:
                await request.drain()
            except ClientGoneError:
                return
        request.finish()


def onward(headers: Sequence[Field], secret: str) -> list[Field]:
    """What the engine is told: no credential but its own secret, nothing of ours."""
    kept = without_hop_by_hop(headers, _ENDS_HERE)
    passed = [field for field in kept if not field[0].startswith(b"x-aims-")]
    return [*passed, (b"authorization", b"Bearer " + secret.encode())]


def _engine_failed(error: UpstreamFailedError) -> AimsError:
    if error.kind in {Failure.CONNECT, Failure.BUSY}:
        return UnavailableError("The engine takes no requests right now.")
    return UpstreamError("The engine ended the request without an answer.")


def refuse(request: Request, error: AimsError) -> None:
    """Answer with OpenAI's error envelope, spoken by the worker; a begun answer is cut instead."""
    if request.started:
        request.abort()
        return
    request.reply(_reply(error, request))


def error_reply(status: int, message: str, request: Request | None) -> Reply:
    """What the HTTP server itself refuses, in the same form."""
    code = {401: "unauthenticated", 404: "not_found", 408: "timeout", 413: "too_large"}
    body = openai_envelope(InvalidError(message), source="worker", request_id=_id_of(request))
    body["error"]["code"] = code.get(status, "invalid" if status < 500 else "internal")
    return Reply(status, msgspec.json.encode(body), b"application/json", (_SOURCE,))


def _reply(error: AimsError, request: Request) -> Reply:
    body = openai_envelope(error, source="worker", request_id=_id_of(request))
    return Reply(error.status, msgspec.json.encode(body), b"application/json", (_SOURCE,))


def _id_of(request: Request | None) -> str:
    value = request.header(b"x-request-id") if request is not None else None
    return "" if value is None else value.decode("latin-1")[:64]


def _wish(query: Mapping[str, str]) -> Wish:
    tail = query.get("tail", "1000")
    text = query.get("q", "")
    if not tail.isdigit() or int(tail[:9]) > TAIL_MAX:
        raise InvalidError(f"tail must be a number from 0 to {TAIL_MAX}.")
    if len(text) > SEARCH_MAX:
        raise InvalidError(f"q must not be longer than {SEARCH_MAX} characters.")
    return Wish(int(tail), text)


async def _tail(request: Request, path: Path, wish: Wish) -> None:
    request.respond(200, await past(path, wish))
