"""List, make and revoke API keys."""

import json
from typing import Any

import click

from aimindserve.cli._durations import duration
from aimindserve.cli._invocation import (
    OBJECTS,
    TABLES,
    Invocation,
    ListByDefault,
    client_command,
)
from aimindserve.cli._output import listing_options, print_document, print_list
from aimindserve.cli._remove import remove


@click.group("keys", cls=ListByDefault)
def keys() -> None:
    """List, make and revoke API keys. Without a subcommand: list."""


@client_command("ls", outputs=TABLES, group=keys)
@listing_options
def ls(here: Invocation, filters: tuple[str, ...], sort: str | None, no_header: bool) -> None:
    """List API keys; the keys themselves are never shown again."""
    with here.client() as client:
        found = list(client.api_keys.all())
    print_list(here, "api-key", found, filters=filters, sort=sort, no_header=no_header)


@client_command("create", outputs=("text", "json", "yaml"), group=keys)
@click.argument("name")
@click.option("--expires", type=duration, metavar="TIME", help="Valid so long, such as 90d.")
@click.option("--model", "models", multiple=True, help="Only for this model. Repeatable.")
@click.option("--description", default="", help="What it is for.")
def create(
    here: Invocation, name: str, expires: float | None, models: tuple[str, ...], description: str
) -> None:
    """Make an API key. It is printed this once: keep it.

    \b
    export GPUSTACK_API_KEY=$(aimindserve keys create laptop --expires 90d)
    """
    fields: dict[str, Any] = {"name": name}
    if expires is not None:
        fields["expires_in_s"] = expires
    if models:
        fields["allowed_models"] = list(models)
    if description:
        fields["description"] = description
    with here.client() as client:
        made = client.create_key(fields)
    if here.output == "yaml":
        print_document(here, {"key": made.key, "object": dict(made.object.document)})
    elif here.output == "json":
        click.echo(json.dumps({"key": made.key, "object": made.object.document}, indent=2))
    else:
        click.echo(made.key)
        here.note("key_once")


@client_command("rm", outputs=OBJECTS, group=keys)
@click.argument("names", nargs=-1, required=True)
@click.option("-y", "--yes", is_flag=True, help="Do not ask.")
def rm(here: Invocation, names: tuple[str, ...], yes: bool) -> None:
    """Revoke API keys, at once."""
    with here.client() as client:
        remove(here, client.api_keys, names, yes=yes)


COMMAND = keys
