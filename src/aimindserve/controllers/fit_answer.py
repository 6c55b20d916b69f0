"""The document that answers "would it fit?": verdict, need, places, refusals, alternatives. Pure.

All sizes are bytes. Codes and numbers only: whoever shows it chooses the words, from `core.reason`
and `core.advice`.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from aimindserve.backends._all import find
from aimindserve.controllers.asks import Asks, Priced
from aimindserve.core.advice import advise
from aimindserve.core.device import MemoryParts
from aimindserve.core.placement import Placement, Rank
from aimindserve.core.reason import Reason
from aimindserve.core.shape import DECLARED, DERIVED, ESTIMATED, MEASURED, ROUGH, Shape, kind_of
from aimindserve.kit.units import format_bytes
from aimindserve.scheduler.base import Ask, Plan, Refusal, Snapshot, WorkerView
from aimindserve.scheduler.changes import Change
from aimindserve.scheduler.explain import record
from aimindserve.scheduler.occupants import Occupant
from aimindserve.scheduler.room import fetch_bytes

TIGHT_SHARE = 0.02
"""Less than this of a device's memory left over is told as tight."""
_SPREAD = {
    MEASURED: (0.98, 1.02),
    DERIVED: (0.9, 1.1),
    ESTIMATED: (0.93, 1.0),
    DECLARED: (1.0, 1.0),
}
_ROUGH = (0.7, 1.3)
"""By confidence: what the true need may be, as a share of the estimate. Estimates from formulas
are upper bounds that lie within 5 to 7 % of what was measured (tests/bench/memory_llama_cpp.py)."""
_OF_OTHERS = frozenset({"scale_down", "uncordon", "worker_back"})
"""Changes that leave the deployment as it was asked for."""
_NOT_KNOWN_YET = frozenset({"file_checking"})


@dataclass(frozen=True, slots=True)
class World:
    """The cluster that was asked, what-if applied, before anything new is placed."""

    snapshot: Snapshot
    occupants: Sequence[Occupant]


Expects = Callable[[Placement, str], Mapping[str, Any]]
"""(placement, kind of its devices, or of its processor) -> what can be expected of it."""


@dataclass(frozen=True, slots=True)
class Asked:
    """What was asked: `mine` for the deployment in question, the rest comes before it."""

    priced: Priced | Refusal | None
    mine: Sequence[Ask]
    displaced: Sequence[str]
    before: Asks
    expects: Expects


def answer(
    world: World, asked: Asked, plan: Plan, changes: Sequence[Change], *, explain: bool
) -> dict[str, Any]:
    """The whole document, but for the moment it was made at."""
    others = [ask.instance for ask in asked.before.asks] + list(asked.before.refused)
    waiting = [name for name in others if name not in asked.displaced]
    document: dict[str, Any] = {
        "displaced": _told(asked.displaced, asked, plan),
        "waiting": _told(waiting, asked, plan),
    }
    if asked.priced is None:
        homeless = [*document["displaced"], *document["waiting"]]
        verdict = "fits" if all(each["placed"] for each in homeless) else "no"
        return {"verdict": verdict, **document}
    if isinstance(asked.priced, Refusal):
        reason = asked.priced.summary
        return {"verdict": "no", "reason": _reason(reason), **document}
    placed = [ask for ask in asked.mine if ask.instance in plan.placements]
    refused = [ask for ask in asked.mine if ask.instance in plan.refusals]
    places = _Places(world, asked.expects)
    placements = [places.place(ask, plan) for ask in placed]
    shape = _shape(asked.mine, plan, world.snapshot)
    document |= {
        "replicas": {"asked": len(asked.mine), "placed": len(placed)},
        "backend": asked.priced.backend,
        "confidence": _confidence(shape),
        "need": _need(
            shape,
            plan.placements.get(placed[0].instance) if placed else None,
            max((ask.file_bytes for ask in asked.mine), default=0),
        ),
        "assumptions": _assumptions(shape),
        "placements": placements,
        "alternatives": [change_document(change) for change in changes] if explain else [],
        "warnings": _warnings(
            placements, [plan.placements[ask.instance] for ask in placed], asked.priced.backend
        ),
    }
    if refused:
        document["reason"] = _reason(plan.refusals[refused[0].instance].summary)
    document["verdict"] = _verdict(document, bool(refused), placements, changes)
    if explain:
        shown = refused[0] if refused else (placed[0] if placed else None)
        document |= _why_not(shown, plan)
    return document


def change_document(change: Change) -> dict[str, Any]:
    """One checked change."""
    return {
        "kind": change.kind,
        "params": dict(change.params),
        "message": advise(change.kind, change.params),
        "patch": dict(change.patch),
        "scale": dict(change.scale),
        "stop": list(change.stop),
        "worker": change.placement.worker,
        "shape": change.placement.shape,
        "total": _total(change.placement),
    }


