"""Free ports for commands that must work at once: nobody wants to choose four for a first look."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from aimindserve.boot.resolve import Resolved

PORTS: Mapping[str, int] = {
    "port": 8080,
    "worker_port": 10150,
    "metrics_port": 10151,
    "server_metrics_port": 10161,
}
"""None needs root. The next free port is taken where one of these is in use."""
WORKER_PORTS = frozenset({"worker_port", "metrics_port"})
TRIES = 100


def with_free_ports(flags: Mapping[str, Any]) -> "tuple[Resolved, list[str]]":
    """(the settings with a free port wherever nobody chose one, what to say of ports that were
    taken). It is always a server that is started: GPUSTACK_SERVER_URL is for commands here."""
    from aimindserve.boot.load import SERVER_URL, load
    from aimindserve.boot.resolve import DEFAULT

    found = load(flags, unread=(SERVER_URL,))
    unused = WORKER_PORTS if found.settings.server.disable_worker else frozenset[str]()
    chosen: dict[str, str] = {}
    notes: list[str] = []
    for name, wanted in PORTS.items():
        if found.origins[name] == DEFAULT and name not in unused:
            chosen[name] = _free(wanted, chosen)
            if chosen[name] != str(wanted):
                notes.append(f"port {wanted} ({name}) is taken; using {chosen[name]}")
    return load({**flags, **chosen}, unread=(SERVER_URL,)), notes


def _free(wanted: int, chosen: Mapping[str, str]) -> str:
    """`wanted`, or the next port after it that is free and not one of the others."""
    from aimindserve.boot.preflight import ALL_INTERFACES, is_free

    others = {str(port) for port in PORTS.values()} - {str(wanted)} | set(chosen.values())
    for port in range(wanted, wanted + TRIES):
        try:
            is_free(ALL_INTERFACES, port)
        except OSError:
            continue
        if str(port) in others:
            continue
        return str(port)
    return str(wanted)
