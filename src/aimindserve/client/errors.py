"""What went wrong at the other end, as the same exception classes the server raised.

    the server's problem document or OpenAI envelope   -> the class with its code
    a code this client does not know                   -> the class of its HTTP status
    no answer at all                                   -> UnreachableError

Must not know how requests are sent.
"""

import json
from collections.abc import Iterator, Mapping
from typing import Any, cast

from aimindserve.core import errors
from aimindserve.core.errors import AimsError, UnavailableError, UpstreamError

TEXT_MAX = 300


class UnreachableError(UnavailableError):
    """No server answered at that address."""

    code = "unreachable"


class SilenceError(UnreachableError):
    """A stream was open, but nothing came for too long."""


class WaitError(AimsError):
    """Waiting ended before the deployment was ready; `params["progress"]` says where it stood."""

    code = "not_ready"


class WaitTimeoutError(WaitError):
    """Time ran out; the work goes on."""

    code = "wait_timed_out"


class CannotScheduleError(WaitError):
    """No worker can take it; the reasons are in the message and the hint."""

    code = "no_fit"


class TargetFailedError(WaitError):
    """It ended in a failed state."""

    code = "target_failed"


def _tree(root: type[AimsError]) -> Iterator[type[AimsError]]:
    yield root
    for child in root.__subclasses__():
        yield from _tree(child)


_BY_CODE = {kind.code: kind for kind in _tree(AimsError) if kind.__module__ == errors.__name__}
_BY_STATUS: Mapping[int, type[AimsError]] = {
    400: errors.InvalidError,
    401: errors.UnauthenticatedError,
    403: errors.ForbiddenError,
    404: errors.NotFoundError,
    405: errors.MethodError,
    409: errors.ConflictError,
    410: errors.GoneError,
    413: errors.TooLargeError,
    415: errors.MediaTypeError,
    422: errors.UnsupportedError,
    429: errors.ThrottledError,
    502: errors.UpstreamError,
    503: errors.UnavailableError,
    507: errors.StorageFullError,
}


def from_answer(status: int, body: bytes, request_id: str = "") -> AimsError:
    """The exception for an answer with an error status.

    `params` are the server's own, with `request_id`, and `code` and `status` where this client
    knows no class for the code.
    """
    told = _told(body)
    code = str(told.get("code") or "")
    message = str(told.get("detail") or told.get("message") or "") or _plain(status, body)
    params = dict(cast("Mapping[str, Any]", told.get("params") or {}))
    found_id = str(told.get("request_id") or request_id)
    if found_id:
        params["request_id"] = found_id
    kind = _BY_CODE.get(code)
    if kind is None:
        kind = _BY_STATUS.get(status, errors.InternalError if status >= 500 else AimsError)
        params |= {"code": code or f"http_{status}", "status": status}
    return kind(message, hint=str(told.get("hint") or ""), params=params)


def code_of(error: AimsError) -> str:
    """The code the server gave, also where this client knows no class for it."""
    return str(error.params.get("code") or error.code)


def unreachable(server_url: str, cause: Exception) -> UnreachableError:
    """No connection, or one that broke: where to, and what the system said."""
    detail = str(cause) or type(cause).__name__
    return UnreachableError(
        f"The server at {server_url} does not answer: {detail}.",
        hint="Start it with: aimindserve start, or name another one with --server URL.",
        params={"server": server_url, "detail": detail},
    )


def silence(server_url: str, seconds: float | None) -> SilenceError:
    """A stream that says nothing any more."""
    return SilenceError(
        f"Nothing came from {server_url} for {seconds or 0:.0f} s.", params={"server": server_url}
    )


def not_ours(server_url: str, body: bytes) -> UpstreamError:
    """An answer that is no answer of this API, for example of a proxy in between."""
    return UpstreamError(
        f"{server_url} answered with something that is not this API: {_shorten(body)}",
        hint="Check the address; behind a proxy, its path must be kept.",
        params={"server": server_url},
    )


def _told(body: bytes) -> Mapping[str, Any]:
    """The members of a problem document, or of an OpenAI envelope's `error`; empty for others."""
    try:
        document: Any = json.loads(body)
    except ValueError:
        return {}
    if not isinstance(document, dict):
        return {}
    fields = cast("dict[str, Any]", document)
    inner = fields.get("error")
    return cast("dict[str, Any]", inner) if isinstance(inner, dict) else fields


def _plain(status: int, body: bytes) -> str:
    text = _shorten(body)
    return f"The server answered {status}: {text}" if text else f"The server answered {status}."


def _shorten(body: bytes) -> str:
    text = " ".join(body[: TEXT_MAX * 4].decode("utf-8", "replace").split())
    return text if len(text) <= TEXT_MAX else text[: TEXT_MAX - 1] + "…"
