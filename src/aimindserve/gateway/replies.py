"""What the gateway itself says: OpenAI's envelope on inference paths, problems everywhere else."""

from typing import Any

import msgspec

from aimindserve.core.errors import (
    AimsError,
    BodyInvalidError,
    InternalError,
    InvalidError,
    MethodError,
    ThrottledError,
    TooLargeError,
    UnauthenticatedError,
    UnavailableError,
    openai_envelope,
    problem,
)
from aimindserve.wire.headers import Field
from aimindserve.wire.server import Reply, Request

JSON = b"application/json"
PROBLEM = b"application/problem+json"
RETRY_AFTER_S = 2
_SOURCE: Field = (b"x-aims-error-source", b"gateway")
_MESSAGES = "/messages"


def is_inference(path: str) -> bool:
    """Whether errors on `path` are OpenAI's envelope."""
    return path.startswith(("/v1/", "/v1-openai/"))


def error_reply(error: AimsError, path: str, request_id: bytes) -> Reply:
    """`error` as the answer to a request for `path`."""
    headers = (_SOURCE, *_fields_of(error))
    if not is_inference(path):
        body = problem(error, instance=path, request_id=request_id.decode())
        return Reply(error.status, encode(body), PROBLEM, headers)
    return Reply(error.status, encode(envelope(error, path, request_id)), JSON, headers)


def envelope(error: AimsError, path: str, request_id: bytes) -> dict[str, Any]:
    """The body of an error on an inference path. Anthropic's clients want one more word in it."""
    body = openai_envelope(error, source="gateway", request_id=request_id.decode())
    return {"type": "error", **body} if _MESSAGES in path else body


def last_event(error: AimsError, path: str, request_id: bytes) -> bytes:
    """What ends an event stream that broke off: an error, in the words of the path's clients.
    Never a "[DONE]": the answer is not done."""
    body = envelope(error, path, request_id)
    if path.endswith("/responses"):
        body = {"type": "error", **body["error"]}
    named = b"event: error\n" if "type" in body else b""
    return b"%bdata: %b\n\n" % (named, encode(body))


def refusal_reply(status: int, message: str, request: Request | None) -> Reply:
    """For what the wire refuses (framing, sizes, slowness); an `ErrorReply` of `wire.server`."""
    error = _of_status(status)(message)
    reply = error_reply(error, request.path if request is not None else "", b"")
    return Reply(status, reply.body, reply.content_type, reply.headers)


def encode(body: Any) -> bytes:
    """JSON bytes."""
    return msgspec.json.encode(body)


def json_reply(body: Any, status: int = 200) -> Reply:
    """A JSON answer."""
    return Reply(status, encode(body), JSON)


def _fields_of(error: AimsError) -> tuple[Field, ...]:
    if isinstance(error, (UnavailableError, ThrottledError)):
        seconds = error.params.get("retry_after_s", RETRY_AFTER_S)
        return ((b"retry-after", b"%d" % seconds),)
    if isinstance(error, UnauthenticatedError):
        return ((b"www-authenticate", b"Bearer"),)
    if isinstance(error, MethodError) and "allow" in error.params:
        return ((b"allow", str(error.params["allow"]).encode()),)
    return ()


def _of_status(status: int) -> type[AimsError]:
    return {
        400: BodyInvalidError,
        405: MethodError,
        413: TooLargeError,
        414: TooLargeError,
        431: TooLargeError,
        500: InternalError,
        503: UnavailableError,
    }.get(status, InvalidError)
