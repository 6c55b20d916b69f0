"""Why an ask was placed where it is, or nowhere: refusals summed up, decisions as plain data.

Decides nothing; says what was decided so that a person can check it.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from heapq import nsmallest
from typing import Any

from aimindserve.core.ids import WorkerName
from aimindserve.core.placement import Placement
from aimindserve.core.reason import Reason
from aimindserve.core.shape import Shape
from aimindserve.scheduler.base import Ask, Decision, Refusal, WorkerView
from aimindserve.scheduler.nearest import device_answers, nearest

CANDIDATES_SHOWN = 20
REFUSED_SHOWN = 50
DEVICES_SHOWN = 64

Objections = tuple[tuple[WorkerName, Reason], ...]
"""Every worker with everything that speaks against it, sorted by worker."""


def refuse(ask: Ask, workers: int, objections: Objections) -> Refusal:
    """The refusal of an ask that none of `workers` workers can take."""
    if not workers:
        return Refusal(Reason("no_worker"))
    if not ask.shapes:
        return Refusal(_sum(ask, workers, {}))
    return Refusal(_summary(ask, workers, objections), objections)


def record(decision: Decision) -> dict[str, Any]:
    """The decision as plain JSON data, bounded: the answer of `/instances/<name>/decision`."""
    ask = decision.ask
    workers = {worker.name: worker for worker in decision.judged.workers}
    refusal = decision.refusal
    scored: list[tuple[WorkerName, float, int]] = []
    refused: Sequence[tuple[WorkerName, Reason]] = () if refusal is None else refusal.workers
    if refusal is None:
        judged = list(zip(workers, decision.results, strict=True))
        refused = [(name, result) for name, result in judged if isinstance(result, Reason)]
        scored = [
            (name, result, position)
            for position, (name, result) in enumerate(judged)
            if isinstance(result, float)
        ]
    best = nsmallest(CANDIDATES_SHOWN, scored, key=lambda item: (-item[1], item[0]))
    shape = None if decision.shape is None else ask.shapes[decision.shape].label
    counts = Counter(reason.code for _, reason in refused)
    return {
        "instance": ask.instance,
        "deployment": ask.deployment,
        "revision": decision.revision,
        "strategy": ask.strategy,
        "shapes": [_shape(each) for each in ask.shapes],
        "shape": shape,
        "workers": len(workers),
        "candidates": [
            {"worker": name, "score": round(score, 6), "parts": _parts(decision, position)}
            for name, score, position in best
        ],
        "candidates_total": len(scored),
        "refused": [
            {"worker": name, **_reason(reason)} for name, reason in refused[:REFUSED_SHOWN]
        ],
        "refused_total": len({name for name, _ in refused}),
        "counts": dict(sorted(counts.items())),
        "devices": _devices(
            decision, {name: workers[name] for name, _ in refused if name in workers}
        ),
        "nearest": {} if decision.placement is not None else nearest(ask, [*workers.values()]),
        "choice": None if decision.placement is None else _placement(decision.placement),
        "refusal": None if refusal is None else _reason(refusal.summary),
    }


def _parts(decision: Decision, position: int) -> dict[str, float]:
    parts = decision.judged.parts(position)
    return {name: round(parts[name], 6) for name in sorted(parts)}


def _devices(decision: Decision, refused: Mapping[str, WorkerView]) -> list[dict[str, Any]]:
    """Each device's answer, of the first workers that were refused."""
    ask = decision.ask
    if not ask.shapes:
        return []
    shape = ask.shapes[-1 if decision.shape is None else decision.shape]
    if decision.shape is None:  # what would need least of those that take devices at all
        takers = [each for each in ask.shapes if each.layers or any(r.devices for r in each.ranks)]
        shape = takers[-1] if takers else shape
    shown: list[dict[str, Any]] = []
    for worker in refused.values():
        shown += device_answers(ask, shape, worker)
        if len(shown) >= DEVICES_SHOWN:
            break
    return shown[:DEVICES_SHOWN]


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


def _shape(shape: Shape) -> dict[str, Any]:
    return {
        "label": shape.label,
        "ranks": [
            {"devices": [device.total for device in rank.devices], "ram_bytes": rank.ram.total}
            for rank in shape.ranks
        ],
    }


def _placement(placement: Placement) -> dict[str, Any]:
    return {
        "worker": placement.worker,
        "shape": placement.shape,
        "ranks": [
            {
                "worker": rank.worker,
                "devices": {claim.device: claim.memory_bytes for claim in rank.claims},
                "ram_bytes": rank.ram.total,
            }
            for rank in placement.ranks
        ],
    }


def _reason(reason: Reason) -> dict[str, Any]:
    return {"code": reason.code, "params": dict(reason.params), "message": reason.message}
