"""Wait until a deployment is ready, or gone."""

import click

from aimindserve.cli._durations import duration
from aimindserve.cli._find import find
from aimindserve.cli._invocation import Invocation, client_command
from aimindserve.cli._output import print_document
from aimindserve.cli._wait import TIMEOUT, wait_gone, wait_ready


@client_command("wait")
@click.argument("name")
@click.option(
    "--for",
    "state",
    type=click.Choice(("ready", "gone")),
    default="ready",
    show_default=True,
    help="What to wait for.",
)
@click.option(
    "--timeout",
    type=duration,
    metavar="TIME",
    default=TIMEOUT,
    show_default=True,
    help="Wait so long.",
)
def wait(here: Invocation, name: str, state: str, timeout: float) -> None:
    """Wait until a deployment is ready, or gone.

    Ends with 0 when it is so, 6 when no worker can take it, 7 when time runs out (the work goes
    on), 9 when it failed.
    """
    with here.client() as client:
        if state == "gone":
            wait_gone(client, name, timeout_s=timeout)
            return
        find(here, client.deployments, name)
        found = wait_ready(here, client, name, timeout_s=timeout)
    if here.structured:
        print_document(here, found.document)
    else:
        here.note("ready", name=name)


COMMAND = wait
