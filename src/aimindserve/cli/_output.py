"""Printing API objects: tables without boxes, JSON, YAML, names. Standard output is data only.

JSON and YAML are the API's documents as they came: one object, or a list of them. Tables are for
people and no contract.
"""

import json
import unicodedata
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import click

from aimindserve.cli._columns import COLUMNS, PHASE, Column, age, at, expiry
from aimindserve.cli._invocation import Invocation
from aimindserve.cli._terms import TERMS
from aimindserve.cli._words import words
from aimindserve.client.objects import AnyObject, Document
from aimindserve.core.errors import InvalidError

_ICONS = {"ok": "●", "working": "◌", "attention": "▲", "failed": "✗", "off": "○"}
_COLOURS = {"ok": "green", "working": "blue", "attention": "yellow", "failed": "red", "off": None}


def listing_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """The options of commands that print a list."""
    for option in (
        click.option("--no-header", is_flag=True, help="Leave out the line of headers."),
        click.option(
            "--sort", metavar="COLUMN", help="Column or field to sort by; -COLUMN for downwards."
        ),
        click.option(
            "--filter",
            "filters",
            multiple=True,
            metavar="FIELD=VALUE",
            help="Only what matches: column or field, then =, != or ~ (contains). Repeatable.",
        ),
    ):
        command = option(command)
    return command


def print_list(
    here: Invocation,
    kind: str,
    found: Iterable[AnyObject],
    *,
    filters: Sequence[str] = (),
    sort: str | None = None,
    no_header: bool = False,
) -> None:
    """Print objects of one kind as the user asked."""
    documents = [one.document for one in found]
    print_rows(here, kind, documents, filters=filters, sort=sort, no_header=no_header)


def print_rows(
    here: Invocation,
    kind: str,
    documents: Sequence[Document],
    *,
    filters: Sequence[str] = (),
    sort: str | None = None,
    no_header: bool = False,
) -> None:
    """Print what has the columns of `kind` as the user asked."""
    tests = [_test(kind, text) for text in filters]
    chosen = [one for one in documents if all(test(one) for test in tests)]
    if sort:
        chosen = _sorted(kind, chosen, sort)
    if here.output == "csv":
        _print_csv(kind, chosen, header=not no_header)
        return
    if here.structured:
        _print_structured(here, chosen)
        return
    if not chosen:
        here.note("none_match" if documents else f"none_{kind}")
        return
    columns = [one for one in COLUMNS[kind] if here.output == "wide" or not one.wide]
    click.echo(table(here, columns, chosen, header=not no_header))


def print_object(here: Invocation, found: AnyObject) -> None:
    """Print one object; as a table of one line where no structure was asked for."""
    if here.output == "csv":
        _print_csv(found.of.name, [found.document], header=True)
        return
    if here.structured:
        print_document(here, found.document)
        return
    columns = [one for one in COLUMNS[found.of.name] if here.output == "wide" or not one.wide]
    click.echo(table(here, columns, [found.document]))


def print_document(here: Invocation, document: Document) -> None:
    """Print one document as JSON, YAML or its name."""
    if here.output == "name":
        click.echo(_name(document))
    elif here.output == "jsonl":
        click.echo(_line(document))
    elif here.output == "yaml":
        click.echo(_yaml(document), nl=False)
    else:
        click.echo(json.dumps(document, ensure_ascii=False, indent=2))


def table(
    here: Invocation,
    columns: Sequence[Column],
    documents: Sequence[Document],
    *,
    header: bool = True,
) -> str:
    """Columns two spaces apart; nothing is cut or wrapped."""
    moment = now()
    rows = [[here.term(one.header) for one in columns]] if header else []
    rows += [[_written(here, one, each, moment) for one in columns] for each in documents]
    shown: list[Document | None] = [None, *documents] if header else list(documents)
    if here.colour:
        for row, document in zip(rows, shown, strict=True):
            _paint(here, columns, row, document)
    return aligned(rows)


def _written(here: Invocation, column: Column, document: Document, moment: float) -> str:
    """A cell for people; what the document says is not translated, what stands for it is."""
    value = at(document, column.path)
    told = column.write(value, moment)
    if column.write is expiry and told.startswith("in "):
        return here.text("expires_in", time=told.removeprefix("in "))
    if isinstance(value, bool) or column.write is expiry or column.path == PHASE.path:
        return here.term(told)
    return told


def aligned(rows: Sequence[Sequence[str]]) -> str:
    """Cells in columns by the width they take on a screen, the last column unpadded."""
    if not rows:
        return ""
    widths = [max(_width(row[place]) for row in rows) for place in range(len(rows[0]))]
    lines: list[str] = []
    for row in rows:
        cells = [
            cell + " " * (width - _width(cell)) for cell, width in zip(row, widths, strict=True)
        ]
        lines.append("  ".join(cells).rstrip())
    return "\n".join(lines)


