"""Make the server's objects like those in a YAML file: create what is missing, change the rest."""

import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import click

from aimindserve.cli._failure import DIFFERENT, WrongUsageError
from aimindserve.cli._invocation import Invocation, client_command
from aimindserve.cli._kinds import kind_of
from aimindserve.cli._pairs import pairs
from aimindserve.cli._remove import confirm
from aimindserve.cli._words import words
from aimindserve.client.calls import Listing
from aimindserve.client.objects import Document
from aimindserve.core.errors import InvalidError, NotFoundError

if TYPE_CHECKING:
    from aimindserve.client.sync import Client

FILE_MAX_BYTES = 4 * 1024 * 1024
DOCUMENTS_MAX = 1000


@dataclass(frozen=True, slots=True)
class Wanted:
    """One object of the file."""

    kind: str
    name: str
    spec: Mapping[str, Any]
    labels: Mapping[str, str] | None


@client_command("apply", outputs=("text", "json", "yaml", "name"))
@click.option("-f", "--file", "path", required=True, metavar="FILE", help="YAML file; - for stdin.")
@click.option("--dry-run", is_flag=True, help="Only say what would change; exit code 10 if any.")
@click.option("--diff", is_flag=True, help="As --dry-run, and show the differences.")
@click.option(
    "--prune", is_flag=True, help="Also remove what --selector finds and the file does not have."
)
@click.option(
    "-l",
    "--selector",
    "selectors",
    multiple=True,
    metavar="LABEL=VALUE",
    help="With --prune: only objects with this label. Repeatable.",
)
@click.option("-y", "--yes", is_flag=True, help="Do not ask before removing.")
def apply(
    here: Invocation, path: str, selectors: tuple[str, ...], yes: bool, **flags: bool
) -> None:
    """Make the server's objects like those in a YAML file: create what is missing, change the rest.

    The file holds one object, a list, or several documents, in the form that `get -o yaml` prints.
    Nothing is removed without --prune, and with it only objects of the kinds in the file that have
    the labels of --selector. The whole file is checked before anything is written.

    \b
    aimindserve get deployments -o yaml > all.yaml
    aimindserve apply -f all.yaml --diff
    aimindserve apply -f team.yaml --prune --selector team=chat
    """
    wanted = [wanted_of(document) for document in _documents(path)]
    labels = pairs("--selector", selectors)
    prune, only_say = flags["prune"], flags["dry_run"] or flags["diff"]
    if prune and not labels:
        raise WrongUsageError(here.text("prune_needs_selector"))
    with here.client() as client:
        surplus = _surplus(client, wanted, labels) if prune else []
        if surplus and not only_say and not yes:
            confirm(here, "confirm_prune", [f"{kind}/{name}" for kind, name in surplus])
        steps = _steps(client, wanted, surplus, only_say=only_say, diff=flags["diff"])
        done = list(_told(here, steps, only_say=only_say))
    _print(here, done)
    if only_say and any(step.verb != "same" for step in done):
        raise click.exceptions.Exit(DIFFERENT)


COMMAND = apply


@dataclass(frozen=True, slots=True)
class Step:
    """What was done, or would be, to one object."""

    kind: str
    name: str
    verb: str
    """created, changed, same or pruned."""
    diff: str = ""


def _steps(
    client: "Client",
    wanted: Sequence[Wanted],
    surplus: Sequence[tuple[str, str]],
    *,
    only_say: bool,
    diff: bool,
) -> Iterator[Step]:
    """Do it, or only say so, object by object; what the file does not have goes last."""
    for one in wanted:
        verb, shown = _planned(client, one, diff=diff) if only_say else (_applied(client, one), "")
        yield Step(one.kind, one.name, verb, shown)
    for kind, name in surplus:
        if not only_say:
            client.collection(kind).delete(name)
        yield Step(kind, name, "pruned")


def _surplus(
    client: "Client", wanted: Sequence[Wanted], labels: Mapping[str, str]
) -> list[tuple[str, str]]:
    """(kind, name) of objects with `labels` that the file does not have, of its kinds alone."""
    named = {(one.kind, one.name) for one in wanted}
    return [
        (kind, found.name)
        for kind in sorted({one.kind for one in wanted})
        for found in client.collection(kind).all(Listing(labels=labels))
        if (kind, found.name) not in named
    ]


def _told(here: Invocation, steps: Iterator[Step], *, only_say: bool) -> Iterator[Step]:
    """Say each step as it is done, where people read."""
    for step in steps:
        if not here.structured:
            word = f"{step.verb}_would" if only_say and step.verb != "same" else step.verb
            click.echo(here.text("applied", kind=step.kind, name=step.name, verb=here.text(word)))
            if step.diff:
                click.echo(step.diff)
        yield step


def _print(here: Invocation, done: Sequence[Step]) -> None:
    """The outcome, for programs."""
    if here.output == "name":
        for step in done:
            click.echo(f"{step.kind}/{step.name}")
    elif here.structured:
        rows = [{"kind": step.kind, "name": step.name, "result": step.verb} for step in done]
        if here.output == "yaml":
            import yaml

            click.echo(yaml.safe_dump(rows, allow_unicode=True, sort_keys=False), nl=False)
        else:
            click.echo(json.dumps(rows, indent=2))


