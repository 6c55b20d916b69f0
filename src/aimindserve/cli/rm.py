"""Remove deployments, with all their instances; model files stay."""

import click

from aimindserve.cli._invocation import Invocation, client_command
from aimindserve.cli._remove import remove


@client_command("rm")
@click.argument("names", nargs=-1, required=True)
@click.option("-y", "--yes", is_flag=True, help="Do not ask.")
def rm(here: Invocation, names: tuple[str, ...], yes: bool) -> None:
    """Remove deployments, with all their instances; model files stay."""
    with here.client() as client:
        remove(here, client.deployments, names, yes=yes)


COMMAND = rm
