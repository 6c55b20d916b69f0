"""Objects as rows and back: the only place that knows how the store writes a resource down.

It must not know who keeps the rows or who watches them.
"""

import json
from typing import Any

from pydantic import ValidationError

from aimindserve.core.errors import InvalidError, SettingsError, TooLargeError
from aimindserve.kit.units import MIB, format_bytes
from aimindserve.resources._all import kinds
from aimindserve.resources._kind import AnyResource, Kind, Metadata, Part, Resource
from aimindserve.store.base import Change, ChangeRow, ChangeType, Row

OBJECT_BYTES_MAX = 8 * MIB
"""Spec and status of one object together; MySQL's default packet holds 16 MiB."""


def kind_of(name: str) -> Kind[Any, Any]:
    """The kind called `name`; raises InvalidError."""
    kind = kinds().get(name)
    if kind is None:
        raise InvalidError(
            f"There is no kind {name!r}.",
            hint=f"Known kinds: {', '.join(kinds())}.",
            params={"kind": name},
        )
    return kind


def encode(resource: AnyResource) -> Row:
    """The row of an object; raises TooLargeError."""
    meta = resource.metadata
    row = Row(
        kind=resource.kind,
        name=meta.name,
        id=meta.id,
        spec=_text(resource.spec),
        status=_text(resource.status),
        labels=json.dumps(dict(meta.labels), sort_keys=True),
        generation=meta.generation,
        revision=meta.revision,
        created_at=meta.created_at,
    )
    size = sum(len(text.encode()) for text in (row.spec, row.status, row.labels))
    if size > OBJECT_BYTES_MAX:
        raise TooLargeError(
            f"{row.kind} {row.name} is {format_bytes(size)} large, more than "
            f"{format_bytes(OBJECT_BYTES_MAX)}.",
            params={"size_bytes": size, "limit_bytes": OBJECT_BYTES_MAX},
        )
    return row


def decode(row: Row) -> AnyResource:
    """The object of a row; raises pydantic's ValidationError."""
    kind = kind_of(row.kind)
    return Resource(
        kind=row.kind,
        metadata=Metadata(
            name=row.name,
            id=row.id,
            labels=json.loads(row.labels),
            generation=row.generation,
            revision=row.revision,
            created_at=row.created_at,
        ),
        spec=kind.spec.model_validate_json(row.spec),
        status=kind.status.model_validate_json(row.status),
    )


def read(row: Row) -> AnyResource | None:
    """The object of a row from the database; None for a kind this program does not have.

    Raises SettingsError when the row cannot be understood: going on without the object would make
    controllers tear down what belongs to it.
    """
    if row.kind not in kinds():
        return None
    try:
        return decode(row)
    except (ValidationError, ValueError) as error:
        raise SettingsError(
            f"The database holds {row.kind} {row.name} in a form this program cannot read.",
            hint="Start the version of aiMindServe that wrote it, or restore a backup.",
            params={"kind": row.kind, "name": row.name, "error": str(error)[:500]},
        ) from error


def read_change(row: ChangeRow) -> Change | None:
    """The change of a change row; None for a kind this program does not have; raises as `read`."""
    resource = read(row.row)
    if resource is None:
        return None
    return Change(row.revision, ChangeType(row.type), resource, size_of(row.row))


def size_of(row: Row) -> int:
    """About how many bytes an object takes."""
    return len(row.spec) + len(row.status)


def normalised(resource: AnyResource) -> tuple[Row, AnyResource]:
    """The row of an object, and the object exactly as it will be read back; raises InvalidError.

    What cannot be read back is refused before it is written, and nobody sees a value that would
    look different after a restart.
    """
    row = encode(resource)
    try:
        return row, decode(row)
    except ValidationError as error:
        fields = [".".join(str(step) for step in found["loc"]) for found in error.errors()]
        raise InvalidError(
            f"{row.kind} {row.name} is not valid: {error.errors()[0]['msg']}.",
            params={"fields": fields},
        ) from error


def same_part(left: Part, right: Part) -> bool:
    """Whether two specs or statuses would be written the same."""
    if left is right or left == right:
        return True
    return _text(left) == _text(right)


def _text(part: Part) -> str:
    # Without warnings about fields of another type: `normalised` reads the text back and decides.
    return part.model_dump_json(warnings=False)