def wanted_of(document: Any) -> Wanted:
    """An object of the file. Raises InvalidError for what cannot be one."""
    if not isinstance(document, Mapping):
        raise InvalidError(
            words("The file holds something that is no object with kind and metadata.")
        )
    fields = cast("Mapping[str, Any]", document)
    metadata: Any = fields.get("metadata")
    if not isinstance(metadata, Mapping) or not metadata.get("name"):  # pyright: ignore[reportUnknownMemberType] - plain YAML
        raise InvalidError(words("An object in the file has no metadata.name."))
    named = cast("Mapping[str, Any]", metadata)
    spec: Any = fields.get("spec")
    if not isinstance(spec, Mapping):
        raise InvalidError(words("{name} in the file has no spec.", name=named["name"]))
    return Wanted(
        kind=kind_of(str(fields.get("kind") or "")),
        name=str(named["name"]),
        spec=cast("Mapping[str, Any]", spec),
        labels=named.get("labels"),
    )


def _documents(path: str) -> Iterator[Any]:
    import yaml

    try:
        text = _text(path)
        documents: list[Any] = [one for one in yaml.safe_load_all(text) if one is not None]
    except OSError as error:
        raise InvalidError(
            words("{path} cannot be read: {why}.", path=path, why=error.strerror)
        ) from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise InvalidError(words("{path} is no YAML: {error}.", path=path, error=error)) from error
    flat = [one for document in documents for one in _each(document)]
    if not flat or len(flat) > DOCUMENTS_MAX:
        raise InvalidError(
            words(
                "{path} holds {count} objects; 1 to {limit} can be applied.",
                path=path,
                count=len(flat),
                limit=DOCUMENTS_MAX,
            )
        )
    yield from flat


def _each(document: Any) -> list[Any]:
    return cast("list[Any]", document) if isinstance(document, list) else [document]


def _text(path: str) -> str:
    if path == "-":
        return sys.stdin.read(FILE_MAX_BYTES)
    file = Path(path)
    if file.stat().st_size > FILE_MAX_BYTES:
        raise InvalidError(
            words("{path} is larger than {size} MiB.", path=path, size=FILE_MAX_BYTES // 1024**2)
        )
    return file.read_text(encoding="utf-8")


def _planned(client: "Client", wanted: Wanted, *, diff: bool) -> tuple[str, str]:
    """What applying would do (created, changed or same), and the difference, if it is asked for."""
    try:
        present = client.collection(wanted.kind).get(wanted.name).document
    except NotFoundError:
        return "created", _difference(None, wanted) if diff else ""
    if not _differs(present, wanted):
        return "same", ""
    return "changed", _difference(present, wanted) if diff else ""


def _difference(present: Document | None, wanted: Wanted) -> str:
    """A unified diff of what the file names, as YAML: how it is, and how it would be."""
    import difflib

    import yaml

    def lines(labels: Any, spec: Mapping[str, Any]) -> list[str]:
        shown: dict[str, Any] = {"spec": dict(spec)}
        if wanted.labels is not None:
            shown = {"labels": dict(labels or {}), **shown}
        return yaml.safe_dump(shown, allow_unicode=True).splitlines()

    old: list[str] = []
    if present is not None:
        named = {field: _narrowed(present["spec"].get(field), wanted.spec[field])
                 for field in wanted.spec if field in present["spec"]}  # fmt: skip
        old = lines(present["metadata"].get("labels"), named)
    new = lines(wanted.labels, wanted.spec)
    head = f"{wanted.kind}/{wanted.name}"
    return "\n".join(difflib.unified_diff(old, new, f"server {head}", f"file {head}", lineterm=""))


def _narrowed(present: Any, wanted: Any) -> Any:
    """Of `present` only what `wanted` names: what the server filled in is no difference."""
    if isinstance(wanted, Mapping) and isinstance(present, Mapping):
        inner = cast("Mapping[str, Any]", present)
        asked = cast("Mapping[str, Any]", wanted)
        return {key: _narrowed(inner[key], asked[key]) for key in asked if key in inner}
    return present


def _applied(client: "Client", wanted: Wanted) -> str:
    collection = client.collection(wanted.kind)
    try:
        present = collection.get(wanted.name)
    except NotFoundError:
        collection.create(wanted.name, wanted.spec, dict(wanted.labels or {}))
        return "created"
    if not _differs(present.document, wanted):
        return "same"
    changed: dict[str, Any] = {**present.document, "spec": dict(wanted.spec)}
    if wanted.labels is not None:
        changed["metadata"] = {**present.metadata, "labels": dict(wanted.labels)}
    collection.replace(changed)
    return "changed"


def _differs(present: Document, wanted: Wanted) -> bool:
    """Whether any field that the file names has another value at the server."""
    labels: Any = present["metadata"].get("labels") or {}
    if wanted.labels is not None and dict(labels) != dict(wanted.labels):
        return True
    spec: Mapping[str, Any] = present["spec"]
    return any(not _covers(spec.get(field), value) for field, value in wanted.spec.items())


def _covers(present: Any, wanted: Any) -> bool:
    """Whether `present` says what `wanted` says; it may say more, filled in by the server."""
    if isinstance(wanted, Mapping) and isinstance(present, Mapping):
        inner = cast("Mapping[str, Any]", present)
        asked = cast("Mapping[str, Any]", wanted)
        return all(_covers(inner.get(field), value) for field, value in asked.items())
    return bool(present == wanted)
