"""Show the version of this program, of Python and of the platform."""

import json
import platform
import subprocess
from pathlib import Path

import click

from aimindserve import __version__


@click.command("version")
@click.option(
    "-o",
    "--output",
    type=click.Choice(["text", "json"]),
    default="text",
    show_default=True,
    help="How to print.",
)
def version(output: str) -> None:
    """Show the version of this program, of Python and of the platform."""
    facts = {
        "version": __version__,
        "commit": _commit(),
        "python": platform.python_version(),
        "platform": f"{platform.system()} {platform.release()} {platform.machine()}",
    }
    if output == "json":
        click.echo(json.dumps(facts))
        return
    click.echo(f"aimindserve {facts['version']}")
    for name in ("commit", "python", "platform"):
        click.echo(f"{name:<9} {facts[name] or 'unknown'}")


COMMAND = version


def _commit() -> str | None:
    """The git commit of a source checkout; None for an installed package."""
    root = Path(__file__).resolve().parents[3]
    if not (root / ".git").exists():
        return None
    try:
        answer = subprocess.run(  # noqa: S603 - fixed words and our own path
            ["git", "-C", str(root), "rev-parse", "--short=12", "HEAD"],  # noqa: S607
            capture_output=True,
            text=True,
            timeout=5,
            check=True,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return answer.stdout.strip() or None
