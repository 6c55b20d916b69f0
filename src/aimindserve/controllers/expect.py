"""What can be expected of an instance before it is there: from what others did. Pure.

    the same model, backend, kind of device ─┬─ run in just this way  ─▶ source `same`
                                             └─ in any other way      ─▶ source `similar`

Only what was really measured is told: how long it takes to start, and how fast it generates.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from statistics import median
from typing import Any

from aimindserve.controllers.learned import Key, key_in
from aimindserve.controllers.views import Estimate
from aimindserve.core.measurement import Speed, tokens_s


@dataclass(frozen=True, slots=True)
class Seen:
    """What was seen of instances, the oldest first."""

    starts: tuple[float, ...] = ()
    """Seconds that they took to start."""
    speeds: tuple[Speed, ...] = ()

    def with_more(self, other: "Seen") -> "Seen":
        """Both together."""
        return Seen((*self.starts, *other.starts), (*self.speeds, *other.speeds))


_NOTHING = Seen()


@dataclass(frozen=True, slots=True)
class Expected:
    """What was seen of a model with a backend."""

    same: Mapping[tuple[Key, str], Seen] = field(default_factory=dict[tuple[Key, str], Seen])
    """By all that an estimate is about and the kind of device."""
    similar: Mapping[str, Seen] = field(default_factory=dict[str, Seen])
    """By the kind of device alone."""

    def of(self, key: Key, kind: str) -> dict[str, Any]:
        """`ready_s`: seconds from a placement till it answers, the median of `starts`; null, as the
        `source` is, where none was seen. `tokens_s`: tokens that one request gets in a second once
        its answer has begun, with as many requests beside it as there were, as engines counted it
        over `tokens` of them; prompts are not in it. Null, as `tokens_source` is, where too few
        were seen, or where they are not counted."""
        same = self.same.get((key, kind), _NOTHING)
        similar = self.similar.get(kind, _NOTHING)
        starts = same.starts or similar.starts
        speed, tokens_source = tokens_s(same.speeds), "same"
        speeds = same.speeds
        if speed is None:
            speed, tokens_source = tokens_s(similar.speeds), "similar"
            speeds = similar.speeds
        known = speed is not None
        return {
            "ready_s": round(median(starts), 1) if starts else None,
            "tokens_s": round(speed, 1) if speed is not None else None,
            "source": ("same" if same.starts else "similar") if starts else None,
            "tokens_source": tokens_source if known else None,
            "starts": len(starts),
            "tokens": sum(each.tokens for each in speeds) if known else 0,
        }


def expected(
    estimates: Iterable[Estimate], digest: str, backend: str, *, generates: bool = True
) -> Expected:
    """What is known of a model (by its digest) with a backend. One that is to embed or rank does
    not generate, however fast the same model does when it writes text."""
    same: dict[tuple[Key, str], Seen] = {}
    similar: dict[str, Seen] = {}
    for each in estimates:
        spec, status = each.spec, each.status
        if (spec.digest, spec.backend) == (digest, backend):
            starts = tuple(start.seconds for start in status.starts)
            seen = Seen(starts, status.speeds if generates else ())
            same[key_in(each), spec.device] = seen
            similar[spec.device] = similar.get(spec.device, _NOTHING).with_more(seen)
    return Expected(same, similar)