def phase_text(here: Invocation, document: Document) -> str:
    """The phase of an object; on a terminal with its class's icon and colour."""
    word = here.term(str(at(document, "status.phase") or ""))
    visual = str(at(document, "status.class") or "")
    if not here.colour or visual not in _ICONS:
        return word
    return click.style(f"{_ICONS[visual]} {word}", fg=_COLOURS[visual])


def _print_structured(here: Invocation, documents: Sequence[Document]) -> None:
    if here.output in {"name", "jsonl"}:
        for document in documents:
            click.echo(_line(document) if here.output == "jsonl" else _name(document))
    elif here.output == "yaml":
        click.echo(_yaml(list(documents)), nl=False)
    else:
        click.echo(json.dumps(documents, ensure_ascii=False, indent=2))


def _name(document: Document) -> str:
    """What tells it from others of its list: not all have metadata."""
    return str(at(document, "metadata.name") or document.get("id") or "")


def _line(document: Document) -> str:
    return json.dumps(document, ensure_ascii=False, separators=(",", ":"))


def _print_csv(kind: str, documents: Sequence[Document], *, header: bool) -> None:
    """RFC 4180 with every column of the wide table; values as in the JSON, not as people read."""
    import csv
    import io

    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    if header:
        writer.writerow([one.header.lower().replace(" ", "_") for one in COLUMNS[kind]])
    for each in documents:
        writer.writerow([_cell(at(each, one.path)) for one in COLUMNS[kind]])
    click.echo(text.getvalue(), nl=False)


def _cell(value: Any) -> str:
    """A value as a cell. A spreadsheet would run what begins like a formula: it gets a quote."""
    text = _plain(value)
    return f"'{text}" if isinstance(value, str) and text[:1] in "=+@\t\r-" and text else text


def _yaml(value: Any) -> str:
    import yaml

    text: str = yaml.safe_dump(value, allow_unicode=True, sort_keys=False, width=10_000)
    return text


def _paint(
    here: Invocation, columns: Sequence[Column], row: list[str], document: Document | None
) -> None:
    for place, column in enumerate(columns):
        if document is None:
            row[place] = click.style(row[place], bold=True)
        elif column.path == "status.phase":
            row[place] = phase_text(here, document)


def _width(text: str) -> int:
    plain = click.unstyle(text)
    return sum(2 if unicodedata.east_asian_width(letter) in "WF" else 1 for letter in plain)


def _path(kind: str, field: str) -> str:
    """The dotted path a user means by a column's header or by the path itself."""
    wanted = field.upper().replace("_", " ")
    heads = {head: one.path for one in COLUMNS[kind] for head in (one.header, TERMS[one.header])}
    found = heads.get(wanted)
    if found is None and "." not in field:
        headers = ", ".join(one.header for one in COLUMNS[kind])
        raise InvalidError(
            words(
                "{field!r} is no column of this list; there are: {headers}.",
                field=field,
                headers=headers,
            ),
            hint=words("A path into the object works too, for example spec.replicas"),
        )
    return found or field


def _test(kind: str, text: str) -> Callable[[Document], bool]:
    for sign in ("!=", "~", "="):
        field, found, wanted = text.partition(sign)
        if found:
            break
    else:
        raise InvalidError(
            words("--filter {text!r} has no =, != or ~.", text=text),
            hint=words("For example: phase=ready"),
        )
    path = _path(kind, field.strip())
    want = wanted.strip().lower()

    def test(document: Document) -> bool:
        value = _plain(at(document, path)).lower()
        if sign == "~":
            return want in value
        return (value == want) is (sign == "=")

    return test


def _sorted(kind: str, found: list[Document], sort: str) -> list[Document]:
    path = _path(kind, sort.lstrip("-+"))
    # Ages go down where the times of which they are printed go up.
    downwards = sort.startswith("-") is not (sort.lstrip("-+").upper() in _ages(kind))
    missing = [one for one in found if at(one, path) is None]
    present = [one for one in found if at(one, path) is not None]

    def key(one: Document) -> tuple[bool, float, str]:
        value = at(one, path)
        number = isinstance(value, int | float)
        return (not number, float(value) if number else 0.0, _plain(value))

    return [*sorted(present, key=key, reverse=downwards), *missing]


def _ages(kind: str) -> set[str]:
    """The heads, in both languages, of columns that say how long ago something was."""
    heads = [one.header for one in COLUMNS[kind] if one.write is age]
    return {*heads, *(TERMS[head] for head in heads)}


def _plain(value: Any) -> str:
    if isinstance(value, Mapping | list):
        return json.dumps(value, ensure_ascii=False)
    if isinstance(value, bool):
        return "true" if value else "false"
    return "" if value is None else str(value)


def now() -> float:
    """The present time in seconds since the epoch."""
    from aimindserve.kit.clock import SystemClock

    return SystemClock().now()
