"""Removing objects by name: ask once, remove each, tell all, and fail at the end if one did."""

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import click

from aimindserve.cli._errors import as_problem, as_text
from aimindserve.cli._failure import CommandError, WrongUsageError
from aimindserve.cli._find import missing
from aimindserve.cli._invocation import Invocation
from aimindserve.core.errors import AimsError, NotFoundError

if TYPE_CHECKING:
    from aimindserve.client.collection import Collection


def remove(
    here: Invocation,
    collection: "Collection[Any, Any]",
    names: Sequence[str],
    *,
    yes: bool,
    force: bool = False,
) -> None:
    """Remove the objects called `names`. Raises the first error after all have been tried."""
    if not yes:
        confirm(here, "confirm_remove", names)
    outcomes = [
        (name, _removed(here, collection, name, force=force)) for name in dict.fromkeys(names)
    ]
    failures = [error for _, error in outcomes if error is not None]
    removed = [name for name, error in outcomes if error is None]
    _tell(here, removed)
    for error in failures[1:]:
        text = as_problem(error) if here.output == "json" else as_text(error, here.language)
        click.echo(text, err=True)
    if failures:
        raise failures[0]


def _removed(
    here: Invocation, collection: "Collection[Any, Any]", name: str, *, force: bool
) -> AimsError | None:
    """Remove one; what went wrong, or None."""
    try:
        collection.delete(name, force=force)
    except NotFoundError:
        others = [one.name for one in collection.all()]
        return missing(here, collection.calls.of.name, name, others)
    except AimsError as error:
        return error
    return None


def confirm(here: Invocation, question: str, names: Sequence[str]) -> None:
    """Ask `question`, a text about `names`; raises CommandError unless the answer is yes."""
    if not here.asks:
        raise WrongUsageError(here.text("needs_yes"))
    asked = here.text(question, names=", ".join(names))
    if not click.confirm(asked, default=False, err=True):
        raise CommandError(here.text("not_removed"))


def _tell(here: Invocation, removed: Sequence[str]) -> None:
    if here.output in {"json", "yaml"}:
        click.echo(json.dumps([{"name": name, "removed": True} for name in removed]))
        return
    for name in removed:
        click.echo(name if here.output == "name" else here.text("removed", name=name))
