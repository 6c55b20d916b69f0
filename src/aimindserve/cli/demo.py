"""Run a simulated cluster behind the real API, for looking around."""

import shutil
import tempfile
from functools import partial
from pathlib import Path
from typing import Any

import click

from aimindserve.cli._ports import with_free_ports
from aimindserve.cli._terminal import tell
from aimindserve.cli._text import language, say


@click.command("demo")
@click.option(
    "--workers",
    type=click.IntRange(1, 1000),
    default=50,
    show_default=True,
    help="How many simulated machines.",
)
@click.option(
    "--devices", type=click.IntRange(0, 16), default=8, show_default=True, help="On each."
)
@click.option("--seed", type=int, default=1, show_default=True, help="Same number, same cluster.")
@click.option("--host", help="Address to listen on. [default: 127.0.0.1]")
@click.option("--port", help="Port of the server. [default: 8080 or the next free one]")
@click.option("-d", "--debug", is_flag=True, help="Log in detail.")
def demo(workers: int, devices: int, seed: int, debug: bool, **options: Any) -> int:
    """Run a simulated cluster behind the real API, for looking around.

    Workers, devices and engines are simulated; server, scheduler, gateway and API are the real
    ones. Nothing is kept: its data directory is removed at the end.
    """
    from aimindserve.boot.start import Start
    from aimindserve.boot.start import start as run
    from aimindserve.cli._welcome import welcome

    folder = Path(tempfile.mkdtemp(prefix="aimindserve-demo-"))
    flags = {name: value for name, value in options.items() if value is not None}
    fixed = {"data_dir": str(folder), "disable_worker": "true", "debug": str(debug)}
    try:
        resolved, notes = with_free_ports({"host": "127.0.0.1", **flags, **fixed})
        settings = resolved.settings
        counts = {"workers": workers, "devices": devices, "seed": seed}
        tell(say(language(), "demo_simulating", **counts))
        control = ("aimindserve.cli._demo_control", str(workers), str(devices), str(seed))
        ready = partial(welcome, settings, tell, language())
        return run(Start(settings, tell, on_ready=ready, notes=notes, control=control))
    finally:
        shutil.rmtree(folder, ignore_errors=True)


COMMAND = demo
