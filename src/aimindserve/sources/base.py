"""Where weights come from: resolve a reference to exact files, then fetch them."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Protocol

from aimindserve.core.facts import ModelRef

Progress = Callable[[int, int], Awaitable[None]]
"""(bytes so far, bytes in all; 0 when unknown)"""


@dataclass(frozen=True, slots=True)
class Resolved:
    """A reference made exact: what it is called, how large it is, and what pins its content."""

    file_name: str
    size_bytes: int
    digest: str = ""
    """`sha256:…`, or empty when the source does not say."""


class Source(Protocol):
    """One model source."""

    name: str

    async def resolve(self, model: ModelRef) -> Resolved:
        """Raises NotFoundError, ForbiddenError or UnavailableError with a sentence."""
        ...

    async def fetch(self, model: ModelRef, target_dir: str, progress: Progress) -> str:
        """Make the files present and return the path of the main one. What was fetched before is
        not fetched again; a file appears under its name only when it is whole."""
        ...