class _Places:
    """Puts placements into words one after the other, so that each sees what the last one took."""

    def __init__(self, world: World, expects: Expects) -> None:
        self._expects = expects
        self._workers = {worker.name: worker for worker in world.snapshot.workers}
        self._free: dict[str, int] = {}
        self._held: dict[str, Counter[str]] = {}
        for worker in world.snapshot.workers:
            self._free[f"{worker.name}:ram"] = worker.ram_free_bytes
            for device in worker.devices:
                self._free[device.id] = worker.device_free_bytes.get(device.id, 0)
        for each in world.occupants:
            for rank in each.placement.ranks:
                self._hold(each.instance, rank)

    def place(self, ask: Ask, plan: Plan) -> dict[str, Any]:
        """The document of one placement."""
        placement = plan.placements[ask.instance]
        judged = plan.decisions[ask.instance].judged
        home = next(
            at for at, worker in enumerate(judged.workers) if worker.name == placement.worker
        )
        document: dict[str, Any] = {
            "instance": ask.instance,
            "worker": placement.worker,
            "workers": list(dict.fromkeys(rank.worker for rank in placement.ranks)),
            "shape": placement.shape,
            "score": judged.score(home),
            "why": _liked(judged.parts(home)),
            "gpus": [
                self._device(rank, at) for rank in placement.ranks for at in range(len(rank.claims))
            ],
            "ram": [self._ram(rank) for rank in placement.ranks],
            "download": {"bytes": self._download(ask, placement)},
            "expect": dict(self._expects(placement, self._kind(placement))),
        }
        for rank in placement.ranks:
            for claim in rank.claims:
                self._free[claim.device] = self._free.get(claim.device, 0) - claim.memory_bytes
            self._free[f"{rank.worker}:ram"] -= rank.ram.total
            self._hold(ask.instance, rank)
        return document

    def _kind(self, placement: Placement) -> str:
        claimed = {claim.device for rank in placement.ranks for claim in rank.claims}
        if not claimed:
            return self._workers[placement.worker].processor
        homes = {rank.worker for rank in placement.ranks}
        devices = (device for home in homes for device in self._workers[home].devices)
        return kind_of([device.name for device in devices if device.id in claimed])

    def _download(self, ask: Ask, placement: Placement) -> int:
        homes = dict.fromkeys(rank.worker for rank in placement.ranks)
        return sum(fetch_bytes(ask, self._workers[name]) for name in homes)

    def _device(self, rank: Rank, at: int) -> dict[str, Any]:
        claim = rank.claims[at]
        worker = self._workers[rank.worker]
        device = next(each for each in worker.devices if each.id == claim.device)
        free = self._free.get(claim.device, 0)
        held = self._held.get(claim.device, Counter())
        others = max(device.memory_bytes - free - sum(held.values()), 0)
        used: list[dict[str, Any]] = [
            {"instance": name, "bytes": size} for name, size in sorted(held.items())
        ]
        if others:
            used.append({"other": True, "bytes": others})
        return {
            "id": claim.device,
            "name": device.name,
            "total": device.memory_bytes,
            "used": used,
            "add": claim.memory_bytes,
            "parts": asdict(claim.parts),
            "layers": claim.layers,
            "free_after": free - claim.memory_bytes,
        }

    def _ram(self, rank: Rank) -> dict[str, Any]:
        worker: WorkerView = self._workers[rank.worker]
        shared = {device.id for device in worker.devices if device.unified_memory}
        add = rank.ram.total + sum(
            claim.memory_bytes for claim in rank.claims if claim.device in shared
        )
        return {
            "worker": rank.worker,
            "total": worker.ram_bytes,
            "add": rank.ram.total,
            "parts": asdict(rank.ram),
            "free_after": self._free[f"{rank.worker}:ram"] - add,
        }

    def _hold(self, instance: str, rank: Rank) -> None:
        for claim in rank.claims:
            self._held.setdefault(claim.device, Counter())[instance] += claim.memory_bytes


def _shape(asks: Sequence[Ask], plan: Plan, seen: Snapshot) -> Shape | None:
    """The shape that was taken, or the least demanding one that was tried, as it is on what there
    is."""
    for ask in asks:
        decision = plan.decisions.get(ask.instance)
        if decision is not None and decision.shape is not None and decision.placement is not None:
            return replace(
                ask.shapes[decision.shape], confidence=decision.placement.confidence, kinds=()
            )
    processors = {worker.processor for worker in seen.workers}
    kinds = {device.name for worker in seen.workers for device in worker.devices}
    tried = [
        shape.over(kinds if shape.takes_devices else processors)
        for shape in (asks[-1].shapes if asks else ())
    ]
    return min(reversed(tried), key=_size, default=None)


def _size(shape: Shape) -> int:
    device, ram = _asked_for(shape)
    return device.total or ram.total


