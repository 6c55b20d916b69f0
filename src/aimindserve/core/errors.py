"""Every error this program raises on purpose.

    AimsError                      code               status  retry
    ├── InvalidError               invalid               400  never
    │   ├── BodyInvalidError       body_invalid          400  never
    │   ├── MalformedError         malformed             400  never
    │   ├── ExpectationError       expectation_failed    417  never
    │   └── UnprocessableError     unprocessable         422  never
    ├── UnauthenticatedError       unauthenticated       401  never
    ├── ForbiddenError             forbidden             403  never
    │   └── PasswordChangeError    password_change_required  403  never
    ├── NotFoundError              not_found             404  never
    ├── MethodError                method_not_allowed    405  never
    ├── SlowRequestError           request_timeout       408  later
    ├── ConflictError              conflict              409  now
    │   ├── StaleError             stale                 409  now
    │   ├── ExistsError            exists                409  never
    │   └── FitError               fit_changed           409  later
    ├── GoneError                  gone                  410  now
    ├── TooLargeError              too_large             413  never
    │   ├── TargetTooLongError     target_too_long       414  never
    │   └── HeadTooLargeError      head_too_large        431  never
    ├── MediaTypeError             unsupported_media_type    415  never
    ├── UnsupportedError           unsupported           422  never
    ├── ThrottledError             throttled             429  later
    ├── InternalError              internal              500  later
    ├── CodingError                coding_unsupported    501  never
    ├── UpstreamError              upstream              502  later
    ├── UnavailableError           unavailable           503  later
    │   └── StoreUnavailableError  store_unavailable     503  later
    ├── VersionError               version_unsupported   505  never
    ├── StorageFullError           storage_full          507  later
    ├── SettingsError              settings             (exit code 2; never sent over HTTP)
    └── FormatError                format_invalid        422  never

Domain code raises; only edges catch. Each class owns its stable code, its title, its HTTP status,
the level at which an edge logs it, and what a retry means. Messages say what is wrong; hints say
what to do.
"""

from collections.abc import Mapping
from enum import Enum
from typing import Any, ClassVar


class Retry(Enum):
    """What trying the same thing again would do."""

    NEVER = "never"
    NOW = "now"
    LATER = "later"


class AimsError(Exception):
    """Root of all deliberate errors.

    `message` is one sentence about what is wrong, `hint` one about what to do, `params` are the
    values in them, so that other languages can be rendered from `code` and `params`.
    """

    code: ClassVar[str] = "internal"
    title: ClassVar[str] = "Internal error"
    """What kind of error it is, in a few words, the same for every occurrence (RFC 9457)."""
    status: ClassVar[int] = 500
    level: ClassVar[str] = "info"
    retry: ClassVar[Retry] = Retry.NEVER

    def __init__(
        self, message: str, *, hint: str = "", params: Mapping[str, Any] | None = None
    ) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.params: dict[str, Any] = dict(params or {})


class InvalidError(AimsError):
    """The request contradicts the rules of the API; `params["fields"]` may list where."""

    code = "invalid"
    title = "Invalid request"
    status = 400


class BodyInvalidError(InvalidError):
    """The body is not what its content type promises."""

    code = "body_invalid"
    title = "Invalid body"


class MalformedError(InvalidError):
    """What arrived is no HTTP/1.1 request, or does not say clearly where it ends."""

    code = "malformed"
    title = "Malformed request"


class ExpectationError(InvalidError):
    """The request expects something of the server that it cannot do."""

    code = "expectation_failed"
    title = "Expectation failed"
    status = 417


class UnprocessableError(InvalidError):
    """Each field is well-formed, but together, or with what is stored, they mean nothing."""

    code = "unprocessable"
    title = "Request makes no sense"
    status = 422


class UnauthenticatedError(AimsError):
    """No credential, or one that is wrong, expired or revoked."""

    code = "unauthenticated"
    title = "Not signed in"
    status = 401


class ForbiddenError(AimsError):
    """The credential is good but does not reach this far."""

    code = "forbidden"
    title = "Not allowed"
    status = 403


class PasswordChangeError(ForbiddenError):
    """The account's first password must be changed before anything else."""

    code = "password_change_required"
    title = "Password must be changed"


class NotFoundError(AimsError):
    """There is no such object or path."""

    code = "not_found"
    title = "Not found"
    status = 404


class MethodError(AimsError):
    """The path exists, this method on it does not."""

    code = "method_not_allowed"
    title = "Method not allowed"
    status = 405


class SlowRequestError(AimsError):
    """The request did not arrive in time, or not fast enough."""

    code = "request_timeout"
    title = "Request too slow"
    status = 408
    retry = Retry.LATER


class ConflictError(AimsError):
    """The write contradicts the present state."""

    code = "conflict"
    title = "Conflict"
    status = 409
    retry = Retry.NOW


class StaleError(ConflictError):
    """The object has changed since the caller read it."""

    code = "stale"
    title = "Changed since it was read"


