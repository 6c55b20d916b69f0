"""Pure: how often engines of a deployment ended by themselves, where, when and why.

    what workers say of living instances ─▶ entries by place and reason ─▶ the deployment's status

So it outlives the instances and the server. A worker counts the ends of one placement; what is new
is what was not counted before, so looking twice changes nothing. Bounded: the oldest are forgotten.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from aimindserve.core.failure import Crashes
from aimindserve.core.ids import WorkerName
from aimindserve.core.reason import Reason
from aimindserve.core.report import RunState
from aimindserve.resources.instance import InstanceStatus

KEPT_MAX = 20
"""Places and reasons kept for one deployment, the newest."""
EVIDENCE_MAX = 1000
"""Characters of the proof that are kept, the last ones."""
LATELY_S = 3600.0
"""After so long a crash does not speak against a worker any more."""


def note(
    kept: Sequence[Crashes], present: Iterable[InstanceStatus], now: float
) -> tuple[Crashes, ...]:
    """`kept` with what happened to the `present` instances; equal to it when nothing did."""
    statuses = [each for each in present if each.placement is not None]
    alive = {each.placement.id for each in statuses if each.placement is not None}
    found = [_with(each, {name: n for name, n in each.counted if name in alive}) for each in kept]
    for status in statuses:
        found = _noted(found, status, now)
    return tuple(sorted(found, key=lambda each: each.last_at)[-KEPT_MAX:])


def lately(kept: Iterable[Crashes], now: float) -> Mapping[WorkerName, int]:
    """Worker -> how many there were of late."""
    counts: Counter[WorkerName] = Counter()
    for each in kept:
        if now - each.last_at <= LATELY_S:
            counts[WorkerName(each.worker)] += each.times
    return dict(sorted(counts.items()))


def _noted(found: list[Crashes], status: InstanceStatus, now: float) -> list[Crashes]:
    placement, seen = status.placement, status.observed
    if placement is None or seen is None or seen.placement_id != placement.id:
        return found
    total = seen.restarts + (seen.state is RunState.FAILED)
    known = sum(dict(each.counted).get(placement.id, 0) for each in found)
    reason = seen.ended or seen.reason
    if total <= known or reason is None:
        return found
    devices = tuple(claim.device for rank in placement.ranks for claim in rank.claims)
    place = placement.worker, devices, _cause(reason)
    more, since = total - known, Crashes(place[0], devices, reason, 0, now, now)
    before = next((each for each in found if _place(each) == place), since)
    counted = dict(before.counted)
    fresh = replace(
        _with(before, {**counted, placement.id: counted.get(placement.id, 0) + more}),
        reason=replace(reason, evidence=reason.evidence[-EVIDENCE_MAX:]),
        times=before.times + more,
        last_at=now,
    )
    return [*(each for each in found if each is not before), fresh]


def _with(entry: Crashes, counted: Mapping[str, int]) -> Crashes:
    return replace(entry, counted=tuple(sorted(counted.items())))


def _place(entry: Crashes) -> tuple[str, tuple[str, ...], str]:
    return entry.worker, entry.devices, _cause(entry.reason)


def _cause(reason: Reason) -> str:
    """A loop, or restarts that are off, are told in the place of what began it."""
    return str(reason.params.get("cause", reason.code))
