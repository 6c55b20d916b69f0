"""What can be expected of an instance before it is there: from what others took. Pure.

    the same model, backend, kind of device ─┬─ run in just this way  ─▶ source `same`
                                             └─ in any other way      ─▶ source `similar`

Only what was really measured is told; how fast it answers was not, so that is left open.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from statistics import median
from typing import Any

from aimindserve.controllers.learned import Key, key_in
from aimindserve.controllers.views import Estimate


@dataclass(frozen=True, slots=True)
class Expected:
    """Seconds that starts took, the oldest first."""

    same: Mapping[tuple[Key, str], tuple[float, ...]] = field(
        default_factory=dict[tuple[Key, str], tuple[float, ...]]
    )
    """By all that an estimate is about and the kind of device."""
    similar: Mapping[str, tuple[float, ...]] = field(default_factory=dict[str, tuple[float, ...]])
    """By the kind of device alone."""

    def of(self, key: Key, kind: str) -> dict[str, Any]:
        """`ready_s`: seconds from a placement till it answers, the median of `starts`; null, as the
        `source` is, where none was seen. `tokens_s`: null, since nobody measures it."""
        same = self.same.get((key, kind), ())
        starts = same or self.similar.get(kind, ())
        source = "same" if same else "similar"
        return {
            "ready_s": round(median(starts), 1) if starts else None,
            "tokens_s": None,
            "source": source if starts else None,
            "starts": len(starts),
        }


def expected(estimates: Iterable[Estimate], digest: str, backend: str) -> Expected:
    """What is known of a model (by its digest) with a backend."""
    same: dict[tuple[Key, str], tuple[float, ...]] = {}
    similar: dict[str, tuple[float, ...]] = {}
    for each in estimates:
        spec = each.spec
        starts = tuple(start.seconds for start in each.status.starts)
        if starts and (spec.digest, spec.backend) == (digest, backend):
            same[key_in(each), spec.device] = starts
            similar[spec.device] = (*similar.get(spec.device, ()), *starts)
    return Expected(same, similar)
