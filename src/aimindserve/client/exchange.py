"""Between a Call and httpx: arguments out, answers or exceptions back. No I/O."""

import json
import ssl
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

from aimindserve import __version__
from aimindserve.client.calls import COOKIE, Answer, Call, encode
from aimindserve.client.errors import from_answer, not_ours
from aimindserve.client.quick import httpx
from aimindserve.core.errors import InvalidError, UpstreamError

R = TypeVar("R")

CONNECT_TIMEOUT_S = 5.0
TIMEOUT_S = 30.0
ERROR_BODY_MAX = 1024 * 1024
CONNECTIONS = httpx.Limits(max_connections=32, max_keepalive_connections=8)


@dataclass(frozen=True, slots=True)
class Credentials:
    """What a client presents. An API key goes before a session; without both, the server's rule for
    requests from its own machine applies."""

    api_key: str | None = None
    session: str | None = None

    def headers(self) -> dict[str, str]:
        """As request headers; never both, for a server refuses two credentials."""
        if self.api_key:
            return {"authorization": f"Bearer {self.api_key}"}
        if self.session:
            return {"cookie": f"{COOKIE}={self.session}"}
        return {}


NOBODY = Credentials()


@dataclass(frozen=True, slots=True)
class Stream:
    """A request whose answer is read while it comes. `silence_s`: the longest pause within it."""

    path: str
    query: Mapping[str, str] = field(default_factory=dict[str, str])
    method: str = "GET"
    body: Any = None
    silence_s: float | None = None
    accept: str = "text/event-stream"


def base_url(text: str) -> str:
    """`host`, `host:port`, `http://host/`, `https://host/v1` as `scheme://host[:port][/path]`.

    Raises InvalidError for what is no web address.
    """
    full = text.strip() if "://" in text else f"http://{text.strip()}"
    try:
        url = httpx.URL(full)
    except httpx.InvalidURL as error:
        raise InvalidError(f"{text!r} is no server address: {error}.") from error
    if url.scheme not in {"http", "https"} or not url.host:
        raise InvalidError(
            f"{text!r} is no server address.", hint="Write for example http://gpu-01:80"
        )
    path = url.path.rstrip("/").removesuffix("/v1").removesuffix("/v1-openai")
    return str(url.copy_with(path=path or "/", query=None, fragment=None)).rstrip("/")


def session_options(server_url: str, timeout_s: float, *, verify: bool) -> dict[str, Any]:
    """What both httpx clients are made with. The environment's proxies are for other machines."""
    local = httpx.URL(server_url).host in {"localhost", "127.0.0.1", "::1"}
    return {
        "base_url": server_url,
        "timeout": httpx.Timeout(timeout_s, connect=min(CONNECT_TIMEOUT_S, timeout_s)),
        "limits": CONNECTIONS,
        "trust_env": not local,
        "verify": _trust(server_url) if verify else False,
        "follow_redirects": False,
        "headers": {"user-agent": f"aimindserve/{__version__}", "x-requested-with": "aimindserve"},
    }


def _trust(server_url: str) -> ssl.SSLContext | bool:
    """Whom to believe: this system's authorities, those of SSL_CERT_FILE, and the usual ones. An
    organisation's own authority is in the first two, and httpx alone would look in the last."""
    if not server_url.startswith("https://"):
        return True  # no context is made that nobody needs: reading authorities takes a while
    context: ssl.SSLContext = httpx.create_ssl_context(trust_env=False)
    context.load_default_certs()
    return context


def call_arguments(call: Call[Any], credentials: Credentials) -> dict[str, Any]:
    """The arguments of httpx's `request` for a call."""
    headers = {"accept": "application/json", **credentials.headers()}
    arguments: dict[str, Any] = {
        "method": call.method,
        "url": call.path,
        "params": dict(call.query),
        "headers": headers,
    }
    if call.body is not None:
        headers["content-type"] = call.content_type
        arguments["content"] = encode(call.body)
    if call.timeout_s is not None:
        arguments["timeout"] = httpx.Timeout(call.timeout_s, connect=CONNECT_TIMEOUT_S)
    return arguments


def stream_arguments(stream: Stream, credentials: Credentials) -> dict[str, Any]:
    """The arguments of httpx's `stream` for a stream."""
    headers = {"accept": stream.accept, **credentials.headers()}
    arguments: dict[str, Any] = {
        "method": stream.method,
        "url": stream.path,
        "params": dict(stream.query),
        "headers": headers,
        "timeout": httpx.Timeout(TIMEOUT_S, connect=CONNECT_TIMEOUT_S, read=stream.silence_s),
    }
    if stream.body is not None:
        headers["content-type"] = "application/json"
        arguments["content"] = encode(stream.body)
    return arguments


def result(call: Call[R], response: httpx.Response, server_url: str) -> R:
    """What the call promised; raises the server's error, or UpstreamError for a foreign answer."""
    refuse(response.status_code, response.headers, response.content)
    body: Any = None
    if response.content:
        try:
            body = json.loads(response.content)
        except ValueError as error:
            raise not_ours(server_url, response.content) from error
    return call.decode(Answer(body, dict(response.cookies)))


def refuse(status: int, headers: httpx.Headers, body: bytes) -> None:
    """Raise the exception for an answer that is no success."""
    if 200 <= status < 300:
        return
    if 300 <= status < 400:
        raise UpstreamError(
            f"The server answered with a redirect to {headers.get('location', 'nowhere')}.",
            hint="Use that address with --server.",
        )
    raise from_answer(status, body[:ERROR_BODY_MAX], headers.get("x-request-id", ""))
