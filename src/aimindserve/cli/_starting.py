"""How a start that ended before it began says so."""

from collections.abc import Generator
from contextlib import contextmanager
from typing import ClassVar

from aimindserve.cli._failure import NOT_REACHABLE, CommandError
from aimindserve.cli._words import words
from aimindserve.core.errors import SettingsError


class _AwayError(CommandError):
    code: ClassVar[str] = "database_unreachable"


@contextmanager
def told_as_start() -> Generator[None]:
    """Say of what ends a start before it began that nothing was started, with its exit code."""
    from aimindserve.boot.database import DatabaseAwayError

    try:
        yield
    except DatabaseAwayError as error:
        hint = f"{error.hint}\n{words('Nothing was started.')}"
        raise _AwayError(error.message, exit_code=NOT_REACHABLE, hint=hint) from error
    except SettingsError as error:
        hint = f"{error.hint}\n{words('Nothing was started.')}".strip()
        raise SettingsError(error.message, hint=hint, params=error.params) from error
