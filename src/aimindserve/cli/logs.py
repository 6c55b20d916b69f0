"""Read the log of a deployment's instances, and follow it."""

import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import click

from aimindserve.cli._errors import exit_code, show
from aimindserve.cli._find import find, find_either, instances_of
from aimindserve.cli._invocation import DATA, Invocation, client_command
from aimindserve.cli._terminal import visible
from aimindserve.cli._words import words
from aimindserve.client.errors import UnreachableError
from aimindserve.client.objects import AnyObject, LogQuery
from aimindserve.core.errors import (
    AimsError,
    InvalidError,
    NotFoundError,
    UnavailableError,
    UpstreamError,
)

if TYPE_CHECKING:
    from aimindserve.client.sync import Client

TAIL = 200
_COLOURS = ("cyan", "magenta", "green", "yellow", "blue", "red")


@client_command("logs", outputs=DATA)
@click.argument("name")
@click.option("-f", "--follow", is_flag=True, help="Go on with what comes, until Ctrl-C.")
@click.option("-p", "--previous", is_flag=True, help="The run before this one: why it ended.")
@click.option("--run", type=click.IntRange(1), metavar="N", help="The N-th run on its worker.")
@click.option(
    "--tail",
    type=click.IntRange(0, 10_000),
    default=TAIL,
    show_default=True,
    help="Begin with so many lines, at most.",
)
@click.option("--grep", metavar="TEXT", help="Only lines with this text.")
@click.option("-i", "--instance", help="Only this instance of the deployment.")
@click.option("--worker", help="The process on this worker, of an instance on several.")
def logs(here: Invocation, name: str, **options: Any) -> None:
    """Read the log of a deployment's instances, and follow it.

    NAME is a deployment or an instance. Lines of several instances begin with the instance's name.
    The logs of workers that are away are left out, which is told; -f goes on with them when they
    are back, and with instances that join.

    \b
    aimindserve logs qwen3-8b -f
    aimindserve logs qwen3-8b --previous --grep error
    """
    query = query_of(options)
    with here.client() as client:
        deployment, found = _instances(here, client, name, options["instance"])
        writer = Writer(here, [one.name for one in found])
        if query.follow:
            _follow(client, deployment, found, writer, query)
        else:
            _read(client, found, writer, query)


COMMAND = logs


def query_of(options: Mapping[str, Any]) -> LogQuery:
    """Which lines the options ask for. Raises InvalidError for two runs at once."""
    previous, run = options["previous"], options["run"]
    if previous and run is not None:
        raise InvalidError(words("--previous and --run exclude each other."))
    chosen = "previous" if previous else None if run is None else str(run)
    return LogQuery(
        tail=options["tail"],
        follow=options["follow"],
        run=chosen,
        text=options["grep"],
        worker=options["worker"],
    )


def _instances(
    here: Invocation, client: "Client", name: str, instance: str | None
) -> tuple[str, list[AnyObject]]:
    """(deployment whose every instance is meant, or nothing; the instances)."""
    if instance is not None:
        return "", [find(here, client.instances, instance)]
    found = find_either(here, client, name)
    if found.of.name == "instance":
        return "", [found]
    every: list[AnyObject] = list(instances_of(client, name))
    if not every:
        raise NotFoundError(
            words("{name} has no instance, so there is no log.", name=name),
            hint=words("See why with: aimindserve why {name}", name=name),
            params={"kind": "instance", "name": name},
        )
    return name, every


class Writer:
    """Prints lines as they are, or with the instance in front where there are several."""

    def __init__(self, here: Invocation, names: Sequence[str]) -> None:
        self.here = here
        self._names = list(names)

    def write(self, instance: str, line: str) -> None:
        """Print one line. `instance` may be one that was not among the names so far."""
        if instance not in self._names:
            self._names.append(instance)
        if self.here.output == "json":
            click.echo(json.dumps({"instance": instance, "line": line}, ensure_ascii=False))
            return
        text = visible(line)
        if len(self._names) > 1:
            name = f"{instance:<{max(map(len, self._names))}}"
            if self.here.colour:
                name = click.style(name, fg=_COLOURS[self._names.index(instance) % len(_COLOURS)])
            text = f"{name}  {text}"
        click.echo(text)


def _read(client: "Client", found: Sequence[AnyObject], writer: Writer, query: LogQuery) -> None:
    """Print one log after the other. Those that are away are told, and are a failure at the end."""
    errors = [_read_one(client, one.name, writer, query, alone=len(found) == 1) for one in found]
    failed = next((error for error in errors if error is not None), None)
    if failed is not None:
        raise click.exceptions.Exit(exit_code(failed))


def _read_one(
    client: "Client", instance: str, writer: Writer, query: LogQuery, *, alone: bool
) -> AimsError | None:
    """Print one log. Why there is none is returned, unless no other log is to be printed."""
    try:
        for line in client.logs(instance, query):
            writer.write(instance, line)
    except (UnavailableError, UpstreamError, NotFoundError) as error:
        if alone or isinstance(error, UnreachableError):
            raise
        message, params = f"{instance}: {error.message}", {**error.params, "instance": instance}
        told = type(error)(message, hint=error.hint, params=params)
        show(told, as_json=writer.here.output == "json", language=writer.here.language)
        return told
    return None


def _follow(
    client: "Client", deployment: str, found: Sequence[AnyObject], writer: Writer, query: LogQuery
) -> None:
    """Follow every log at once, until Ctrl-C or until there is nothing left to follow."""
    from aimindserve.cli._follow import Following, follow

    what = Following(query, deployment, writer.write, writer.here.note)
    follow(client.twin, found, what)
