"""Whether the database of the settings can be used, asked before anything is started.

A database on another machine is asked by a process of its own (this module, run), which gets the
URL on standard input: its drivers are never loaded into the supervisor, and passwords are never
among arguments. A file is looked at here. One that answered at an earlier start may be away for a
while: gateways serve from their last table meanwhile, so that it is only said, and waited for.
"""

import asyncio
import hashlib
import json
import re
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar
from urllib.parse import urlsplit

from aimindserve.boot.places import Places
from aimindserve.boot.preflight import StartError, make_writable
from aimindserve.boot.settings import Settings
from aimindserve.core.errors import AimsError, SettingsError, StoreUnavailableError
from aimindserve.kit.secrets import write_private

SETTING = "database_url"
ANSWER_S = 25.0
"""Longer than connecting and a statement may take together."""
_SQLITE = b"SQLite format 3\0"
_NUMBERED = re.compile(r"""\(\d+, (["'])(.*)\1\)""", re.DOTALL)
_HINT = "It needs a database that exists, and a user, with the password, who may make tables in it."


class DatabaseAwayError(StartError):
    """Nothing answers at the database's address."""

    code: ClassVar[str] = "database_unreachable"


def check_database(
    settings: Settings, places: Places, environ: Mapping[str, str], origin: str
) -> str:
    """A sentence when a database that is known does not answer now, else nothing.

    Raises SettingsError when it cannot be used as the setting says, DatabaseAwayError when nothing
    answers, StartError when its directory cannot be written to.
    """
    url = settings.server.database_url
    if url.startswith("sqlite:"):
        _check_file(Path(url.partition("///")[2]), origin)
        return ""
    told = _ask(url, environ)
    if told is None:
        return ""
    if not told:
        write_private(places.database_seen, _identity(url) + "\n")
        return ""
    named = f"{SETTING} = '{told['url']}' ({origin})"
    if not told["away"]:
        raise SettingsError(f"{named} is refused: {told['said']}.", hint=told["hint"])
    away = f"{named}: no database answers there: {told['said']}."
    if _is_known(url, places):
        return f"{away} It has answered before and is waited for."
    raise DatabaseAwayError(away, hint="Start the database, or correct its host and port.")


def _check_file(path: Path, origin: str) -> None:
    named = f"{SETTING} = 'sqlite:///{path}' ({origin})"
    if path.is_dir():
        raise SettingsError(f"{named}: needs the path of a file, and this is a directory.")
    make_writable(SETTING, path.parent)
    try:
        with path.open("rb") as file:
            head = file.read(len(_SQLITE))
    except FileNotFoundError:
        return
    except OSError as error:
        raise SettingsError(f"{named}: it cannot be read: {error.strerror or error}.") from error
    if head and head != _SQLITE:
        raise SettingsError(
            f"{named}: needs the path of an SQLite database, or of no file yet; this is another"
            " file."
        )


def _ask(url: str, environ: Mapping[str, str]) -> dict[str, Any] | None:
    """Empty: it can be used; None: that cannot be told, and its user will tell. Else what is wrong:
    `url` without its password, `said`, `hint`, and whether it is `away`."""
    command = (sys.executable, "-m", "aimindserve.boot.database")
    try:
        done = subprocess.run(  # noqa: S603 - this program itself
            command,
            input=url,
            capture_output=True,
            text=True,
            timeout=ANSWER_S,
            check=True,
            env=dict(environ),
        )
        answer: dict[str, Any] = json.loads(done.stdout)
    except (OSError, subprocess.SubprocessError, ValueError):
        return None
    return answer


def _identity(url: str) -> str:
    """Stands for a database, whoever uses it."""
    parts = urlsplit(url)
    place = f"{parts.scheme}://{parts.hostname}:{parts.port or ''}{parts.path}"
    return hashlib.sha256(place.encode()).hexdigest()


def _is_known(url: str, places: Places) -> bool:
    try:
        return places.database_seen.read_text(encoding="utf-8").strip() == _identity(url)
    except (OSError, ValueError):
        return False


async def _probe(url: str) -> dict[str, Any]:
    from aimindserve.store.urls import masked, probe

    try:
        await probe(url)
    except AimsError as error:
        told = error.params.get("error")
        return {
            "url": masked(url),
            "said": _sentence(str(told or error.message)),
            "hint": _HINT if told else error.hint,
            "away": isinstance(error, StoreUnavailableError),
        }
    return {}


def _sentence(text: str) -> str:
    """What a driver said, without the number that MySQL's errors begin with, and no stop."""
    found = _NUMBERED.fullmatch(text)
    return (found.group(2) if found else text).strip().rstrip(".")


if __name__ == "__main__":
    sys.stdout.write(json.dumps(asyncio.run(_probe(sys.stdin.read()))))
