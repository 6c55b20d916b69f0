"""Print what happened: to everything, or to one object; newest last, and with -f as it comes."""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import click

from aimindserve.cli._durations import moment
from aimindserve.cli._invocation import TABLES, Invocation, client_command
from aimindserve.cli._kinds import kind_of
from aimindserve.cli._output import listing_options, now, print_rows
from aimindserve.cli._words import words
from aimindserve.client.history import EventEntry, HistoryQuery
from aimindserve.core.errors import InvalidError, UnavailableError
from aimindserve.kit.clock import parse_rfc3339

if TYPE_CHECKING:
    from aimindserve.client.sync import Client

LOOK_S = 1.0
PAGE = 500
FOLLOWED_MAX = 2_000
OBJECT_WIDTH, CODE_WIDTH = 34, 11


@client_command("events", outputs=TABLES)
@click.argument("target", required=False, metavar="[KIND/NAME]")
@click.option("-f", "--follow", is_flag=True, help="Go on printing what happens.")
@click.option("--since", type=moment, metavar="TIME", help="From then on: 10m, 2h, or a time.")
@click.option("--until", type=moment, metavar="TIME", help="Before then.")
@click.option("--event", "code", default="", metavar="CODE", help="Only these, as in restarted.")
@click.option("--reason", default="", metavar="CODE", help="Only for this reason, as in no_fit.")
@click.option(
    "-n",
    "--limit",
    type=click.IntRange(1, PAGE),
    default=50,
    show_default=True,
    help="At most so many, the newest.",
)
@listing_options
def events(here: Invocation, target: str | None, follow: bool, limit: int, **options: Any) -> None:
    """Print what happened: to everything, or to one object; newest last, and with -f as it comes.

    The same thing happening again within an hour is one line that counts.

    \b
    aimindserve events
    aimindserve events deployment/qwen3-8b
    aimindserve events worker/ --since 2h --event lost
    aimindserve events -f -o jsonl
    """
    printing = {name: options.pop(name) for name in ("filters", "sort", "no_header")}
    kind, name = _target(target)
    query = HistoryQuery(kind=kind, name=name, per_page=limit, **options)
    with here.client() as client:
        found = client.events(query).items[::-1]
        print_rows(here, "event", [row(each, here.language) for each in found], **printing)
        if follow:
            _follow(here, client, query, found)


COMMAND = events


def row(event: EventEntry, language: str) -> dict[str, Any]:
    """The event as printed: as it came, with `object`, and the sentence in the user's language."""
    return {**event.document, "object": event.target, "message": event.message(language)}


def _target(text: str | None) -> tuple[str, str]:
    """(kind, name); either may be empty. Raises InvalidError."""
    if not text:
        return "", ""
    kind, sign, name = text.partition("/")
    if not sign:
        return "", text
    if not kind:
        raise InvalidError(
            words("{text!r} names no kind.", text=text),
            hint=words("Write KIND/NAME, KIND/ or NAME."),
        )
    return kind_of(kind), name


def _follow(here: Invocation, client: "Client", query: HistoryQuery, known: "Any") -> None:
    try:
        for event in _news(client, query, {each.id: each.count for each in known}):
            _print_one(here, row(event, here.language))
    except KeyboardInterrupt:
        here.note("events_over", command="aimindserve events")
        raise


def _news(client: "Client", query: HistoryQuery, counts: dict[str, int]) -> Iterator[EventEntry]:
    """Events that are new or have counted on, oldest first, for ever; outages are waited for."""
    from threading import Event

    pause, since = Event(), now() - LOOK_S
    while True:
        pause.wait(LOOK_S)
        try:
            found = client.events(replace(query, since=since, per_page=PAGE)).items
        except UnavailableError:
            continue
        for each in found[::-1]:
            if counts.get(each.id) != each.count:
                counts[each.id] = each.count
                yield each
            since = max(since, parse_rfc3339(each.time))
        while len(counts) > FOLLOWED_MAX:
            counts.pop(next(iter(counts)))


def _print_one(here: Invocation, document: Mapping[str, Any]) -> None:
    if here.structured:
        print_rows(here, "event", [document], no_header=True)
        return
    clock = str(document["time"])[11:19]
    times = f" ×{document['count']}" if document["count"] > 1 else ""
    click.echo(
        f"{clock}  {document['object']:<{OBJECT_WIDTH}}  {document['code']:<{CODE_WIDTH}}  "
        f"{document['message']}{times}"
    )
