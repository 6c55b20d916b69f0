"""Choosing, ordering and cutting a list in memory. Pure; field names come from a fixed set."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from aimindserve.core.errors import InvalidError
from aimindserve.resources._kind import AnyResource

PER_PAGE = 100
PER_PAGE_MAX = 500
SEARCH_MAX = 200

SORTS: Mapping[str, Callable[[AnyResource], Any]] = {
    "name": lambda each: each.name,
    "created_at": lambda each: (each.metadata.created_at, each.name),
    "revision": lambda each: each.metadata.revision,
}


@dataclass(frozen=True, slots=True)
class Query:
    """What to list."""

    page: int = 1
    per_page: int = PER_PAGE
    search: str = ""
    labels: tuple[tuple[str, str], ...] = ()
    sort: str = "name"


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


def select(objects: Iterable[AnyResource], query: Query) -> tuple[list[AnyResource], int]:
    """(the page, how many match); raises InvalidError for an unknown order."""
    found = [each for each in objects if _matches(each, query)]
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


def _matches(each: AnyResource, query: Query) -> bool:
    labels = each.metadata.labels
    if any(labels.get(key) != value for key, value in query.labels):
        return False
    if not query.search:
        return True
    wanted = query.search.lower()
    return wanted in each.name or any(
        wanted in key.lower() or wanted in value.lower() for key, value in labels.items()
    )
