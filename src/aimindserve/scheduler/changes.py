"""What would have to change so that refused asks fit: each change tried out on the scheduler.

    refused asks ─▶ other rules │ a cordoned or lost worker back │ a lesser variant │ others shrink
                        └──── plan(changed snapshot, changed asks) ───▶ only what places them all

A change that is told was seen to work: nothing is said from arithmetic alone. Of each kind the
smallest is told. Pure; must not know which variants of a model there are: the caller brings them.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from aimindserve.core.placement import Placement
from aimindserve.scheduler.base import Ask, Snapshot
from aimindserve.scheduler.occupants import without
from aimindserve.scheduler.plan import plan
from aimindserve.scheduler.shrink import Crew, shrink


@dataclass(frozen=True, slots=True)
class Variant:
    """The same model asked for in another way; `kind` and `params` as in `core.advice`."""

    kind: str
    change: Callable[[Ask], Ask]
    """Of each replica what it would ask then."""
    params: Mapping[str, Any] = field(default_factory=dict[str, Any])
    patch: Mapping[str, Any] = field(default_factory=dict[str, Any])
    """What to change in the deployment's spec, as a merge patch."""


@dataclass(frozen=True, slots=True)
class Change:
    """A change that was seen to make everything fit, and where the first of it would then go."""

    kind: str
    placement: Placement
    params: Mapping[str, Any] = field(default_factory=dict[str, Any])
    patch: Mapping[str, Any] = field(default_factory=dict[str, Any])
    scale: Mapping[str, int] = field(default_factory=dict[str, int])
    """Other deployments, and the replicas they would have left."""
    stop: tuple[str, ...] = ()
    """Instances that would be stopped for it, by name."""


@dataclass(frozen=True, slots=True)
class LeftOut:
    """Who finds no place. A deployment's spec holds for all its replicas, so a change to it is
    tried on all of them; anything else on those that are left out, beside the others."""

    all: tuple[Ask, ...]
    """Every replica that is to be placed."""
    before: Snapshot
    """The cluster without any of them."""
    left: tuple[Ask, ...]
    after: Snapshot
    """The cluster with those that were placed."""

    @classmethod
    def alone(cls, ask: Ask, snapshot: Snapshot) -> "LeftOut":
        """One instance that waits."""
        return cls((ask,), snapshot, (ask,), snapshot)


def smallest(
    left_out: LeftOut, variants: Iterable[Variant] = (), crews: Sequence[Crew] = ()
) -> tuple[Change, ...]:
    """Of each kind the smallest change that makes everything fit; `variants` from the least change
    on. Asks that fit as they are have none."""
    if _placed(left_out.after, left_out.left) is not None:
        return ()
    found = [*_rules(left_out), *_returns(left_out), *_variants(left_out, variants)]
    return (*found, *_shrunk(left_out, crews))


def _placed(snapshot: Snapshot, asks: Sequence[Ask]) -> Placement | None:
    """The first one's place, if all of them have one."""
    found = plan(snapshot, asks).placements
    return found[asks[0].instance] if len(found) == len(asks) else None


def _changed(left_out: LeftOut, **changes: Any) -> Placement | None:
    """With another spec, for all replicas."""
    return _placed(left_out.before, [replace(ask, **changes) for ask in left_out.all])


def _rules(left_out: LeftOut) -> Iterable[Change]:
    """Without one rule of the selector, or all of them, the choice of devices, or the limit on one
    worker."""
    ask = left_out.all[0]
    if ask.selector:
        keys = sorted(ask.selector)
        for dropped in [*((key,) for key in keys), tuple(keys)]:
            left = {key: value for key, value in ask.selector.items() if key not in dropped}
            placement = _changed(left_out, selector=left)
            if placement is not None:
                rule = ", ".join(f"{key}={ask.selector[key]}" for key in dropped)
                patch = {"worker_selector": dict.fromkeys(dropped)}
                params = {"rule": rule, "worker": placement.worker}
                yield Change("worker_selector", placement, params, patch)
                break
    if ask.device_ids:
        placement = _changed(left_out, device_ids=(), devices_each=None)
        if placement is not None:
            params = {"worker": placement.worker}
            yield Change("gpu_selector", placement, params, {"gpu_selector": None})
    if ask.instances_per_worker_max is not None:
        placement = _changed(left_out, instances_per_worker_max=None)
        if placement is not None:
            params = {"limit": ask.instances_per_worker_max, "worker": placement.worker}
            patch = {"instances_per_worker_max": None}
            yield Change("instances_per_worker_max", placement, params, patch)


def _returns(left_out: LeftOut) -> Iterable[Change]:
    """With one more worker: a cordoned one that takes work again, or a lost one that is back."""
    snapshot, asks = left_out.after, left_out.left
    for kind, changes in (("uncordon", {"cordoned": False}), ("worker_back", {"ready": True})):
        away = {
            worker.name
            for worker in snapshot.workers
            if (worker.cordoned and worker.ready if kind == "uncordon" else not worker.ready)
        }
        if not away:
            continue
        found = plan(_with(snapshot, dict.fromkeys(away, changes)), asks).placements
        if len(found) < len(asks):
            continue
        needed = {rank.worker for each in found.values() for rank in each.ranks} & away
        placement = _placed(_with(snapshot, dict.fromkeys(needed, changes)), asks)
        if placement is not None:
            yield Change(kind, placement, {"worker": ", ".join(sorted(needed))})


def _with(snapshot: Snapshot, changes: Mapping[str, Mapping[str, Any]]) -> Snapshot:
    return replace(
        snapshot,
        workers=tuple(
            replace(worker, **changes[worker.name]) if worker.name in changes else worker
            for worker in snapshot.workers
        ),
    )


def _variants(left_out: LeftOut, variants: Iterable[Variant]) -> Iterable[Change]:
    told: set[str] = set()
    for variant in variants:
        if variant.kind in told:
            continue
        placement = _placed(left_out.before, [variant.change(ask) for ask in left_out.all])
        if placement is not None:
            told.add(variant.kind)
            yield Change(variant.kind, placement, variant.params, variant.patch)


def _shrunk(left_out: LeftOut, crews: Sequence[Crew]) -> Iterable[Change]:
    found = shrink(left_out.after, left_out.left, crews)
    if found is None:
        return
    placement = _placed(without(left_out.after, found.stopped), left_out.left)
    if placement is None:
        return
    params = {
        "commands": [f"aimindserve scale {name} {count}" for name, count in found.replicas.items()],
        "size": sum(each.held_bytes for each in found.stopped),
        "worker": ", ".join(sorted(frozenset[str]().union(*(e.workers for e in found.stopped)))),
    }
    stop = tuple(each.instance for each in found.stopped)
    yield Change("scale_down", placement, params, scale=found.replicas, stop=stop)
