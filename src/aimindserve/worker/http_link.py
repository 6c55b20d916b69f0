"""The link to the server over HTTP: three requests, one of them a stream of server-sent events.

The server's certificate is always verified when the address says https. A stream that says nothing
for thirty seconds, not even its keep-alive, is dead: the read times out and the agent asks again.
"""

import ssl
from collections.abc import AsyncGenerator, Mapping
from typing import Any, TypeVar

import httpx
import msgspec

from aimindserve.core import errors
from aimindserve.core.errors import (
    AimsError,
    ExistsError,
    NotFoundError,
    UnauthenticatedError,
    UnavailableError,
    UpstreamError,
)
from aimindserve.core.launch import DesiredSet
from aimindserve.core.report import Ack, Report
from aimindserve.worker.config import WorkerConfig
from aimindserve.worker.link import Hello, Identity

T = TypeVar("T")

CONNECT_S = 5.0
ANSWER_S = 15.0
SILENCE_S = 30.0
EVENT_BYTES_MAX = 64 * 1024**2
ERROR_BYTES_MAX = 64 * 1024
_KNOWN: Mapping[str, type[AimsError]] = {
    one.code: one
    for one in vars(errors).values()
    if isinstance(one, type) and issubclass(one, AimsError)
}


class HttpLink:
    """A link to one server."""

    def __init__(self, config: WorkerConfig, *, silence_s: float = SILENCE_S) -> None:
        self._token = config.token
        self._silence_s = silence_s
        socket_path, base = _where(config.server_url)
        context = ssl.create_default_context()
        if config.ca_file is not None:
            context.load_verify_locations(config.ca_file)
        transport = httpx.AsyncHTTPTransport(
            verify=context,
            uds=socket_path,
            limits=httpx.Limits(max_connections=8, max_keepalive_connections=2),
        )
        self._http = httpx.AsyncClient(
            base_url=base,
            transport=transport,
            timeout=httpx.Timeout(ANSWER_S, connect=CONNECT_S),
            headers={"user-agent": "aimindserve-worker"},
            follow_redirects=False,
            trust_env=False,
        )

    async def register(self, hello: Hello) -> Identity:
        """Join with the shared token."""
        answer = await self._send(
            "POST", "/api/v1/workers/register", self._token, msgspec.json.encode(hello)
        )
        return _decode(answer, Identity)

    async def report(self, identity: Identity, report: Report) -> Ack:
        """Send everything this worker sees."""
        path = f"/api/v1/workers/{identity.name}/report"
        body = msgspec.json.encode(report)
        return _decode(await self._send("PUT", path, identity.credential, body), Ack)

    async def desired(self, identity: Identity) -> AsyncGenerator[DesiredSet, None]:
        """The whole desired set, first at once, then at every change."""
        path = f"/api/v1/workers/{identity.name}/desired"
        timeout = httpx.Timeout(ANSWER_S, connect=CONNECT_S, read=self._silence_s)
        headers = {**_bearer(identity.credential), "accept": "text/event-stream"}
        try:
            async with self._http.stream("GET", path, headers=headers, timeout=timeout) as answer:
                if answer.status_code != 200:
                    raise _error(answer.status_code, await _head_of(answer))
                async for kind, data in _events(answer):
                    if kind == "desired":
                        yield _decode(data, DesiredSet)
        except httpx.HTTPError as error:
            raise _unreachable(error) from error

    async def aclose(self) -> None:
        """Close all connections."""
        await self._http.aclose()

    async def _send(self, method: str, path: str, secret: str, body: bytes) -> bytes:
        headers = {**_bearer(secret), "content-type": "application/json"}
        try:
            answer = await self._http.request(method, path, content=body, headers=headers)
        except httpx.HTTPError as error:
            raise _unreachable(error) from error
        if not answer.is_success:
            raise _error(answer.status_code, answer.content[:ERROR_BYTES_MAX])
        return answer.content


async def _events(answer: httpx.Response) -> AsyncGenerator[tuple[str, bytes], None]:
    """(event name, data) of a stream, WHATWG's format; comments keep the connection awake."""
    buffered = bytearray()
    async for chunk in answer.aiter_bytes():
        buffered += chunk
        if len(buffered) > EVENT_BYTES_MAX:
            raise UpstreamError("The server sent an event that is too large.")
        *blocks, rest = bytes(buffered).replace(b"\r\n", b"\n").split(b"\n\n")
        buffered = bytearray(rest)
        for block in blocks:
            yield _event(block)


def _event(block: bytes) -> tuple[str, bytes]:
    kind = "message"
    data: list[bytes] = []
    for line in block.split(b"\n"):
        name, _, value = line.partition(b":")
        if name == b"event":
            kind = value.strip().decode("utf-8", "replace")
        elif name == b"data":
            data.append(value.removeprefix(b" "))
    return kind, b"\n".join(data)


async def _head_of(answer: httpx.Response) -> bytes:
    async for chunk in answer.aiter_bytes():
        return chunk[:ERROR_BYTES_MAX]
    return b""


def _decode(data: bytes, kind: type[T]) -> T:
    try:
        return msgspec.json.decode(data, type=kind)
    except msgspec.DecodeError as error:
        raise UpstreamError(
            f"The server's answer is not understood: {error}",
            hint="Is the address that of an aiMindServe server, and of the same version?",
        ) from error


def _error(status: int, body: bytes) -> AimsError:
    """The server's problem document as the error it was; by status when it is none."""
    message, hint, code = f"The server answered {status}.", "", ""
    try:
        document: Any = msgspec.json.decode(body)
    except msgspec.DecodeError:
        document = None
    if isinstance(document, dict):
        fields: dict[str, Any] = document  # pyright: ignore[reportUnknownVariableType] - JSON
        message = str(fields.get("detail") or message)
        hint = str(fields.get("hint") or "")
        code = str(fields.get("code") or "")
    by_status: Mapping[int, type[AimsError]] = {
        401: UnauthenticatedError,
        404: NotFoundError,
        409: ExistsError,
        503: UnavailableError,
    }
    return _KNOWN.get(code, by_status.get(status, UpstreamError))(message, hint=hint)


def _unreachable(error: httpx.HTTPError) -> UnavailableError:
    what = str(error) or type(error).__name__
    return UnavailableError(f"The server cannot be reached: {what}")


def _bearer(secret: str) -> Mapping[str, str]:
    return {"authorization": f"Bearer {secret}"}


def _where(url: str) -> tuple[str | None, str]:
    """(unix socket path, base URL)."""
    if url.startswith("unix://"):
        return url.removeprefix("unix://"), "http://localhost"
    return None, url.rstrip("/")
