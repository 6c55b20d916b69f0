"""Bring up everything with a small real model, ask it something, and keep serving."""

from typing import Any

import click

from aimindserve.cli._ports import with_free_ports
from aimindserve.cli._settings import given, settings_options
from aimindserve.cli._starting import told_as_start
from aimindserve.cli._terminal import tell
from aimindserve.cli._words import words
from aimindserve.core.errors import SettingsError

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

    resolved, notes = with_free_ports(given(options))
    for warning in resolved.warnings:
        tell(f"warning: {warning}")
    if resolved.settings.worker_only or resolved.settings.server.disable_worker:
        raise SettingsError(
            words("quickstart runs a server with a worker; use `aimindserve start`.")
        )
    tour = Tour(resolved.settings, question, tell)
    what = Start(
        resolved.settings,
        tell,
        on_ready=tour.run,
        on_stop=tour.stop,
        notes=notes,
        origins=resolved.origins,
    )
    with told_as_start():
        code = run(what)
    tour.join()
    return code or (1 if tour.failed else 0)


COMMAND = quickstart
