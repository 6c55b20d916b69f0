"""From the setting `database-url` to a backing: refused early, in words, and without a driver."""

from dataclasses import dataclass
from importlib.util import find_spec
from typing import TYPE_CHECKING
from urllib.parse import SplitResult, urlsplit

from aimindserve.core.errors import SettingsError

if TYPE_CHECKING:  # every process checks its settings; few use a database
    from aimindserve.store.base import Backing

ALLOWED = (
    "sqlite:///path/to/file.db, postgresql://user:password@host:port/name "
    "or mysql://user:password@host:port/name"
)


@dataclass(frozen=True, slots=True)
class _Scheme:
    driver: str
    extra: str
    options: frozenset[str]


_SCHEMES = {
    "sqlite": _Scheme("sqlite3", "", frozenset()),
    "postgresql": _Scheme("asyncpg", "postgres", frozenset({"sslmode"})),
    "mysql": _Scheme("asyncmy", "mysql", frozenset({"ssl", "ssl_ca"})),
}
_ALIASES = {"postgres": "postgresql", "mariadb": "mysql"}


def backing_for(url: str, *, create: bool = True) -> "Backing":
    """The backing that keeps its rows at `url`; raises SettingsError. Without `create`, opening it
    raises NotFoundError where nothing of ours is kept, and leaves nothing behind."""
    check_url(url)
    from aimindserve.store.sql import SqlBacking

    return SqlBacking(url, create=create)


async def probe(url: str) -> None:
    """Connect once and change nothing; raises SettingsError when the database at `url` refuses or
    is of a newer version, StoreUnavailableError when it does not answer."""
    check_url(url)
    from aimindserve.store.sql import SqlBacking

    await SqlBacking(url).probe()


def check_url(url: str) -> str:
    """Which kind of database `url` names: sqlite, postgresql or mysql; raises SettingsError."""
    parts = _split(url)
    name = _ALIASES.get(parts.scheme, parts.scheme)
    scheme = _SCHEMES.get(name)
    if scheme is None:
        raise _refused(url, f"it begins with {parts.scheme or 'nothing'}")
    if name == "sqlite":
        if parts.netloc or len(parts.path) < 2:
            raise _refused(url, "it names no file")
    elif not parts.hostname or len(parts.path) < 2:
        raise _refused(url, "it names no host or no database")
    _check_options(url, parts, scheme)
    if find_spec(scheme.driver) is None:
        raise SettingsError(
            f"The database {masked(url)} needs the driver {scheme.driver}, which is missing.",
            hint=f"Install it with: pip install 'aimindserve[{scheme.extra}]'",
            params={"url": masked(url), "driver": scheme.driver, "extra": scheme.extra},
        )
    return name


def masked(url: str) -> str:
    """`url` without its password, for messages and logs."""
    head, separator, rest = url.partition("://")
    credentials, at, place = rest.rpartition("@")
    if not at:
        return url
    user = credentials.partition(":")[0]
    return f"{head}{separator}{user}{':********' if ':' in credentials else ''}@{place}"


def _split(url: str) -> SplitResult:
    try:
        parts = urlsplit(url)
        _ = parts.port  # raises for a port that is none
    except ValueError as error:
        raise _refused(url, str(error)) from error
    return parts


def _check_options(url: str, parts: SplitResult, scheme: _Scheme) -> None:
    given = {pair.partition("=")[0] for pair in parts.query.split("&") if pair}
    unknown = sorted(given - scheme.options)
    if unknown:
        known = ", ".join(sorted(scheme.options)) or "none"
        raise _refused(url, f"it has the unknown option {unknown[0]} (known: {known})")


def _refused(url: str, why: str) -> SettingsError:
    return SettingsError(
        f"The database URL {masked(url)} cannot be used: {why}.",
        hint=f"Use {ALLOWED}.",
        params={"url": masked(url), "why": why},
    )
