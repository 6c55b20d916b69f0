"""List model files: which model is on which worker, or why not."""

import click

from aimindserve.cli._invocation import TABLES, Invocation, ListByDefault, client_command
from aimindserve.cli._output import listing_options, print_list


@click.group("files", cls=ListByDefault)
def files() -> None:
    """List model files: which model is on which worker, or why not. Without a subcommand: list."""


@client_command("ls", outputs=TABLES, group=files)
@listing_options
def ls(here: Invocation, filters: tuple[str, ...], sort: str | None, no_header: bool) -> None:
    """List model files."""
    with here.client() as client:
        found = list(client.model_files.all())
    print_list(here, "model-file", found, filters=filters, sort=sort, no_header=no_header)


COMMAND = files
