"""Every route of the management API is an `Operation`: one list for routing, access and OpenAPI.

A path that is not in the list does not exist; an operation cannot be written without saying whom it
is for. That is what "denied by default" rests on.
"""

from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum

from starlette.responses import Response

from aimindserve.server.parameters import QueryModel

Endpoint = Callable[..., Awaitable[Response]]


class Audience(Enum):
    """For whom an operation is."""

    PUBLIC = "public"
    """Anybody, without a credential."""
    MEMBER = "member"
    """Any signed-in user, their keys, trusted localhost, and our own gateway; reads mostly."""
    SELF = "self"
    """A signed-in person, who may still owe a new password."""
    ADMIN = "admin"
    WORKER = "worker"
    """The worker named in the path, with its own credential."""
    JOIN = "join"
    """Whoever holds the join token."""


@dataclass(frozen=True, slots=True)
class Operation:
    """One method on one path."""

    method: str
    path: str
    endpoint: Endpoint
    audience: Audience
    operation_id: str
    summary: str
    tag: str
    status: int = 200
    request: str | None = None
    """Schema of the JSON body."""
    response: str | None = None
    """Schema of the JSON answer."""
    media_type: str = "application/json"
    """Of the answer."""
    shown: bool = True
    """Whether the OpenAPI document has it."""
    query: type[QueryModel] | None = None
    """Its query parameters."""


Segments = tuple[str | None, ...]


@dataclass(slots=True)
class Table:
    """Finds the operation for a method and a path; literal paths win over those with parameters."""

    _exact: dict[str, dict[str, Operation]] = field(default_factory=dict[str, dict[str, Operation]])
    _patterns: dict[int, list[tuple[Segments, dict[str, Operation]]]] = field(
        default_factory=dict[int, list[tuple[Segments, dict[str, Operation]]]]
    )

    @classmethod
    def of(cls, operations: Iterable[Operation]) -> "Table":
        """The table of `operations`; raises ValueError when two share method and path."""
        table = cls()
        for operation in operations:
            methods = table._methods_at(operation.path)
            if operation.method in methods:
                raise ValueError(f"{operation.method} {operation.path} is declared twice")
            methods[operation.method] = operation
        return table

    def find(self, method: str, path: str) -> tuple[Operation | None, Mapping[str, str]]:
        """(operation, path parameters); (None, {}) when there is none."""
        found = self._exact.get(path, {}).get(method)
        if found is not None:
            return found, {}
        words = tuple(path.split("/"))
        for segments, methods in self._patterns.get(len(words), ()):
            if method in methods and _fits(segments, words):
                found = methods[method]
                return found, _parameters(found.path, words)
        return None, {}

    def methods(self, path: str) -> Sequence[str]:
        """What may be asked of `path`; empty when there is no such path."""
        allowed = set(self._exact.get(path, {}))
        words = tuple(path.split("/"))
        for segments, methods in self._patterns.get(len(words), ()):
            if _fits(segments, words):
                allowed |= set(methods)
        return sorted(allowed)

    def _methods_at(self, path: str) -> dict[str, Operation]:
        if "{" not in path:
            return self._exact.setdefault(path, {})
        segments = tuple(None if word.startswith("{") else word for word in path.split("/"))
        bucket = self._patterns.setdefault(len(segments), [])
        for known, methods in bucket:
            if known == segments:
                return methods
        fresh: dict[str, Operation] = {}
        bucket.append((segments, fresh))
        return fresh


def routing_order(operations: Iterable[Operation]) -> list[Operation]:
    """Literal paths first, so that the web framework chooses as `Table.find` does."""
    return sorted(operations, key=lambda operation: "{" in operation.path)


def _fits(segments: Segments, words: tuple[str, ...]) -> bool:
    return all(
        word != "" if segment is None else segment == word
        for segment, word in zip(segments, words, strict=True)
    )


def _parameters(template: str, words: tuple[str, ...]) -> dict[str, str]:
    return {
        segment.strip("{}"): word
        for segment, word in zip(template.split("/"), words, strict=True)
        if segment.startswith("{")
    }
