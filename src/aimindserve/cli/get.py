"""Print objects of any kind: what `ls` shows of deployments, of everything."""

import click

from aimindserve.cli._find import find
from aimindserve.cli._invocation import TABLES, Invocation, client_command
from aimindserve.cli._kinds import kind_of
from aimindserve.cli._output import listing_options, print_list, print_object


@client_command("get", outputs=TABLES)
@click.argument("kind")
@click.argument("name", required=False)
@listing_options
def get(
    here: Invocation,
    kind: str,
    name: str | None,
    filters: tuple[str, ...],
    sort: str | None,
    no_header: bool,
) -> None:
    """Print objects of any kind: deployments, instances, workers, model-files, estimates, routes,
    users, keys.

    \b
    aimindserve get deployments qwen3-8b -o yaml
    aimindserve get model-files --filter phase=failed
    """
    singular = kind_of(kind)
    with here.client() as client:
        collection = client.collection(singular)
        if name is not None:
            print_object(here, find(here, collection, name))
            return
        found = list(collection.all())
    print_list(here, singular, found, filters=filters, sort=sort, no_header=no_header)


COMMAND = get