class ExistsError(ConflictError):
    """An object of that name is there already."""

    code = "exists"
    title = "Exists already"
    retry = Retry.NEVER


class FitError(ConflictError):
    """It does not fit as the caller takes it to; `params["fit"]` says whether and how."""

    code = "fit_changed"
    title = "Fits otherwise, or not at all"
    retry = Retry.LATER


class GoneError(AimsError):
    """A watch asked for a revision that is no longer kept: list again."""

    code = "gone"
    title = "No longer kept"
    status = 410
    retry = Retry.NOW


class TooLargeError(AimsError):
    """A body, header or value is over its limit."""

    code = "too_large"
    title = "Too large"
    status = 413


class TargetTooLongError(TooLargeError):
    """The request's path and query are over their limit."""

    code = "target_too_long"
    title = "Path too long"
    status = 414


class HeadTooLargeError(TooLargeError):
    """The request's header fields are over their limit."""

    code = "head_too_large"
    title = "Header fields too large"
    status = 431


class MediaTypeError(AimsError):
    """The body's content type or encoding is not one this path reads."""

    code = "unsupported_media_type"
    title = "Unsupported media type"
    status = 415


class UnsupportedError(AimsError):
    """Well-formed, but something this program, model or backend cannot do."""

    code = "unsupported"
    title = "Not supported"
    status = 422


class FormatError(AimsError):
    """A model file is damaged or is not what it claims to be."""

    code = "format_invalid"
    title = "Invalid model file"
    status = 422


class ThrottledError(AimsError):
    """Too many requests; `params["retry_after_s"]` says when to come back."""

    code = "throttled"
    title = "Too many requests"
    status = 429
    retry = Retry.LATER


class InternalError(AimsError):
    """A defect of this program, shown without its details."""

    code = "internal"
    status = 500
    level = "error"
    retry = Retry.LATER


class CodingError(AimsError):
    """The request's body has a transfer coding that is not understood."""

    code = "coding_unsupported"
    title = "Unsupported transfer coding"
    status = 501


class UpstreamError(AimsError):
    """A backend or worker answered with something that is no answer."""

    code = "upstream"
    title = "Bad answer from upstream"
    status = 502
    level = "warning"
    retry = Retry.LATER


class UnavailableError(AimsError):
    """Nothing can serve this right now."""

    code = "unavailable"
    title = "Not available now"
    status = 503
    level = "warning"
    retry = Retry.LATER


class StoreUnavailableError(UnavailableError):
    """The database does not answer."""

    code = "store_unavailable"
    title = "Database not available"


class VersionError(AimsError):
    """The request is of a version of HTTP that is not spoken here."""

    code = "version_unsupported"
    title = "Unsupported HTTP version"
    status = 505


class StorageFullError(AimsError):
    """The disk behind the database or the cache is full."""

    code = "storage_full"
    title = "Storage full"
    status = 507
    level = "error"
    retry = Retry.LATER


class SettingsError(AimsError):
    """A setting is unknown or its value is not allowed; ends the program with exit code 2."""

    code = "settings"
    title = "Invalid setting"
    status = 500


def problem(error: AimsError, *, instance: str = "", request_id: str = "") -> dict[str, Any]:
    """RFC 9457 problem document of the management API."""
    document: dict[str, Any] = {
        "type": f"urn:aimindserve:error:{error.code}",
        "title": error.title,
        "status": error.status,
        "code": error.code,
        "detail": error.message,
    }
    if error.hint:
        document["hint"] = error.hint
    if error.params:
        document["params"] = error.params
    if instance:
        document["instance"] = instance
    if request_id:
        document["request_id"] = request_id
    return document


_BY_FRAMING: Mapping[int, type[AimsError]] = {
    kind.status: kind
    for kind in (
        MalformedError,
        MethodError,
        SlowRequestError,
        TooLargeError,
        TargetTooLongError,
        ExpectationError,
        HeadTooLargeError,
        InternalError,
        CodingError,
        UnavailableError,
        VersionError,
    )
}


def framing_error(status: int, message: str) -> AimsError:
    """The error for what a server refuses before anybody has looked at the request's meaning."""
    return _BY_FRAMING.get(status, MalformedError)(message)


_OPENAI_TYPES = {
    400: "invalid_request_error",
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    413: "invalid_request_error",
    422: "invalid_request_error",
    429: "rate_limit_error",
    501: "invalid_request_error",
    505: "invalid_request_error",
}


def openai_envelope(error: AimsError, *, source: str, request_id: str = "") -> dict[str, Any]:
    """OpenAI's error envelope; `source` says who spoke: gateway, worker or backend."""
    message = f"{error.message} {error.hint}".strip()
    body: dict[str, Any] = {
        "message": message,
        "type": _OPENAI_TYPES.get(error.status)
        or ("server_error" if error.status >= 500 else "invalid_request_error"),
        "param": error.params.get("param"),
        "code": error.code,
        "source": source,
    }
    if request_id:
        body["request_id"] = request_id
    return {"error": body}
