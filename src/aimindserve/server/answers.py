"""Answers on the wire: JSON and problem documents.

Objects are encoded here and nowhere else; a problem document is the only form an error takes.
"""

from collections.abc import Mapping
from typing import Any

import msgspec
from starlette.responses import Response

from aimindserve.core.errors import AimsError, ThrottledError, UnauthenticatedError, problem

PROBLEM = "application/problem+json"

_encoder = msgspec.json.Encoder()


def encode(value: Any) -> bytes:
    """`value` as JSON."""
    return _encoder.encode(value)


def answer(value: Any, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    """A JSON answer."""
    return Response(encode(value), status, headers=headers, media_type="application/json")


def empty() -> Response:
    """Done, nothing to say."""
    return Response(status_code=204)


def problem_answer(error: AimsError, *, path: str, request_id: str) -> Response:
    """The problem document of `error`, with the headers its status asks for."""
    headers: dict[str, str] = {}
    if isinstance(error, UnauthenticatedError):
        headers["www-authenticate"] = 'Bearer realm="aimindserve"'
    if isinstance(error, ThrottledError):
        headers["retry-after"] = str(max(1, round(error.params.get("retry_after_s", 1))))
    allowed = error.params.get("allowed")
    if error.status == 405 and allowed:
        headers["allow"] = ", ".join(allowed)
    body = encode(problem(error, instance=path, request_id=request_id))
    return Response(body, error.status, headers=headers, media_type=PROBLEM)
