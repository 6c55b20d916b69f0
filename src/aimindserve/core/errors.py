"""Every error this program raises on purpose.

    AimsError                      code               status  retry
    ├── InvalidError               invalid               400  never
    │   ├── BodyInvalidError       body_invalid          400  never
    │   └── UnprocessableError     unprocessable         422  never
    ├── UnauthenticatedError       unauthenticated       401  never
    ├── ForbiddenError             forbidden             403  never
    │   └── PasswordChangeError    password_change_required  403  never
    ├── NotFoundError              not_found             404  never
    ├── MethodError                method_not_allowed    405  never
    ├── ConflictError              conflict              409  now
    │   ├── StaleError             stale                 409  now
    │   └── ExistsError            exists                409  never
    ├── GoneError                  gone                  410  now
    ├── TooLargeError              too_large             413  never
    ├── MediaTypeError             unsupported_media_type    415  never
    ├── UnsupportedError           unsupported           422  never
    ├── ThrottledError             throttled             429  later
    ├── InternalError              internal              500  later
    ├── UpstreamError              upstream              502  later
    ├── UnavailableError           unavailable           503  later
    │   └── StoreUnavailableError  store_unavailable     503  later
    ├── StorageFullError           storage_full          507  later
    ├── SettingsError              settings             (exit code 2; never sent over HTTP)
    └── FormatError                format_invalid        422  never

Domain code raises; only edges catch. Each class owns its stable code, its HTTP status, the level at
which an edge logs it, and what a retry means. Messages say what is wrong; hints say what to do.
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
    status = 400


class BodyInvalidError(InvalidError):
    """The body is not what its content type promises."""

    code = "body_invalid"


class UnprocessableError(InvalidError):
    """Each field is well-formed, but together, or with what is stored, they mean nothing."""

    code = "unprocessable"
    status = 422


class UnauthenticatedError(AimsError):
    """No credential, or one that is wrong, expired or revoked."""

    code = "unauthenticated"
    status = 401


class ForbiddenError(AimsError):
    """The credential is good but does not reach this far."""

    code = "forbidden"
    status = 403


class PasswordChangeError(ForbiddenError):
    """The account's first password must be changed before anything else."""

    code = "password_change_required"


class NotFoundError(AimsError):
    """There is no such object or path."""

    code = "not_found"
    status = 404


class MethodError(AimsError):
    """The path exists, this method on it does not."""

    code = "method_not_allowed"
    status = 405


class ConflictError(AimsError):
    """The write contradicts the present state."""

    code = "conflict"
    status = 409
    retry = Retry.NOW


class StaleError(ConflictError):
    """The object has changed since the caller read it."""

    code = "stale"


class ExistsError(ConflictError):
    """An object of that name is there already."""

    code = "exists"
    retry = Retry.NEVER


class GoneError(AimsError):
    """A watch asked for a revision that is no longer kept: list again."""

    code = "gone"
    status = 410
    retry = Retry.NOW


class TooLargeError(AimsError):
    """A body, header or value is over its limit."""

    code = "too_large"
    status = 413


class MediaTypeError(AimsError):
    """The body's content type or encoding is not one this path reads."""

    code = "unsupported_media_type"
    status = 415


class UnsupportedError(AimsError):
    """Well-formed, but something this program, model or backend cannot do."""

    code = "unsupported"
    status = 422


class FormatError(AimsError):
    """A model file is damaged or is not what it claims to be."""

    code = "format_invalid"
    status = 422


class ThrottledError(AimsError):
    """Too many requests; `params["retry_after_s"]` says when to come back."""

    code = "throttled"
    status = 429
    retry = Retry.LATER


class InternalError(AimsError):
    """A defect of this program, shown without its details."""

    code = "internal"
    status = 500
    level = "error"
    retry = Retry.LATER


class UpstreamError(AimsError):
    """A backend or worker answered with something that is no answer."""

    code = "upstream"
    status = 502
    level = "warning"
    retry = Retry.LATER


class UnavailableError(AimsError):
    """Nothing can serve this right now."""

    code = "unavailable"
    status = 503
    level = "warning"
    retry = Retry.LATER


class StoreUnavailableError(UnavailableError):
    """The database does not answer."""

    code = "store_unavailable"


class StorageFullError(AimsError):
    """The disk behind the database or the cache is full."""

    code = "storage_full"
    status = 507
    level = "error"
    retry = Retry.LATER


class SettingsError(AimsError):
    """A setting is unknown or its value is not allowed; ends the program with exit code 2."""

    code = "settings"
    status = 500


def problem(error: AimsError, *, instance: str = "", request_id: str = "") -> dict[str, Any]:
    """RFC 9457 problem document of the management API."""
    document: dict[str, Any] = {
        "type": f"urn:aimindserve:error:{error.code}",
        "title": type(error).__name__.removesuffix("Error"),
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


_OPENAI_TYPES = {
    400: "invalid_request_error",
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    413: "invalid_request_error",
    422: "invalid_request_error",
    429: "rate_limit_error",
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
