"""Choosing, ordering and cutting a list in memory. Pure; field names come from a fixed set."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from pydantic import Field

from aimindserve.core.errors import InvalidError
from aimindserve.resources._kind import AnyResource
from aimindserve.server.parameters import QueryModel

PAGE_MAX = 1_000_000
PER_PAGE = 100
PER_PAGE_MAX = 500
SEARCH_MAX = 200

SORTS: Mapping[str, Callable[[AnyResource], Any]] = {
    "name": lambda each: each.name,
    "created_at": lambda each: (each.metadata.created_at, each.name),
    "revision": lambda each: each.metadata.revision,
}


class ListQuery(QueryModel):
    """What to list."""

    page: int = Field(default=1, ge=1, le=PAGE_MAX)
    per_page: int = Field(default=PER_PAGE, ge=1, le=PER_PAGE_MAX)
    search: str = Field(default="", max_length=SEARCH_MAX, description="Part of a name or label.")
    label: tuple[str, ...] = Field(
        default=(), max_length=20, description="key=value, repeated or separated by commas."
    )
    sort: str = Field(
        default="name", description="name, created_at or revision; a minus before it reverses."
    )


def parse_labels(words: Sequence[str]) -> tuple[tuple[str, str], ...]:
    """`key=value` words, repeated or separated by commas; raises InvalidError."""
    pairs: list[tuple[str, str]] = []
    for word in (part for each in words for part in each.split(",") if part):
        key, sign, value = word.partition("=")
        if not sign or not key:
            raise InvalidError(
                f"{word[:80]!r} is no label: write key=value.", params={"fields": ["query.label"]}
            )
        pairs.append((key, value))
    return tuple(pairs)


def select(objects: Iterable[AnyResource], query: ListQuery) -> tuple[list[AnyResource], int]:
    """(the page, how many match); raises InvalidError for an unknown order."""
    labels = parse_labels(query.label)
    found = list(objects)
    if labels or query.search:
        found = [each for each in found if _matches(each, query.search.lower(), labels)]
    field = query.sort.removeprefix("-")
    if field not in SORTS:
        raise InvalidError(
            f"Lists cannot be sorted by {field[:40]!r}; by: {', '.join(SORTS)}.",
            hint="Put a minus before it for the reverse order.",
            params={"fields": ["query.sort"]},
        )
    if query.sort != "name":  # a store lists by name already
        found.sort(key=SORTS[field], reverse=query.sort.startswith("-"))
    start = (query.page - 1) * query.per_page
    return found[start : start + query.per_page], len(found)


def _matches(each: AnyResource, wanted: str, pairs: tuple[tuple[str, str], ...]) -> bool:
    labels = each.metadata.labels
    if any(labels.get(key) != value for key, value in pairs):
        return False
    return wanted in each.name or any(
        wanted in key.lower() or wanted in value.lower() for key, value in labels.items()
    )
