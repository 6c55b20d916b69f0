"""Reading a scheduling decision: every worker's reason to refuse an instance. Pure."""

from collections.abc import Mapping, Sequence
from typing import Any

from aimindserve.cli._invocation import Invocation
from aimindserve.cli._text import reason_text
from aimindserve.client.objects import Document
from aimindserve.kit.units import format_bytes

SHOWN = 12
FIXES_SHOWN = 3
LEVELS = ("device", "worker", "combination", "ram")
SUMMARIES = frozenset({"no_fit"})
"""Reasons that only sum up others; their fix is to look at those."""


def refusals(decision: Document, language: str) -> list[str]:
    """`worker: sentence`, one line for each worker that refused, and how many more there are."""
    lines = [
        f"{each['worker']}: {reason_text(each, language)[0]}" for each in refused(decision)[:SHOWN]
    ]
    return lines + more(decision)


def refused(decision: Document) -> Sequence[Mapping[str, Any]]:
    """Each refusal as a reason with its `worker`."""
    found: Sequence[Mapping[str, Any]] = decision.get("refused") or ()
    return found


def more(decision: Document) -> list[str]:
    """A line for the refusals that are not shown."""
    hidden = int(decision.get("refused_total") or 0) - SHOWN
    return [f"… +{hidden}"] if hidden > 0 else []


def near(here: Invocation, told: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """The places that miss least, one line for each level; a worker that only stands for its device
    is not told again."""
    lines: list[str] = []
    seen: set[str] = set()
    for level in LEVELS:
        each = told.get(level)
        if each is None or each["name"] in seen:
            continue
        seen.add(each["name"])
        sizes = {key: format_bytes(each[f"{key}_bytes"]) for key in ("missing", "need")}
        lines.append(here.text(f"near_{level}", name=each["name"], shape=each["shape"], **sizes))
    return [f"{here.text('nearest')}:", *(f"  {line}" for line in lines)] if lines else []


def fixes(reason: Mapping[str, Any], decision: Document, language: str) -> list[str]:
    """What to do about a reason; of a summary, what to do about the commonest reasons in it."""
    if reason.get("code") not in SUMMARIES or not refused(decision):
        fix = reason_text(reason, language)[1]
        return [fix] if fix else []
    counts: Mapping[str, int] = decision.get("counts") or {}
    ranked = sorted(refused(decision), key=lambda each: -counts.get(str(each.get("code")), 0))
    every = [reason_text(each, language)[1] for each in ranked]
    return [fix for fix in dict.fromkeys(every) if fix][:FIXES_SHOWN]
