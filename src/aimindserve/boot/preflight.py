"""Everything that can be known to go wrong, checked before anything is started.

Each refusal names the thing, what holds it if that can be found, and what to do.
"""

import errno
import os
import shutil
import socket
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from aimindserve.boot.places import Places, make_secrets, make_socket_dir
from aimindserve.boot.settings import Settings, account
from aimindserve.core.errors import AimsError, SettingsError
from aimindserve.kit.lockfile import LockFile
from aimindserve.kit.units import MIB, format_bytes

ALL_INTERFACES = "0.0.0.0"  # noqa: S104 - only to see whether a port is free
FREE_MIN_BYTES = 64 * MIB
"""Below this nothing can be started: the database would fail at its first writes."""
OPEN_FILES = 65_535


class StartError(AimsError):
    """The settings are fine, but this machine does not let the program start."""

    code: ClassVar[str] = "start_failed"


@dataclass(frozen=True, slots=True)
class Door:
    """A port this machine is going to listen on."""

    setting: str
    host: str
    port: int


def prepare(settings: Settings, places: Places) -> LockFile:
    """Make directories and secrets, check the rest, and take the data directory.

    Raises StartError or SettingsError. The lock is held until the process ends.
    """
    _make_directories(settings, places)
    _check_space(places.data_dir)
    lock = LockFile(places.lock)
    holder = lock.take()
    if holder is not None:
        raise StartError(
            f"{places.data_dir} is in use by another aimindserve (process {holder or 'unknown'}).",
            hint="Stop it, or choose another directory with --data-dir.",
        )
    try:
        for door in doors(settings):
            check_port(door)
        if settings.tls:
            _check_tls(settings)
        if not settings.worker_only:
            make_secrets(places, settings.general.token)
    except BaseException:
        lock.release()
        raise
    return lock


def doors(settings: Settings) -> Iterator[Door]:
    """Every port that must be free."""
    if not settings.worker_only:
        yield Door("port", settings.server.host, settings.server.port)
        yield Door("server_metrics_port", settings.server.host, settings.server.server_metrics_port)
    if settings.worker_only or not settings.server.disable_worker:
        yield Door("worker_port", ALL_INTERFACES, settings.worker.worker_port)
        if not settings.worker.disable_metrics:
            yield Door("metrics_port", ALL_INTERFACES, settings.worker.metrics_port)


def check_port(door: Door) -> None:
    """Raise StartError when `door` cannot be listened on."""
    flag = "--" + door.setting.replace("_", "-")
    try:
        is_free(door.host, door.port)
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            holder = _holder(door.port)
            raise StartError(
                f"Port {door.port} is taken{f' by {holder}' if holder else ''}.",
                hint=f"Stop what uses it, or choose another port with {flag}.",
            ) from error
        if error.errno == errno.EACCES:
            raise StartError(
                f"{account()} may not listen on port {door.port}.",
                hint=f"Choose a port above 1023 with {flag}, or allow it: "
                "setcap cap_net_bind_service=+ep on the Python program, or start as root.",
            ) from error
        raise StartError(
            f"Cannot listen on {door.host} port {door.port}: {error.strerror or error}.",
            hint="Check --host: it must be an address of this machine.",
        ) from error


def is_free(host: str, port: int) -> None:
    """Raise OSError unless `port` can be listened on."""
    family, kind, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    with socket.socket(family, kind) as probe:
        if sys.platform != "win32":
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        probe.bind(address)
        probe.listen(1)


def raise_open_files() -> None:
    """Allow this process and its children as many open files as the system lets us."""
    if sys.platform == "win32":
        return
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = OPEN_FILES if hard == resource.RLIM_INFINITY else min(OPEN_FILES, hard)
    if soft == resource.RLIM_INFINITY or soft >= wanted:
        return
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
    except (OSError, ValueError):
        # macOS refuses numbers above its own limit; what we have then has to do.
        return


def _make_directories(settings: Settings, places: Places) -> None:
    folders = {
        "data_dir": places.data_dir,
        "cache_dir": settings.general.cache_dir,
        "log_dir": places.log_dir,
    }
    for name, folder in folders.items():
        make_writable(name, folder)
    try:
        places.run_dir.mkdir(exist_ok=True, mode=0o700)
        make_socket_dir(places)
    except OSError as error:
        raise _directory_error("data_dir", places.run_dir, error) from error


def make_writable(name: str, folder: Path) -> None:
    """Make `folder`, which the setting `name` asks for; raise StartError when this user cannot
    write there."""
    probe = folder / f".write-test-{os.getpid()}"
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        probe.write_bytes(b"x" * 4096)
        probe.unlink()
    except OSError as error:
        raise _directory_error(name, folder, error) from error


def _directory_error(name: str, folder: Path, error: OSError) -> StartError:
    flag = "--" + name.replace("_", "-")
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return StartError(
            f"The disk of {folder} is full.", hint=f"Free space, or choose another place: {flag}."
        )
    return StartError(
        f"{account()} cannot write to {folder} ({name}): {error.strerror or error}.",
        hint=f"Choose another directory with {flag}, or give this user the right to write there.",
    )


def _check_space(folder: Path) -> None:
    free = shutil.disk_usage(folder).free
    if free < FREE_MIN_BYTES:
        raise StartError(
            f"The disk of {folder} is full: {format_bytes(free)} are free,"
            f" {format_bytes(FREE_MIN_BYTES)} are needed to start.",
            hint="Free space, or choose another place with --data-dir.",
        )


def _check_tls(settings: Settings) -> None:
    import ssl

    certificate, key = settings.server.ssl_certfile, settings.server.ssl_keyfile
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(str(certificate), str(key))
    except (OSError, ssl.SSLError) as error:
        raise SettingsError(
            f"ssl_certfile = '{certificate}' with ssl_keyfile = '{key}': {error}.",
            hint="Both must be PEM files that this user can read, and belong together.",
        ) from error


def _holder(port: int) -> str:
    """Who listens on `port`, if this user may know."""
    import psutil

    try:
        for connection in psutil.net_connections("tcp"):
            local = connection.laddr
            if local and local.port == port and connection.status == psutil.CONN_LISTEN:
                if connection.pid is None:
                    return ""
                return f"{psutil.Process(connection.pid).name()} (process {connection.pid})"
    except (psutil.Error, OSError):
        return ""
    return ""
