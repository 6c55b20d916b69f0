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
from aimindserve.scheduler.base import Decision, WorkerView
from aimindserve.scheduler.device_answers import device_answers
from aimindserve.scheduler.nearest import Candidate, nearest

CANDIDATES_SHOWN = 20
REFUSED_SHOWN = 50
DEVICES_SHOWN = 64


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
        "nearest": _nearest(decision) if decision.placement is None else {},
        "choice": None if decision.placement is None else _placement(decision.placement),
        "refusal": None if refusal is None else _reason(refusal.summary),
    }


def _nearest(decision: Decision) -> dict[str, Any]:
    judged = decision.judged

    def work() -> dict[str, Any]:
        others = [each for each in judged.workers if each.ready and not each.cordoned]
        found = judged.passing_but("memory")
        least = {_level(shape): (shape, passing) for shape, passing in found}
        return nearest(decision.ask, [Candidate(*each, others) for each in least.values()])

    return judged.once("nearest", work)


def _level(shape: Shape) -> tuple[object, ...]:
    """Of shapes that are alike in this, the last one needs least."""
    if shape.layers is not None:
        return "layers", shape.layers.least == len(shape.layers.device), shape.requirement
    counts = {len(rank.devices) for rank in shape.ranks}
    return shape.across, len(shape.ranks), max(counts, default=0), shape.requirement


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
        takers = [each for each in ask.shapes if each.takes_devices]
        shape = takers[-1] if takers else shape
    shown: list[dict[str, Any]] = []
    for worker in refused.values():
        shown += device_answers(ask, shape, worker)
        if len(shown) >= DEVICES_SHOWN:
            break
    return shown[:DEVICES_SHOWN]


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
