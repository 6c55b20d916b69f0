"""Who listens on this machine's ports, asked of the system itself."""

import os
import socket
import sys
from collections.abc import Callable

import psutil

from aimindserve.runtimes.base import Handle
from aimindserve.worker.inventory import read_text

LOOPBACK = "127.0.0.1"


class LocalPorts:
    """Tries to bind: exactly what an engine will do a moment later."""

    def taken(self, first: int, last: int) -> frozenset[int]:
        """The ports of the inclusive range on which an engine could not listen."""
        return frozenset(port for port in range(first, last + 1) if not _free(port))


def owner_check(owns: Callable[[Handle, int], bool]) -> Callable[[Handle], bool | None]:
    """For the prober: whether the engine's port is held by the engine. `owns(handle, pid)` knows
    which processes are the engine's."""

    def check(handle: Handle) -> bool | None:
        if _listened_by_other_user(handle.port):
            return False
        pids = listeners(handle.port)
        if not pids:
            return None
        return any(owns(handle, pid) for pid in pids)

    return check


def listeners(port: int) -> frozenset[int]:
    """The processes that listen on `port`, as far as the system lets us see them."""
    try:
        found = psutil.net_connections(kind="tcp")
    except (psutil.Error, OSError):
        return frozenset()
    return frozenset(
        one.pid
        for one in found
        if one.status == psutil.CONN_LISTEN
        and one.laddr
        and one.laddr.port == port
        and one.pid is not None
    )


def listening_users(table: str, port: int) -> frozenset[int]:
    """User ids out of /proc/net/tcp (proc(5)): local address in hexadecimal, state 0A is LISTEN."""
    users: set[int] = set()
    for line in table.splitlines()[1:]:
        fields = line.split()
        if len(fields) < 8 or fields[3] != "0A" or not fields[7].isdigit():
            continue
        if fields[1].rpartition(":")[2] == f"{port:04X}":
            users.add(int(fields[7]))
    return frozenset(users)


def _listened_by_other_user(port: int) -> bool:
    """The system hides whose sockets another user's are; it tells their user, though."""
    if not hasattr(os, "geteuid"):
        return False
    tables = (read_text("/proc/net/tcp") or "", read_text("/proc/net/tcp6") or "")
    users = frozenset[int]().union(*(listening_users(table, port) for table in tables))
    return bool(users) and os.geteuid() not in users


def _free(port: int) -> bool:
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as trial:
        if sys.platform == "win32":
            trial.setsockopt(socket.SOL_SOCKET, socket.SO_EXCLUSIVEADDRUSE, 1)
        else:
            # Without it a port that an engine used a minute ago would look taken.
            trial.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            trial.bind((LOOPBACK, port))
        except OSError:
            return False
    return True
