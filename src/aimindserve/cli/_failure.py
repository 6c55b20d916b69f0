"""How a command that failed says so: one sentence, a hint, and an exit code scripts can rely on.

0 done · 1 failed · 2 usage or settings · 3 not found · 4 sign in, or not allowed · 5 conflict
6 cannot be scheduled · 7 wait timed out · 8 server not reachable · 9 target failed
10 differences found · 130 interrupted
"""

import json
import sys
from typing import Any, ClassVar

from aimindserve.core.errors import (
    AimsError,
    ConflictError,
    ForbiddenError,
    InvalidError,
    NotFoundError,
    SettingsError,
    UnauthenticatedError,
    problem,
)

FAILED = 1
USAGE = 2
NOT_FOUND = 3
NOT_ALLOWED = 4
CONFLICT = 5
NO_FIT = 6
TIMED_OUT = 7
NOT_REACHABLE = 8
TARGET_FAILED = 9
DIFFERENT = 10
INTERRUPTED = 130

_CODES: tuple[tuple[type[AimsError], int], ...] = (
    (SettingsError, USAGE),
    (InvalidError, USAGE),
    (NotFoundError, NOT_FOUND),
    (UnauthenticatedError, NOT_ALLOWED),
    (ForbiddenError, NOT_ALLOWED),
    (ConflictError, CONFLICT),
)


class CommandError(AimsError):
    """A command ended with an exit code of its own choice."""

    code: ClassVar[str] = "failed"

    def __init__(self, message: str, *, exit_code: int = FAILED, hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.exit_code = exit_code


class WrongUsageError(CommandError):
    """A command was not called as it must be, which only shows once it runs."""

    code: ClassVar[str] = "usage"

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message, exit_code=USAGE, hint=hint)


def exit_code(error: AimsError) -> int:
    """The exit code that tells scripts what kind of failure `error` is."""
    if isinstance(error, CommandError):
        return error.exit_code
    return next((code for kind, code in _CODES if isinstance(error, kind)), FAILED)


def local_problem(error: AimsError, *, request_id: str = "") -> dict[str, Any]:
    """The problem document of an error; with an HTTP status only where there may have been one."""
    document = problem(error, request_id=request_id)
    if isinstance(error, CommandError | SettingsError):
        del document["status"]
    return document


def report(error: AimsError, *, as_json: bool = False) -> None:
    """Tell `error` on standard error: as text for people, or as a problem document."""
    if as_json:
        sys.stderr.write(json.dumps(local_problem(error), ensure_ascii=False) + "\n")
        return
    sys.stderr.write(f"✗ {error.message} ({error.code})\n")
    for line in error.hint.splitlines():
        sys.stderr.write(f"  {line}\n")
