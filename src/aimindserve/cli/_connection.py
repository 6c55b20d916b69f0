"""Which server a client command talks to, and as whom.

    --server / GPUSTACK_SERVER_URL  >  the saved login  >  the server that runs on this machine,
        which is one that this user started (`boot.presence`), or one at port 80 or 8080
    --api-key / GPUSTACK_API_KEY    >  what was saved for that very server

A saved credential is only ever sent to the server it was saved for. The file is 0600.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from aimindserve.cli._words import words
from aimindserve.client.errors import UnreachableError
from aimindserve.core.errors import AimsError, InvalidError

if TYPE_CHECKING:
    from aimindserve.client.sync import Client

LOCAL_PORTS = (80, 8080)
PROBE_TIMEOUT_S = 2.0


@dataclass(frozen=True, slots=True)
class Login:
    """What is kept of a sign-in: a session or an API key, never a password."""

    user: str = ""
    session: str | None = None
    api_key: str | None = None


@dataclass(frozen=True, slots=True)
class Logins:
    """The saved sign-ins by server, and the server used when none is named."""

    current: str | None = None
    servers: Mapping[str, Login] = field(default_factory=dict[str, Login])

    def with_login(self, server: str, login: Login) -> "Logins":
        """These, with `login` for `server`, which becomes the current one."""
        return Logins(server, {**self.servers, server: login})

    def without(self, server: str) -> "Logins":
        """These, without what is kept for `server`."""
        servers = {url: login for url, login in self.servers.items() if url != server}
        return Logins(None if self.current == server else self.current, servers)


def path() -> Path:
    """Where sign-ins are kept: `~/.config/aimindserve/credentials.json` on Linux."""
    return Path(click.get_app_dir("aimindserve")) / "credentials.json"


def read() -> Logins:
    """The saved sign-ins; none when there is no file. Raises InvalidError when it is damaged."""
    try:
        document: Any = json.loads(path().read_text(encoding="utf-8"))
        servers = {url: Login(**fields) for url, fields in document["servers"].items()}
        return Logins(document.get("current"), servers)
    except FileNotFoundError:
        return Logins()
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise InvalidError(
            words(
                "The saved sign-ins in {path} cannot be read: {error}.", path=path(), error=error
            ),
            hint=words("Remove that file and sign in again with: aimindserve login"),
        ) from error


def write(logins: Logins) -> None:
    """Keep `logins`, readable by this user alone. Raises InvalidError when that is not possible."""
    from aimindserve.kit.secrets import write_private

    servers = {url: asdict(login) for url, login in logins.servers.items()}
    try:
        write_private(
            path(), json.dumps({"current": logins.current, "servers": servers}, indent=2) + "\n"
        )
    except OSError as error:
        raise InvalidError(
            words("The sign-in cannot be kept in {path}: {why}.", path=path(), why=error.strerror)
        ) from error


def connect(server: str | None, api_key: str | None) -> "Client":
    """A client of the server that is meant. Raises UnreachableError when none is found here."""
    from aimindserve.client.exchange import base_url
    from aimindserve.client.sync import Client

    logins = read()
    url = base_url(server) if server else logins.current or local_server()
    saved = logins.servers.get(url, Login())
    if api_key or saved.api_key:
        return Client(url, api_key=api_key or saved.api_key)
    return Client(url, session=saved.session)


def local_server() -> str:
    """The server that runs on this machine: one that this user started, or one at a usual place.

    Raises UnreachableError when there is none, InvalidError when there are several.
    """
    from aimindserve.boot.presence import present
    from aimindserve.boot.settings import default_data_dir, this_machine

    machine = this_machine()
    chosen = machine.environ.get("GPUSTACK_DATA_DIR")
    folder = Path(chosen).expanduser().absolute() if chosen else default_data_dir(machine)
    mine = present(machine)
    meant = [each for each in mine if chosen and each.data_dir == str(folder)] or mine
    if len(meant) > 1:
        meant = [each for each in meant if _is_ours(each.url)] or meant
    if len(meant) > 1:
        raise InvalidError(
            words("Several servers run on this machine."),
            hint=words("Name one with --server URL or GPUSTACK_SERVER_URL."),
            params={"servers": [f"{each.url}  ({each.data_dir})" for each in meant]},
        )
    if meant:
        return meant[0].url
    told = _told_by_server(folder)
    usual = [*([told] if told else []), *(_local(port) for port in LOCAL_PORTS)]
    found = next((url for url in usual if _is_ours(url)), None)
    if found is None:
        raise UnreachableError(
            words("No server is running on this machine."),
            hint=words(
                "Start one with: aimindserve start, or name one with --server URL or "
                "GPUSTACK_SERVER_URL."
            ),
        )
    return found


def _told_by_server(data_dir: Path) -> str | None:
    """The address that a running server left in its data directory."""
    try:
        document: Any = json.loads((data_dir / "run" / "server.json").read_text("utf-8"))
        return str(document["url"])
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _local(port: int) -> str:
    return "http://127.0.0.1" if port == 80 else f"http://127.0.0.1:{port}"


def _is_ours(url: str) -> bool:
    """Whether one of our servers answers there: something else may well listen on port 80."""
    from aimindserve.client.sync import Client

    try:
        with Client(url, timeout_s=PROBE_TIMEOUT_S, verify=False) as client:
            return "version" in client.version()
    except AimsError:
        return False
