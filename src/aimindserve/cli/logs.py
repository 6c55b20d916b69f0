"""Read the log of a deployment's instances, and follow it."""

import json
import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import click

from aimindserve.cli._find import find, find_either, instances_of
from aimindserve.cli._invocation import DATA, Invocation, client_command
from aimindserve.client.objects import AnyObject, LogQuery
from aimindserve.core.errors import InvalidError, NotFoundError

if TYPE_CHECKING:
    from aimindserve.client.sync import Client

TAIL = 200
_CONTROL = re.compile(
    r"\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)|\x1b\[[0-?]*[ -/]*[@-~]|\x1b[@-_]|[\x00-\x08\x0b-\x1f\x7f]"
)
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
def logs(here: Invocation, name: str, **options: Any) -> None:
    """Read the log of a deployment's instances, and follow it.

    NAME is a deployment or an instance. Lines of several instances begin with the instance's name.

    \b
    aimindserve logs qwen3-8b -f
    aimindserve logs qwen3-8b --previous --grep error
    """
    query = query_of(options)
    with here.client() as client:
        found = _instances(here, client, name, options["instance"])
        if query.follow and len(found) > 1:
            _follow_all(here, client, found, query)
            return
        writer = Writer(here, [one.name for one in found])
        for one in found:
            for line in client.logs(one.name, query):
                writer.write(one.name, line)


COMMAND = logs


def query_of(options: Mapping[str, Any]) -> LogQuery:
    """Which lines the options ask for. Raises InvalidError for two runs at once."""
    previous, run = options["previous"], options["run"]
    if previous and run is not None:
        raise InvalidError("--previous and --run exclude each other.")
    chosen = "previous" if previous else None if run is None else str(run)
    return LogQuery(
        tail=options["tail"], follow=options["follow"], run=chosen, text=options["grep"]
    )


def _instances(
    here: Invocation, client: "Client", name: str, instance: str | None
) -> list[AnyObject]:
    if instance is not None:
        return [find(here, client.instances, instance)]
    found = find_either(here, client, name)
    if found.of.name == "instance":
        return [found]
    every: list[AnyObject] = list(instances_of(client, name))
    if not every:
        raise NotFoundError(
            f"{name} has no instance, so there is no log.",
            hint=f"See why with: aimindserve why {name}",
            params={"kind": "instance", "name": name},
        )
    return every


class Writer:
    """Prints lines as they are, or with the instance in front where there are several."""

    def __init__(self, here: Invocation, names: Sequence[str]) -> None:
        self._here = here
        self._width = max((len(name) for name in names), default=0) if len(names) > 1 else 0
        self._colours = {name: _COLOURS[place % len(_COLOURS)] for place, name in enumerate(names)}

    def write(self, instance: str, line: str) -> None:
        """Print one line."""
        if self._here.output == "json":
            click.echo(json.dumps({"instance": instance, "line": line}, ensure_ascii=False))
            return
        text = visible(line)
        if self._width:
            name = f"{instance:<{self._width}}"
            colour = self._colours[instance] if self._here.colour else None
            text = f"{click.style(name, fg=colour) if colour else name}  {text}"
        click.echo(text)


def visible(line: str) -> str:
    """A log line without control sequences: what an engine writes must not steer the terminal."""
    return _CONTROL.sub("", line)


def _follow_all(
    here: Invocation, client: "Client", found: Sequence[AnyObject], query: LogQuery
) -> None:
    """Follow several logs at once, one stream each."""
    import anyio

    from aimindserve.client.aio import AsyncClient

    writer = Writer(here, [one.name for one in found])

    async def follow(asking: AsyncClient, name: str) -> None:
        async for line in asking.logs(name, query):
            writer.write(name, line)

    async def run() -> None:
        async with client.twin() as asking, anyio.create_task_group() as group:
            for one in found:
                group.start_soon(follow, asking, one.name)

    anyio.run(run)
