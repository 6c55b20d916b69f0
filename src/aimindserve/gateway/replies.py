"""What the gateway itself says: OpenAI's envelope on inference paths, problems everywhere else.

When a request was refused before its path was known, both at once: a problem that has `error` too.
"""

from typing import Any

import msgspec

from aimindserve.core.errors import (
    AimsError,
    MethodError,
    ThrottledError,
    UnauthenticatedError,
    UnavailableError,
    framing_error,
    openai_envelope,
    problem,
)
from aimindserve.gateway.request_ids import RequestIds
from aimindserve.wire.headers import Field
from aimindserve.wire.server import ErrorReply, Reply, Request

JSON = b"application/json"
PROBLEM = b"application/problem+json"
RETRY_AFTER_S = 2
PATH_MAX = 1_000
"""Of a path that was refused, so many characters are shown."""
_SOURCE: Field = (b"x-aims-error-source", b"gateway")
_MESSAGES = "/messages"


def is_inference(path: str) -> bool:
    """Whether errors on `path` are OpenAI's envelope."""
    return path.startswith(("/v1/", "/v1-openai/"))


def error_reply(error: AimsError, path: str, request_id: bytes) -> Reply:
    """`error` as the answer to a request for `path`; an empty one is not known."""
    headers = (_SOURCE, *_fields_of(error))
    if not is_inference(path):
        body = problem(error, instance=path, request_id=request_id.decode())
        if not path:
            body |= openai_envelope(error, source="gateway", request_id=request_id.decode())
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


def refusals(ids: RequestIds) -> ErrorReply:
    """For what the wire refuses: framing, sizes, slowness, and the defects of a handler."""

    def reply(status: int, message: str, request: Request) -> Reply:
        path = request.path[:PATH_MAX]
        return error_reply(framing_error(status, message), path, ids.of(request))

    return reply


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
