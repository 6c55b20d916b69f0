"""Change how many instances of a deployment run; 0 stops it."""

import click

from aimindserve.cli._durations import duration
from aimindserve.cli._find import find
from aimindserve.cli._invocation import Invocation, client_command
from aimindserve.cli._output import print_document
from aimindserve.cli._wait import TIMEOUT, wait_ready


@client_command("scale")
@click.argument("name")
@click.argument("replicas", type=click.IntRange(0, 1000))
@click.option("--wait/--no-wait", default=False, show_default=True, help="Wait until it is so.")
@click.option(
    "--timeout",
    type=duration,
    metavar="TIME",
    default=TIMEOUT,
    show_default=True,
    help="Wait so long.",
)
def scale(here: Invocation, name: str, replicas: int, wait: bool, timeout: float) -> None:
    """Change how many instances of a deployment run; 0 stops it."""
    with here.client() as client:
        before = find(here, client.deployments, name)
        old = int(before.document["spec"]["replicas"])
        after = before
        if old != replicas:
            after = client.deployments.patch(name, {"spec": {"replicas": replicas}})
        if wait:
            generation = int(after.metadata.get("generation") or 0)
            after = wait_ready(here, client, name, timeout_s=timeout, generation=generation)
    if here.structured:
        print_document(here, after.document)
    else:
        key = "scaled" if old != replicas else "unchanged"
        click.echo(here.text(key, name=name, before=old, after=replicas))


COMMAND = scale
