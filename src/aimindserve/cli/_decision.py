"""Reading a scheduling decision: every worker's reason to refuse an instance. Pure."""

from collections.abc import Mapping, Sequence
from typing import Any, cast

from aimindserve.cli._text import reason_text
from aimindserve.client.objects import Document


def refusals(decision: Document, language: str) -> list[str]:
    """`worker: sentence`, one line for each worker that refused."""
    return [f"{name}: {reason_text(reason, language)[0]}" for name, reason in refused(decision)]


def refused(decision: Document) -> Sequence[tuple[str, Mapping[str, Any]]]:
    """(worker, reason) of each worker that refused."""
    rows: Any = decision.get("workers") or []
    if isinstance(rows, Mapping):
        named = cast("Mapping[str, Any]", rows)
        rows = [{"worker": name, "reason": reason} for name, reason in named.items()]
    found = [cast("Mapping[str, Any]", row) for row in rows if isinstance(row, Mapping)]
    return [(str(row["worker"]), row["reason"]) for row in found if row.get("reason")]
