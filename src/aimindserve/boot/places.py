"""Where the parts of one installation find each other: files below the data directory."""

import hashlib
import os
import secrets
import stat
import tempfile
from dataclasses import dataclass
from pathlib import Path

from aimindserve.boot.settings import Settings
from aimindserve.kit.secrets import read_or_create

SOCKET_PATH_MAX = 100
"""A unix socket's path has at most 108 bytes on Linux, 104 on macOS."""


@dataclass(frozen=True, slots=True)
class Places:
    """The files of one data directory."""

    data_dir: Path
    log_dir: Path
    control_port: int = 0
    """The control plane's loopback port where there are no unix sockets (Windows); else 0."""

    @property
    def control_url(self) -> str:
        """The control plane's address for parts on this machine."""
        if self.control_port:
            return f"http://127.0.0.1:{self.control_port}"
        return f"unix://{self.control_socket}"

    @property
    def run_dir(self) -> Path:
        """Things that mean something only while the program runs."""
        return self.data_dir / "run"

    @property
    def control_socket(self) -> Path:
        """Where the control plane listens; elsewhere when the path would be too long for one."""
        socket = self.run_dir / "control.sock"
        if len(os.fsencode(socket)) <= SOCKET_PATH_MAX:
            return socket
        digest = hashlib.sha256(os.fsencode(socket)).hexdigest()[:16]
        return Path(tempfile.gettempdir()) / f"aimindserve-{digest}" / "control.sock"

    @property
    def lock(self) -> Path:
        """Held by the one supervisor of this data directory."""
        return self.run_dir / "supervisor.lock"

    @property
    def handover(self) -> Path:
        """The settings as the supervisor gives them to its children."""
        return self.run_dir / "settings.json"

    @property
    def address(self) -> Path:
        """Where commands on this machine read which server runs here."""
        return self.run_dir / "server.json"

    @property
    def operator_credential(self) -> Path:
        """With which this machine's operator speaks to the running server; made at each start."""
        return self.run_dir / "operator"

    @property
    def token(self) -> Path:
        """The shared join token, unless the settings give one."""
        return self.data_dir / "token"

    @property
    def pepper(self) -> Path:
        """The key of every stored hash."""
        return self.data_dir / "secrets" / "pepper"

    @property
    def gateway_credential(self) -> Path:
        """With which gateways speak to the control plane."""
        return self.data_dir / "secrets" / "gateway"

    @property
    def database_seen(self) -> Path:
        """Which database on another machine has answered, so that it may be waited for."""
        return self.data_dir / "secrets" / "database"

    @property
    def admin_password(self) -> Path:
        """The first admin's generated password, until it is changed."""
        return self.data_dir / "initial_admin_password"


def places_of(settings: Settings) -> Places:
    """The places that the settings name."""
    return Places(settings.general.data_dir, settings.worker.log_dir)


def make_secrets(places: Places, given_token: str | None) -> None:
    """Create what several processes share before any of them starts, so that none races for it.

    The token has 32 hexadecimal digits because people copy it from machine to machine.
    """
    if given_token is None:
        read_or_create(places.token, secrets.token_hex(16))
    read_or_create(places.pepper)
    read_or_create(places.gateway_credential)


def join_token(places: Places, settings: Settings) -> str:
    """The token with which workers join this server."""
    return settings.general.token or read_or_create(places.token, secrets.token_hex(16))


def make_socket_dir(places: Places) -> None:
    """Create the directory of the control socket, reachable by this user only.

    Raises PermissionError when somebody else made it first in a shared directory.
    """
    folder = places.control_socket.parent
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    geteuid = getattr(os, "geteuid", None)
    facts = folder.lstat()
    if geteuid is not None and (facts.st_uid != geteuid() or not stat.S_ISDIR(facts.st_mode)):
        raise PermissionError(f"{folder} belongs to somebody else")
    folder.chmod(0o700)
