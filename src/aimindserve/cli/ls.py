"""List deployments: what is to be served, and how much of it is ready."""

import click

from aimindserve.cli._invocation import TABLES, Invocation, client_command
from aimindserve.cli._output import listing_options, print_list


@client_command("ls", outputs=TABLES)
@listing_options
def ls(here: Invocation, filters: tuple[str, ...], sort: str | None, no_header: bool) -> None:
    """List deployments: what is to be served, and how much of it is ready.

    \b
    aimindserve ls
    aimindserve ls --filter phase!=ready --sort -age
    aimindserve ls -o name
    """
    with here.client() as client:
        found = list(client.deployments.all())
    print_list(here, "deployment", found, filters=filters, sort=sort, no_header=no_header)


COMMAND: click.Command = ls
