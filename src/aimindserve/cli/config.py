"""Show every setting with its value and where the value comes from."""

import json
from typing import Any

import click

from aimindserve.boot.declared._setting import Declared
from aimindserve.boot.forms import MASK, masked, plain, shown
from aimindserve.cli._output import aligned
from aimindserve.cli._settings import given, settings_options
from aimindserve.cli._terms import term
from aimindserve.cli._text import language, say


@click.group("config")
def config() -> None:
    """Look at the settings of this machine."""


@config.command("show")
@click.option(
    "-o",
    "--output",
    type=click.Choice(["table", "json", "yaml"]),
    default="table",
    show_default=True,
    help="How to print.",
)
@settings_options
def show(output: str, **options: Any) -> None:
    """Show every setting with its value and origin, as `start` would use them.

    Takes the flags of `start`, so that a command line can be tried without starting anything; what
    `start` would refuse is told. Secrets are masked.
    """
    from aimindserve.boot.load import load
    from aimindserve.boot.settings import declared, value_of

    resolved = load(given(options), strict=False)
    rows = [
        _row(item, value_of(resolved.settings, item), resolved.origins[item.name])
        for item in declared().values()
    ]
    tongue = language()
    refused = [
        say(tongue, "would_refuse", sentence=mistake.sentence()) for mistake in resolved.mistakes
    ]
    for line in (*resolved.warnings, *refused):
        click.echo(f"! {line}", err=True)
    if output == "json":
        click.echo(json.dumps(rows, ensure_ascii=False, indent=2))
    elif output == "yaml":
        click.echo(_yaml(rows), nl=False)
    else:
        _table(rows, tongue)


COMMAND = config


def _row(item: Declared, value: object, origin: str) -> dict[str, Any]:
    return {
        "name": item.name,
        "value": plain(masked(item.setting, value)),
        "origin": origin,
        "active": item.active,
    }


def _table(rows: list[dict[str, Any]], tongue: str) -> None:
    later = say(tongue, "not_active")
    cells = [
        (
            row["name"],
            shown(row["value"]) or "-",
            row["origin"] + ("" if row["active"] else f" ({later})"),
        )
        for row in rows
    ]
    head = [term(word, tongue) for word in ("SETTING", "VALUE", "ORIGIN")]
    click.echo(aligned([head, *cells]))


def _yaml(rows: list[dict[str, Any]]) -> str:
    """A file that `--config-file` takes, but for the masked secrets; origins as comments."""
    import yaml

    lines: list[str] = []
    for row in rows:
        if row["value"] is None or row["name"] == "config_file":
            continue
        text: str = yaml.safe_dump({row["name"]: row["value"]}, allow_unicode=True, width=10_000)
        first, _, rest = text.rstrip("\n").partition("\n")
        note = row["origin"] + ("" if row["active"] else ", not active yet")
        comment = "# " if MASK in str(row["value"]) else ""
        lines.append(f"{comment}{first}  # {note}" + (f"\n{rest}" if rest else ""))
    return "\n".join(lines) + "\n"
