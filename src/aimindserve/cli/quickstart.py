"""Bring up everything with a small real model, ask it something, and keep serving."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import click

from aimindserve.cli._settings import given, settings_options
from aimindserve.cli.start import tell
from aimindserve.core.errors import SettingsError

if TYPE_CHECKING:
    from aimindserve.boot.resolve import Resolved

PORTS: Mapping[str, int] = {
    "port": 8080,
    "worker_port": 10150,
    "metrics_port": 10151,
    "server_metrics_port": 10161,
}
"""None needs root. The next free port is taken where one of these is in use."""
TRIES = 100
QUESTION = "Why is the sky blue? Answer in one sentence."


@click.command("quickstart")
@click.option("--question", default=QUESTION, show_default=True, help="What to ask the model.")
@settings_options
def quickstart(question: str, **options: Any) -> int:
    """Bring up everything with a small real model, ask it something, and keep serving.

    Takes the flags of `start`; ports that are not given are chosen, from 8080 for the server. What
    is there from an earlier run is used again. Ctrl-C stops everything.
    """
    from aimindserve.boot.start import Start
    from aimindserve.boot.start import start as run
    from aimindserve.cli._tour import Tour

    resolved = _with_free_ports(given(options))
    for warning in resolved.warnings:
        tell(f"warning: {warning}")
    if resolved.settings.worker_only or resolved.settings.server.disable_worker:
        raise SettingsError("quickstart runs a server with a worker; use `aimindserve start`.")
    tour = Tour(resolved.settings, question, tell)
    code = run(Start(resolved.settings, tell, on_ready=tour.run, on_stop=tour.stop))
    tour.join()
    return code or (1 if tour.failed else 0)


COMMAND = quickstart


def _with_free_ports(flags: Mapping[str, Any]) -> "Resolved":
    """The settings, with a free port wherever nobody chose one."""
    from aimindserve.boot.load import load
    from aimindserve.boot.resolve import DEFAULT

    origins = load(flags).origins
    chosen: dict[str, str] = {}
    for name, wanted in PORTS.items():
        if origins[name] == DEFAULT:
            chosen[name] = _free(name, wanted, chosen)
    return load({**flags, **chosen})


def _free(name: str, wanted: int, chosen: Mapping[str, str]) -> str:
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
        if port != wanted:
            tell(f"port {wanted} ({name}) is taken; using {port}")
        return str(port)
    return str(wanted)
