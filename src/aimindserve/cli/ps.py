"""List instances: every running copy, where it runs and how it does."""

import click

from aimindserve.cli._columns import at
from aimindserve.cli._invocation import TABLES, Invocation, client_command
from aimindserve.cli._output import listing_options, print_list


@client_command("ps", outputs=TABLES)
@click.argument("deployment", required=False)
@listing_options
def ps(
    here: Invocation,
    deployment: str | None,
    filters: tuple[str, ...],
    sort: str | None,
    no_header: bool,
) -> None:
    """List instances: every running copy, where it runs and how it does.

    \b
    aimindserve ps
    aimindserve ps qwen3-8b -o wide
    aimindserve ps --filter worker=gpu-01
    """
    with here.client() as client:
        found = list(client.instances.all())
        if deployment is not None:
            client.deployments.get(deployment)
            found = [one for one in found if at(one.document, "spec.deployment") == deployment]
    print_list(here, "instance", found, filters=filters, sort=sort, no_header=no_header)


COMMAND: click.Command = ps
