"""What a request may say of an object, and what becomes of it.

Requests have models of their own: unknown fields are refused, secrets are never taken, and what
only the server sets may at most be sent back unchanged, so that an object can be read, edited and
written as a whole.
"""

import copy
import re
from collections.abc import Mapping
from typing import Any, cast

import pydantic

from aimindserve.core.errors import InvalidError, UnprocessableError
from aimindserve.core.ids import NAME_RULE, is_name
from aimindserve.core.secrecy import MASK, unmasked
from aimindserve.kit.clock import rfc3339
from aimindserve.resources._kind import (
    AnyResource,
    Kind,
    Part,
    change_at,
    dump,
    environments,
    secret_fields,
)
from aimindserve.server.errors import from_pydantic

LABELS_MAX = 64
LABEL_KEY = re.compile(r"^[A-Za-z0-9](?:[A-Za-z0-9._/-]{0,126}[A-Za-z0-9])?\Z")
LABEL_VALUE = re.compile(r"^(?:[A-Za-z0-9](?:[A-Za-z0-9._:/@+-]{0,126}[A-Za-z0-9])?)?\Z")


class _Input(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(extra="forbid", frozen=True)


class MetadataInput(_Input):
    """What a request may say about an object as such."""

    name: str = ""
    labels: dict[str, str] | None = None
    revision: int | None = None
    """For replaces and patches: the revision that was read; another one answers 409."""
    id: str | None = None
    generation: int | None = None
    created_at: str | None = None


class ObjectInput(_Input):
    """An object as a request describes it."""

    kind: str | None = None
    metadata: MetadataInput = MetadataInput()
    spec: dict[str, Any] = pydantic.Field(default_factory=dict)


def read_input(document: Mapping[str, Any], kind: Kind[Any, Any]) -> ObjectInput:
    """The request's object; raises InvalidError naming the fields that are wrong."""
    try:
        wish = ObjectInput.model_validate(document)
    except pydantic.ValidationError as error:
        raise from_pydantic(error) from error
    if wish.kind not in {None, kind.name}:
        raise _invalid("kind", f"The object is a {wish.kind}, but this path takes {kind.plural}.")
    if wish.metadata.labels is not None:
        check_labels(wish.metadata.labels)
    return wish


def check_name(name: str) -> None:
    """Raise InvalidError unless `name` may name an object."""
    if not is_name(name):
        raise InvalidError(
            f"{name[:80]!r} cannot be a name." if name else "The name is missing.",
            hint=f"A name has {NAME_RULE}.",
            params={"fields": ["metadata.name"]},
        )


def check_labels(labels: Mapping[str, str]) -> None:
    """Raise InvalidError for too many labels, or ones that are no short words."""
    if len(labels) > LABELS_MAX:
        raise _invalid("metadata.labels", f"More than {LABELS_MAX} labels.")
    for key, value in labels.items():
        if not LABEL_KEY.match(key) or not LABEL_VALUE.match(value):
            raise _invalid(
                "metadata.labels",
                f"The label {key[:60]!r}: {value[:60]!r} is not allowed: keys and values are up to "
                "128 letters, digits and . _ - /, beginning and ending with a letter or digit.",
            )


def new_spec(
    kind: Kind[Any, Any], name: str, wish: Mapping[str, Any], like: AnyResource | None = None
) -> Part:
    """The spec of a new object; raises InvalidError, and UnprocessableError for a mask where a
    secret should be. Masks stand for the secrets of `like`, if the wish was read from it."""
    for field in wish:
        if field in hidden_or_owned(kind):
            raise _owned(field)
    return _parse(kind, name, _with_secrets(kind, wish, like), None)


def changed_spec(kind: Kind[Any, Any], old: AnyResource, wish: Mapping[str, Any]) -> Part:
    """The whole spec anew, with the server's own fields kept, and the secrets that were sent back
    as masks; raises InvalidError, and UnprocessableError for a mask that stands for nothing."""
    kept = {
        field: value for field, value in dump(old.spec).items() if field in hidden_or_owned(kind)
    }
    secrets = secret_fields(kind.spec)
    for field, value in wish.items():
        if field in secrets or (field in kept and value != kept[field]):
            raise _owned(field)
    return _parse(kind, old.name, _with_secrets(kind, {**wish, **kept}, old), old)


def patched_spec(kind: Kind[Any, Any], old: AnyResource, patch: Mapping[str, Any]) -> Part:
    """The spec after a JSON merge patch; raises as `changed_spec` does."""
    shown = {
        field: value
        for field, value in dump(old.spec).items()
        if field not in secret_fields(kind.spec)
    }
    return changed_spec(kind, old, cast("dict[str, Any]", merge_patch(shown, patch)))


def read_patch(
    document: Mapping[str, Any], kind: Kind[Any, Any]
) -> tuple[dict[str, Any], dict[str, Any], int | None]:
    """(patch of the labels, patch of the spec, expected revision) of a merge patch."""
    body = dict(document)
    told = body.pop("kind", kind.name)
    metadata = _section(body.pop("metadata", {}), "metadata")
    spec = _section(body.pop("spec", {}), "spec")
    if told != kind.name:
        raise _invalid("kind", f"This path takes {kind.plural}.")
    if body:
        raise _invalid(min(body), "Only metadata.labels and spec can be patched.")
    labels = _section(metadata.pop("labels", {}), "metadata.labels")
    revision = metadata.pop("revision", None)
    if metadata:
        raise _invalid(f"metadata.{min(metadata)}", "This field of metadata cannot change.")
    if revision is not None and (isinstance(revision, bool) or not isinstance(revision, int)):
        raise _invalid("metadata.revision", "The revision is a whole number.")
    return labels, spec, revision


def patched_labels(old: Mapping[str, str], patch: Mapping[str, Any]) -> dict[str, str]:
    """Labels after a JSON merge patch; raises InvalidError."""
    merged = cast("dict[str, Any]", merge_patch(dict(old), patch))
    wrong = [key for key, value in merged.items() if not isinstance(value, str)]
    if wrong:
        raise _invalid(f"metadata.labels.{wrong[0]}", "Values of labels are texts.")
    check_labels(merged)
    return merged


def merge_patch(target: Any, patch: Any) -> Any:
    """RFC 7396: objects merge, null removes, everything else replaces."""
    if not isinstance(patch, Mapping):
        return patch
    merged = dict(cast("Mapping[str, Any]", target)) if isinstance(target, Mapping) else {}
    for key, value in cast("Mapping[str, Any]", patch).items():
        if value is None:
            merged.pop(key, None)
        else:
            merged[key] = merge_patch(merged.get(key), value)
    return merged


def check_unchanged(old: AnyResource, sent: MetadataInput) -> None:
    """Raise InvalidError when a replace wants to change what only the server sets."""
    meta = old.metadata
    for field, sent_value, value in (
        ("name", sent.name or meta.name, meta.name),
        ("id", sent.id, meta.id),
        ("generation", sent.generation, meta.generation),
        ("created_at", sent.created_at, rfc3339(meta.created_at)),
    ):
        if sent_value is not None and sent_value != value:
            raise _invalid(f"metadata.{field}", f"metadata.{field} cannot be changed.")


def hidden_or_owned(kind: Kind[Any, Any]) -> frozenset[str]:
    """The fields of the spec that no request may set."""
    return secret_fields(kind.spec) | frozenset(kind.owned)


def _with_secrets(
    kind: Kind[Any, Any], wish: Mapping[str, Any], old: AnyResource | None
) -> dict[str, Any]:
    """`wish` with the stored secrets in the place of their masks."""
    made = copy.deepcopy(dict(wish))
    stored: dict[str, Any] = {} if old is None else dump(old.spec)
    for path in environments(kind.spec):
        kept: Any = stored
        for step in path:
            kept = kept.get(step) or {}

        def reveal(told: Any, kept: Any = kept, path: tuple[str, ...] = path) -> Any:
            if not isinstance(told, dict):
                return told  # the parser has better words for it
            revealed, unknown = unmasked(cast("dict[str, str]", told), kept)
            if unknown:
                raise _mask_of_nothing(".".join(("spec", *path)), unknown)
            return revealed

        change_at(made, path, reveal)
    return made


def _mask_of_nothing(where: str, names: list[str]) -> UnprocessableError:
    return UnprocessableError(
        f"{where}.{names[0][:80]} is a mask, {MASK}, but no secret is stored under that name.",
        hint="Send the value itself. A mask only keeps what is stored already.",
        params={"fields": [f"{where}.{name[:80]}" for name in names]},
    )


def _parse(
    kind: Kind[Any, Any], name: str, document: Mapping[str, Any], old: AnyResource | None
) -> Part:
    try:
        spec = cast("Part", kind.parse_spec(document))
    except pydantic.ValidationError as error:
        raise from_pydantic(error, "spec") from error
    if kind.validate is not None:
        kind.validate(name, spec, old)
    return spec


def _section(value: Any, where: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise _invalid(where, f"{where} must be an object.")
    return dict(cast("dict[str, Any]", value))


def _owned(field: str) -> InvalidError:
    return _invalid(f"spec.{field}", f"spec.{field} is set by the server alone.")


def _invalid(field: str, message: str) -> InvalidError:
    return InvalidError(message, params={"fields": [field]})
