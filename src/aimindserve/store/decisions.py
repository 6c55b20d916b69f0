"""Why each instance is where it is, or nowhere: the newest scheduling decision of each.

The newest are in memory, where the scheduler puts them without waiting; all of them are on record,
so that a placed instance can still be explained after a restart. With each goes the digest of its
question; the questions of the last plans are kept as well, to be asked again.
"""

import base64
import binascii
import zlib
from collections import OrderedDict
from collections.abc import Mapping
from typing import Any

from aimindserve.kit.clock import Clock
from aimindserve.store.records._record import Records
from aimindserve.store.records.decisions import DecisionEntry, QuestionEntry

KEPT = 2_000
QUESTION_MAX_BYTES = 4 * 1024**2
"""Compressed. A larger one is not kept: its decisions stay, and cannot be replayed."""
KIND = "instance"


class Decisions:
    """A bounded keep; what was decided longest ago is forgotten first."""

    def __init__(
        self,
        kept: int = KEPT,
        *,
        clock: Clock | None = None,
        decisions: Records[DecisionEntry] | None = None,
        questions: Records[QuestionEntry] | None = None,
    ) -> None:
        """Without records, memory is all there is."""
        self._kept = kept
        self._clock = clock
        self._records = decisions
        self._questions = questions
        self._decisions: OrderedDict[str, Mapping[str, Any]] = OrderedDict()
        self._asked = ""

    @property
    def keeps_questions(self) -> bool:
        """Whether it is worth while to write a question down."""
        return self._questions is not None

    def ask(self, digest: str, question: bytes) -> None:
        """Keep a question under its digest."""
        if self._questions is None or digest == self._asked:
            return
        packed = zlib.compress(question, 1)
        if len(packed) > QUESTION_MAX_BYTES:
            return
        self._asked = digest
        text = base64.b64encode(packed).decode()
        self._questions.append(
            QuestionEntry(self._now(), "question", digest, {"deflate": text}, digest)
        )

    def put(self, instance: str, decision: Mapping[str, Any]) -> None:
        """Keep `decision`, plain JSON data, as the newest about `instance`."""
        self._decisions[instance] = decision
        self._decisions.move_to_end(instance)
        while len(self._decisions) > self._kept:
            self._decisions.popitem(last=False)
        if self._records is not None:
            self._records.append(DecisionEntry(self._now(), KIND, instance, decision, instance))

    def get(self, instance: str) -> Mapping[str, Any] | None:
        """The newest decision about `instance` that is in memory, or None."""
        return self._decisions.get(instance)

    async def find(self, instance: str) -> Mapping[str, Any] | None:
        """The newest decision about `instance`, also from before a restart. Raises the store's
        errors."""
        found = self._decisions.get(instance)
        if found is not None or self._records is None:
            return found
        rows = await self._records.query(kind=KIND, name=instance, limit=1)
        return rows[0].record if rows else None

    async def question(self, digest: str) -> bytes | None:
        """The question with this digest, while it is kept. Raises the store's errors."""
        if self._questions is None or not digest:
            return None
        rows = await self._questions.query(kind="question", name=digest, limit=1)
        if not rows:
            return None
        try:
            return zlib.decompress(base64.b64decode(str(rows[0].packed.get("deflate", ""))))
        except (zlib.error, binascii.Error):
            return None  # damaged: as good as forgotten

    def forget(self, instance: str) -> None:
        """`instance` is gone."""
        self._decisions.pop(instance, None)

    def __len__(self) -> int:
        return len(self._decisions)

    def _now(self) -> float:
        return 0.0 if self._clock is None else self._clock.now()
