"""Why each instance is where it is, or nowhere: the newest decision of each, and the questions they
answer, as bytes that can be asked again (`scheduler.replay`)."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from aimindserve.kit.clock import Clock
from aimindserve.store.records._record import RecordKeeper, RecordKind, Records


@dataclass(frozen=True, slots=True)
class DecisionEntry:
    """The newest decision about an instance, which is `name` and `id` alike."""

    time: float
    kind: str
    name: str
    record: Mapping[str, Any] = field(default_factory=dict[str, Any])
    id: str = ""


@dataclass(frozen=True, slots=True)
class QuestionEntry:
    """What was asked, once for all decisions of one plan; `name` and `id` are its digest."""

    time: float
    kind: str
    name: str
    packed: Mapping[str, Any] = field(default_factory=dict[str, Any])
    """`deflate`: the question, compressed, in base 64."""
    id: str = ""


DECISIONS = RecordKind(table="decisions", record=DecisionEntry, kept=20_000)
QUESTIONS = RecordKind(table="questions", record=QuestionEntry, kept=200)
"""A question of a thousand workers takes 100 to 200 kB: all of them, some tens of megabytes."""


def decision_records(keeper: RecordKeeper, clock: Clock) -> Records[DecisionEntry]:
    """The decisions kept by a backing."""
    return Records(DECISIONS, keeper, clock)


def question_records(keeper: RecordKeeper, clock: Clock) -> Records[QuestionEntry]:
    """The questions kept by a backing."""
    return Records(QUESTIONS, keeper, clock)