def _need(shape: Shape | None, placement: Placement | None, disk: int) -> dict[str, int]:
    """Of one instance; `disk`: what a worker without the model would have to fetch."""
    if shape is None:
        return {}
    device, ram = _sums(placement.ranks) if placement is not None else _asked_for(shape)
    total = device.total or ram.total
    if not total:
        return {}  # of a model that nobody has seen
    low, high = _SPREAD.get(_confidence(shape), _ROUGH)
    parts = device if device.total else ram
    return {
        **asdict(parts),
        "total": total,
        "disk": disk,
        "low": int(total * low),
        "high": int(total * high),
        "ram": ram.total,
    }


def _sums(ranks: Iterable[Rank]) -> tuple[MemoryParts, MemoryParts]:
    device, ram = MemoryParts(), MemoryParts()
    for rank in ranks:
        ram += rank.ram
        for claim in rank.claims:
            device += claim.parts
    return device, ram


def _asked_for(shape: Shape) -> tuple[MemoryParts, MemoryParts]:
    device, ram = MemoryParts(), MemoryParts()
    for rank in shape.ranks:
        ram += rank.ram
        for parts in rank.devices:
            device += parts
    if shape.layers is not None:
        for parts in (*shape.layers.device, shape.layers.overhead, shape.layers.overhead_last):
            device += parts
    return device, ram


def _assumptions(shape: Shape | None) -> list[dict[str, str]]:
    """What was chosen where the user said nothing, as parameters of the backend."""
    words = () if shape is None else shape.parameters
    return [
        {"key": name, "value": value, "source": "default"}
        for name, _, value in (word.partition("=") for word in words)
    ]


def _confidence(shape: Shape | None) -> str:
    return ROUGH if shape is None else shape.confidence


def _verdict(
    document: Mapping[str, Any],
    refused: bool,
    placements: Sequence[Mapping[str, Any]],
    changes: Sequence[Change],
) -> str:
    if refused:
        counts = document["reason"]["params"].get("counts") or {document["reason"]["code"]: 1}
        if counts and set(counts) <= _NOT_KNOWN_YET:
            return "unknown"
        helps = any(change.kind in _OF_OTHERS for change in changes)
        return "fits_after" if helps else "no"
    warned = {each["code"] for each in document["warnings"]}
    if "overcommitted" in warned:
        return "overcommitted"
    if any(len(each["workers"]) > 1 for each in placements):
        return "distributed"
    if placements and not any(each["gpus"] for each in placements):
        return "cpu_only"
    return "tight" if "tight_headroom" in warned else "fits"


def _warnings(
    placements: Sequence[Mapping[str, Any]], placed: Sequence[Placement], backend: str
) -> list[dict[str, Any]]:
    found = [warning for placement in placed for warning in placement.warnings]
    known = find(backend)
    if not isinstance(known, Reason) and not known.starts_across and any(map(_spans, placed)):
        found.append(Reason("across_not_started", {"backend": backend}))
    for each in placements:
        for gpu in each["gpus"]:
            if 0 <= gpu["free_after"] < gpu["total"] * TIGHT_SHARE:
                left = gpu["free_after"]
                params = {"device": gpu["id"], "free": format_bytes(left), "free_bytes": left}
                found.append(Reason("tight_headroom", params))
    return [_reason(each) for each in found]


def _why_not(ask: Ask | None, plan: Plan) -> dict[str, Any]:
    """The same words as in a decision's record: every worker, every device, and the nearest."""
    if ask is None:
        return {}
    decision = record(plan.decisions[ask.instance])
    told = ("refused", "refused_total", "counts", "devices", "nearest")
    return {name: decision[name] for name in told}


def _spans(placement: Placement) -> bool:
    return len({rank.worker for rank in placement.ranks}) > 1


def _told(names: Iterable[str], asked: Asked, plan: Plan) -> list[dict[str, Any]]:
    """What becomes of other instances."""
    found: list[dict[str, Any]] = []
    for name in names:
        placement = plan.placements.get(name)
        refusal = plan.refusals.get(name) or asked.before.refused.get(name)
        found.append(
            {
                "instance": name,
                "placed": placement is not None,
                "worker": None if placement is None else placement.worker,
                "shape": None if placement is None else placement.shape,
                "reason": None if refusal is None else _reason(refusal.summary),
            }
        )
    return found


def _liked(parts: Mapping[str, float]) -> list[str]:
    """Scorers that speak for the place, the loudest first."""
    ranked = sorted(parts.items(), key=lambda item: (-item[1], item[0]))
    return [name for name, value in ranked if value > 0][:3]


def _total(placement: Placement) -> int:
    device, ram = _sums(placement.ranks)
    return device.total or ram.total


def _reason(reason: Reason) -> dict[str, Any]:
    return {
        "code": reason.code,
        "params": dict(reason.params),
        "message": reason.message,
        "fix": reason.fix,
    }
