"""Make the server's objects like those in a YAML file: create what is missing, change the rest."""

import json
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import click

from aimindserve.cli._failure import DIFFERENT
from aimindserve.cli._invocation import DATA, Invocation, client_command
from aimindserve.cli._kinds import kind_of
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


@client_command("apply", outputs=DATA)
@click.option("-f", "--file", "path", required=True, metavar="FILE", help="YAML file; - for stdin.")
@click.option("--dry-run", is_flag=True, help="Only say what would change; exit code 10 if any.")
def apply(here: Invocation, path: str, dry_run: bool) -> None:
    """Make the server's objects like those in a YAML file: create what is missing, change the rest.

    The file holds one object, a list, or several documents, in the form that `get -o yaml` prints.
    Nothing is removed. The whole file is checked before anything is written.

    \b
    aimindserve get deployments -o yaml > all.yaml
    aimindserve apply -f all.yaml --dry-run
    """
    wanted = [wanted_of(document) for document in _documents(path)]
    done: list[tuple[Wanted, str]] = []
    with here.client() as client:
        for one in wanted:
            verb = _planned(client, one) if dry_run else _applied(client, one)
            done.append((one, verb))
            if here.output != "json":
                word = f"{verb}_would" if dry_run and verb != "same" else verb
                click.echo(here.text("applied", kind=one.kind, name=one.name, verb=here.text(word)))
    if here.output == "json":
        rows = [{"kind": one.kind, "name": one.name, "result": verb} for one, verb in done]
        click.echo(json.dumps(rows, indent=2))
    if dry_run and any(verb != "same" for _, verb in done):
        raise click.exceptions.Exit(DIFFERENT)


COMMAND = apply


def wanted_of(document: Any) -> Wanted:
    """An object of the file. Raises InvalidError for what cannot be one."""
    if not isinstance(document, Mapping):
        raise InvalidError("The file holds something that is no object with kind and metadata.")
    fields = cast("Mapping[str, Any]", document)
    metadata: Any = fields.get("metadata")
    if not isinstance(metadata, Mapping) or not metadata.get("name"):  # pyright: ignore[reportUnknownMemberType] - plain YAML
        raise InvalidError("An object in the file has no metadata.name.")
    named = cast("Mapping[str, Any]", metadata)
    spec: Any = fields.get("spec")
    if not isinstance(spec, Mapping):
        raise InvalidError(f"{named['name']} in the file has no spec.")
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
        raise InvalidError(f"{path} cannot be read: {error.strerror}.") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise InvalidError(f"{path} is no YAML: {error}.") from error
    flat = [one for document in documents for one in _each(document)]
    if not flat or len(flat) > DOCUMENTS_MAX:
        raise InvalidError(
            f"{path} holds {len(flat)} objects; 1 to {DOCUMENTS_MAX} can be applied."
        )
    yield from flat


def _each(document: Any) -> list[Any]:
    return cast("list[Any]", document) if isinstance(document, list) else [document]


def _text(path: str) -> str:
    if path == "-":
        return sys.stdin.read(FILE_MAX_BYTES)
    file = Path(path)
    if file.stat().st_size > FILE_MAX_BYTES:
        raise InvalidError(f"{path} is larger than {FILE_MAX_BYTES // 1024**2} MiB.")
    return file.read_text(encoding="utf-8")


def _planned(client: "Client", wanted: Wanted) -> str:
    """What applying would do: created, changed or same."""
    try:
        present = client.collection(wanted.kind).get(wanted.name)
    except NotFoundError:
        return "created"
    return "changed" if _differs(present.document, wanted) else "same"


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
