"""Show everything about a deployment, an instance or a worker, for people."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import click

from aimindserve.cli._find import find_either, instances_of, quietly
from aimindserve.cli._invocation import Invocation, client_command
from aimindserve.cli._output import print_document
from aimindserve.cli._page import (
    deployment_page,
    event_section,
    instance_page,
    rendered,
    worker_page,
)
from aimindserve.client.history import EventEntry, HistoryQuery
from aimindserve.client.objects import AnyObject
from aimindserve.core.errors import NotFoundError

if TYPE_CHECKING:
    from aimindserve.client.sync import Client

EVENTS_SHOWN = 10
INSTANCES_ASKED = 20


@client_command("describe", outputs=("text", "json", "yaml"))
@click.argument("name")
def describe(here: Invocation, name: str) -> None:
    """Show everything about a deployment, an instance or a worker, for people.

    A deployment with its instances, where they are, what memory they hold and for what, reasons
    with what to do about them, what its model file says of itself, and what happened last.
    """
    with here.client() as client:
        found = _find(here, client, name)
        instances = instances_of(client, name) if found.of.name == "deployment" else []
        files = _files(client, found) if found.of.name == "deployment" else []
        route = quietly(client.routes, name) if found.of.name == "deployment" else None
        history = _history(client, found, instances)
    if here.structured:
        more = {
            "instances": [one.document for one in instances],
            "events": [each.document for each in history],
        }
        print_document(here, {**found.document, **more})
        return
    if found.of.name == "deployment":
        page = deployment_page(here, found, instances, files, route)
    elif found.of.name == "instance":
        page = instance_page(here, found)
    else:
        page = worker_page(here, found)
    click.echo(rendered(here, [*page, event_section(here, history)]))


COMMAND = describe


def _find(here: Invocation, client: "Client", name: str) -> AnyObject:
    try:
        return find_either(here, client, name)
    except NotFoundError:
        worker = quietly(client.workers, name)
        if worker is None:
            raise
        return worker


def _history(
    client: "Client", found: AnyObject, instances: Sequence[AnyObject]
) -> Sequence[EventEntry]:
    """The last events of the object and of its instances, newest first."""
    every: dict[str, EventEntry] = {}
    for one in [found, *instances[:INSTANCES_ASKED]]:
        query = HistoryQuery(kind=one.of.name, name=one.name, per_page=EVENTS_SHOWN)
        every |= {each.id: each for each in client.events(query)}
    return sorted(every.values(), key=lambda each: each.time, reverse=True)[:EVENTS_SHOWN]


def _files(client: "Client", deployment: AnyObject) -> list[AnyObject]:
    """The model files of the deployment's model, on all workers."""
    model = deployment.document["spec"]["model"]
    return [one for one in client.model_files.all() if one.document["spec"]["model"] == model]
