"""Run a server with its gateway and worker, or with --server-url a worker."""

from functools import partial
from typing import Any

import click

from aimindserve.cli._settings import given, settings_options
from aimindserve.cli._starting import told_as_start
from aimindserve.cli._terminal import tell
from aimindserve.cli._text import language
from aimindserve.cli._words import words
from aimindserve.core.errors import SettingsError


@click.command("start")
@settings_options
def start(**options: Any) -> int:
    """Run a server with its gateway and worker, or with --server-url a worker.

    Every flag can also be an environment variable (GPUSTACK_ and the name in capitals; HF_TOKEN and
    HF_ENDPOINT have their usual names) or a key of the file that --config-file names. Ctrl-C stops
    everything in order, inference backends too; a second Ctrl-C stops at once.
    """
    from aimindserve.boot.load import load
    from aimindserve.boot.start import Start
    from aimindserve.boot.start import start as run

    try:
        resolved = load(given(options))
    except SettingsError as error:
        hint = f"{error.hint}\n{words('Nothing was started.')}".strip()
        raise SettingsError(error.message, hint=hint, params=error.params) from error
    for warning in resolved.warnings:
        tell(f"warning: {warning}")
    settings = resolved.settings
    if settings.worker_only:
        tell(f"joining {settings.worker.server_url} ({resolved.origins['server_url']})")
    from aimindserve.cli._welcome import welcome

    ready = partial(welcome, settings, tell, language())
    with told_as_start():
        return run(Start(settings, tell, on_ready=ready, origins=resolved.origins))


COMMAND = start
