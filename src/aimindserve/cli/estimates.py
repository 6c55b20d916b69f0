"""List what models were predicted to take beside what they took, and forget what was measured."""

import click

from aimindserve.cli._invocation import TABLES, Invocation, ListByDefault, client_command
from aimindserve.cli._output import listing_options, print_list


@click.group("estimates", cls=ListByDefault)
def estimates() -> None:
    """List what models were predicted to take beside what they took. Without a subcommand: list."""


@client_command("ls", outputs=TABLES, group=estimates)
@listing_options
def ls(here: Invocation, filters: tuple[str, ...], sort: str | None, no_header: bool) -> None:
    """List estimates: memory predicted and measured, the error, and what one request gets.

    \b
    aimindserve estimates
    aimindserve estimates --sort -error
    aimindserve estimates -o wide
    """
    with here.client() as client:
        found = list(client.estimates.all())
    print_list(here, "estimate", found, filters=filters, sort=sort, no_header=no_header)


@client_command("forget", group=estimates)
@click.argument("name")
def forget(here: Invocation, name: str) -> None:
    """Forget what was measured under NAME, as `estimates -o wide` shows it."""
    with here.client() as client:
        client.estimates.delete(name)
    here.note("removed", name=name)


COMMAND = estimates
