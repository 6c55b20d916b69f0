"""List and tend workers: cordon, uncordon, label, remove."""

import click

from aimindserve.cli._find import find
from aimindserve.cli._invocation import (
    OBJECTS,
    TABLES,
    Invocation,
    ListByDefault,
    client_command,
)
from aimindserve.cli._output import listing_options, print_document, print_list
from aimindserve.cli._remove import remove
from aimindserve.cli._words import words
from aimindserve.client.objects import AnyObject
from aimindserve.core.errors import ConflictError, InvalidError


@click.group("workers", cls=ListByDefault)
def workers() -> None:
    """List and tend workers: cordon, uncordon, label, remove. Without a subcommand: list."""


@client_command("ls", outputs=TABLES, group=workers)
@listing_options
def ls(here: Invocation, filters: tuple[str, ...], sort: str | None, no_header: bool) -> None:
    """List workers with what they have."""
    with here.client() as client:
        found = list(client.workers.all())
    print_list(here, "worker", found, filters=filters, sort=sort, no_header=no_header)


@client_command("cordon", outputs=OBJECTS, group=workers)
@click.argument("name")
def cordon(here: Invocation, name: str) -> None:
    """Give a worker no new instances; what runs goes on."""
    with here.client() as client:
        find(here, client.workers, name)
        _told(here, client.cordon(name), "cordoned")


@client_command("uncordon", outputs=OBJECTS, group=workers)
@click.argument("name")
def uncordon(here: Invocation, name: str) -> None:
    """Give a worker new instances again."""
    with here.client() as client:
        find(here, client.workers, name)
        _told(here, client.uncordon(name), "uncordoned")


@client_command("label", outputs=OBJECTS, group=workers)
@click.argument("name")
@click.argument("labels", nargs=-1, required=True, metavar="LABEL=VALUE|LABEL-...")
def label(here: Invocation, name: str, labels: tuple[str, ...]) -> None:
    """Set labels of a worker, or take them away: `zone=a`, `old-`."""
    changes = label_changes(labels)
    with here.client() as client:
        find(here, client.workers, name)
        changed = client.workers.patch(name, {"metadata": {"labels": changes}})
    shown = ", ".join(f"{key}={value}" for key, value in sorted(changed.labels.items()))
    _told(here, changed, "labelled", labels=shown)


@client_command("rm", outputs=OBJECTS, group=workers)
@click.argument("names", nargs=-1, required=True)
@click.option("-y", "--yes", is_flag=True, help="Do not ask.")
@click.option("--force", is_flag=True, help="Also one that is connected and ready.")
def rm(here: Invocation, names: tuple[str, ...], yes: bool, force: bool) -> None:
    """Forget workers that will not come back; their instances are placed elsewhere."""
    with here.client() as client:
        try:
            remove(here, client.workers, names, yes=yes, force=force)
        except ConflictError as error:
            error.hint = here.text("use_force")
            raise


COMMAND = workers


def label_changes(texts: tuple[str, ...]) -> dict[str, str | None]:
    """`zone=a` sets, `zone-` removes. Raises InvalidError for anything else."""
    changes: dict[str, str | None] = {}
    for text in texts:
        name, sign, value = text.partition("=")
        if sign and name:
            changes[name] = value
        elif not sign and len(text) > 1 and text.endswith("-"):
            changes[text[:-1]] = None
        else:
            raise InvalidError(
                words("{text!r} is no label.", text=text),
                hint=words("Write LABEL=VALUE to set, LABEL- to remove."),
            )
    return changes


def _told(here: Invocation, worker: AnyObject, key: str, **params: object) -> None:
    if here.structured:
        print_document(here, worker.document)
    else:
        click.echo(here.text(key, name=worker.name, **params))
