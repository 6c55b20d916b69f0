"""Why an ask is refused: what speaks against each worker, summed up in one sentence.

Made while a plan is made, for those that are placed nowhere; `explain` tells the rest to people.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from aimindserve.core.ids import worker_of
from aimindserve.core.reason import Reason
from aimindserve.scheduler.base import Ask, Objections, Refusal


def refuse(ask: Ask, workers: int, objections: Objections) -> Refusal:
    """The refusal of an ask that none of `workers` workers can take."""
    if not workers:
        return Refusal(Reason("no_worker"))
    missing = _away(ask, objections)
    if missing is not None:
        return Refusal(missing, objections)
    if not ask.shapes:
        return Refusal(_sum(ask, workers, {}))
    return Refusal(_summary(ask, workers, objections), objections)


def _away(ask: Ask, objections: Objections) -> Reason | None:
    """When none of the workers whose devices are chosen is there; every worker refuses here."""
    if not ask.device_ids or not objections:
        return None
    there = {name for name, _ in objections}
    homes = [worker_of(device) for device in ask.device_ids]
    if there & set(homes):
        return None
    return Reason("chosen_worker_missing", {"device": ask.device_ids[0], "worker": homes[0]})


def _summary(ask: Ask, workers: int, objections: Objections) -> Reason:
    if workers == 1 and len(objections) == 1:
        return objections[0][1]
    largest = _largest_free(objections)
    if largest is None:
        closest = {}
    else:
        name, reason = largest
        need, free = reason.params["need_bytes"], reason.params["free_bytes"]
        closest = {"closest": name, "need_bytes": need, "free_bytes": free}
    return _sum(ask, workers, Counter(reason.code for _, reason in objections), closest)


def _sum(
    ask: Ask, workers: int, counts: Mapping[str, int], closest: Mapping[str, Any] | None = None
) -> Reason:
    """The reason that stands for many; `core.tally` puts its numbers into words."""
    params = {"name": ask.instance, "workers": workers, "counts": dict(sorted(counts.items()))}
    return Reason("no_fit", params | dict(closest or {}))


def _largest_free(reasons: Sequence[tuple[str, Reason]]) -> tuple[str, Reason] | None:
    """Where least is missing, among workers that memory alone speaks against."""
    alone = Counter(name for name, _ in reasons)
    short = [
        (name, reason)
        for name, reason in reasons
        if "need_bytes" in reason.params and alone[name] == 1
    ]
    return min(
        short,
        key=lambda item: (item[1].params["need_bytes"] - item[1].params["free_bytes"], item[0]),
        default=None,
    )
