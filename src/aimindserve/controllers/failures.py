"""Pure: which instances cannot stay where they are, and which places are not tried again.

    out of memory ─▶ place given up, instance replaced ─▶ elsewhere, smaller, or with a larger claim
                                                    └──▶ nowhere: waits, with the reason

A place is barred, for the same shape with the same claim, for ten minutes, twice as long each
further time, six hours at most: whoever took the memory may have gone. So the ladder ends: shapes
and places are finite, claims are raised to twice the formula at most, and tries grow rarer.
"""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from aimindserve.core.failure import PlaceFailure
from aimindserve.core.placement import Placement
from aimindserve.core.reason import OUT_OF_MEMORY, Reason
from aimindserve.core.report import InstanceObservation, RunState
from aimindserve.resources.deployment import DeploymentSpec
from aimindserve.resources.instance import InstanceStatus

BARRED_FIRST_S = 600.0
BARRED_MAX_S = 6 * 3600.0
KEPT_MAX = 64
"""Places kept for one deployment, the newest."""


def is_unfit(template: DeploymentSpec, status: InstanceStatus) -> bool:
    """Whether the present placement has run out of memory, and another is to be tried: not if the
    user wants nothing to be restarted by itself."""
    seen = _seen(status)
    return (
        template.restart_on_error
        and seen is not None
        and seen.ooms > 0
        and seen.state is not RunState.READY
    )


def places_short(status: InstanceStatus) -> Mapping[str, int]:
    """Place -> bytes claimed there by the present placement, where memory ran out; empty when it
    did not."""
    placement, seen = status.placement, _seen(status)
    if placement is None or seen is None or not seen.ooms:
        return {}
    return _places(placement, _cause(_reason(seen)))


def remember(
    kept: Sequence[PlaceFailure],
    unfit: Iterable[tuple[DeploymentSpec, InstanceStatus]],
    current: DeploymentSpec,
    now: float,
) -> tuple[PlaceFailure, ...]:
    """`kept` with the places of the `unfit` instances; what is about another template than
    `current` is forgotten. The same again when asked twice."""
    template = template_hash(current)
    found = {each.place: each for each in kept if each.template == template}
    for spec, status in unfit:
        if template_hash(spec) == template:
            for fresh in _failures(status, template, now):
                before = found.pop(fresh.place, None)
                found[fresh.place] = _again(before, fresh, now)
    return tuple(found.values())[-KEPT_MAX:]


def barred(
    kept: Sequence[PlaceFailure], template: DeploymentSpec, now: float
) -> Mapping[str, Reason]:
    """Place -> why an instance of `template` is not put there again as it was."""
    name = template_hash(template) if kept else ""
    return {
        each.place: Reason(
            "oom_before",
            {
                "place": each.place,
                "worker": each.place.partition(":")[0],
                "count": each.times,
                "shape": each.shape,
                "failed_bytes": each.need_bytes,
            },
            each.reason.evidence,
        )
        for each in kept
        if each.template == name and each.until > now
    }


def pause_s(times: int) -> float:
    """For how long something that has failed so often is not tried again unchanged."""
    return min(BARRED_FIRST_S * 2.0 ** min(times - 1, 16), BARRED_MAX_S)


def next_try(kept: Iterable[PlaceFailure], now: float) -> float | None:
    """In how many seconds the next place may be tried again; None when none is barred."""
    return min((each.until - now for each in kept if each.until > now), default=None)


def template_hash(template: DeploymentSpec) -> str:
    """Twelve hexadecimal digits that stand for what runs, however often and by what description."""
    plain = template.model_copy(update={"replicas": 0, "description": ""})
    return hashlib.sha256(plain.model_dump_json().encode()).hexdigest()[:12]


def _seen(status: InstanceStatus) -> InstanceObservation | None:
    seen, placement = status.observed, status.placement
    same = seen is not None and placement is not None and seen.placement_id == placement.id
    return seen if same else None


def _failures(status: InstanceStatus, template: str, now: float) -> Iterable[PlaceFailure]:
    placement, seen = status.placement, _seen(status)
    if placement is None or seen is None:
        return
    reason = _reason(seen)
    for place, need_bytes in _places(placement, _cause(reason)).items():
        yield PlaceFailure(
            place=place,
            template=template,
            shape=placement.shape,
            need_bytes=need_bytes,
            reason=reason,
            times=1,
            placement_id=placement.id,
            until=now + pause_s(1),
        )


def _again(before: PlaceFailure | None, fresh: PlaceFailure, now: float) -> PlaceFailure:
    if before is None:
        return fresh
    if before.placement_id == fresh.placement_id:
        return before
    times = before.times + 1
    return replace(fresh, times=times, until=now + pause_s(times))


def _reason(seen: InstanceObservation) -> Reason:
    """The one of memory, if it is still told; else whatever is."""
    told = [reason for reason in (seen.ended, seen.reason) if reason is not None]
    return next((each for each in told if _cause(each)), told[0] if told else Reason("unknown"))


def _cause(reason: Reason) -> str:
    cause = str(reason.params.get("cause", reason.code))
    return cause if cause in OUT_OF_MEMORY else ""


def _places(placement: Placement, cause: str) -> Mapping[str, int]:
    """Where memory was short, and what was claimed there. Whoever has devices and does not say
    which memory it was, is taken at the devices: those are short sooner."""
    claims: dict[str, int] = {}
    for rank in placement.ranks:
        for claim in rank.claims:
            claims[claim.device] = claims.get(claim.device, 0) + claim.memory_bytes
    if claims and cause != "engine_oom":
        return claims
    here = [rank for rank in placement.ranks if rank.worker == placement.worker]
    return {f"{placement.worker}:ram": sum(rank.ram.total for rank in here)}
