"""Why an ask was placed where it is, or nowhere: refusals summed up, decisions as plain data.

Decides nothing; says what was decided so that a person can check it.
"""

from collections import Counter
from collections.abc import Sequence
from heapq import nsmallest
from typing import Any

from aimindserve.core.ids import WorkerName
from aimindserve.core.placement import Placement
from aimindserve.core.reason import Reason
from aimindserve.core.shape import Shape
from aimindserve.kit.units import format_bytes
from aimindserve.scheduler.base import Ask, Decision, Refusal

CANDIDATES_SHOWN = 20
REFUSED_SHOWN = 50

_PHRASES = {
    "worker_not_ready": "not ready",
    "worker_cordoned": "cordoned",
    "selector_empty": "excluded by a placement rule",
    "platform_unsupported": "of a platform it does not run on",
    "path_missing": "without the model's file",
    "path_perm": "not allowed to read the model's file",
    "path_forbidden": "not allowed to read the model's path",
    "file_checking": "still looking at the model's file",
    "file_failed": "unable to use the model's file",
    "format_invalid": "with an unusable model file",
    "no_fit_vram": "with too little free device memory",
    "no_fit_ram": "with too little free RAM",
    "device_missing": "without the chosen device",
    "port_exhausted": "without a free port",
}
"""`3 of 5 workers are …`, `3 of 5 workers …`: each reads after a number."""


Objections = tuple[tuple[WorkerName, Reason], ...]
"""Every worker with everything that speaks against it, sorted by worker."""


def refuse(ask: Ask, workers: int, objections: Objections) -> Refusal:
    """The refusal of an ask that none of `workers` workers can take."""
    if not workers:
        return Refusal(Reason("no_worker"))
    if not ask.shapes:
        summary = "there is no way to run it"
        return Refusal(Reason("no_fit", {"summary": summary, "name": ask.instance}))
    return Refusal(_summary(ask, workers, objections), objections)


def record(decision: Decision) -> dict[str, Any]:
    """The decision as plain JSON data, bounded: the answer of `/instances/<name>/decision`."""
    ask = decision.ask
    judged = list(zip(decision.workers, decision.results, strict=True))
    scored = [(name, result) for name, result in judged if isinstance(result, float)]
    refused = [(name, result) for name, result in judged if isinstance(result, Reason)]
    if decision.refusal is not None:
        refused = list(decision.refusal.workers)
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
        "workers": len(decision.results),
        "candidates": [{"worker": name, "score": round(score, 6)} for name, score in best],
        "candidates_total": len(scored),
        "refused": [
            {"worker": name, **_reason(reason)} for name, reason in refused[:REFUSED_SHOWN]
        ],
        "refused_total": len({name for name, _ in refused}),
        "counts": dict(sorted(counts.items())),
        "choice": None if decision.placement is None else _placement(decision.placement),
        "refusal": None if decision.refusal is None else _reason(decision.refusal.summary),
    }


def _summary(ask: Ask, workers: int, objections: Objections) -> Reason:
    if workers == 1 and len(objections) == 1:
        return objections[0][1]
    counts = Counter(reason.code for _, reason in objections)
    phrases = [
        f"{count} of {workers} {_PHRASES.get(code, code)}"
        for code, count in sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    ]
    largest = _largest_free(objections)
    params: dict[str, Any] = {"name": ask.instance, "counts": dict(sorted(counts.items()))}
    if largest is not None:
        name, reason = largest
        need, free = reason.params["need_bytes"], reason.params["free_bytes"]
        phrases.append(
            f"the closest is {name}, which has {format_bytes(free)} free of the "
            f"{format_bytes(need)} needed"
        )
        params |= {"closest": name, "need_bytes": need, "free_bytes": free}
    return Reason("no_fit", {**params, "summary": "; ".join(phrases)})


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
            {"device_bytes": rank.device.total, "ram_bytes": rank.ram.total} for rank in shape.ranks
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
