"""The scheduler: from a snapshot and asks to a plan, deterministic to the byte.

    1  order     the asks (`order.py`), the workers by name: input order cannot matter
    2  judge     each worker for the ask's best shape: filters refuse, scorers prefer
    3  choose    the highest score, then the first name; no worker: the next shape
    4  pack      the shape's ranks on that worker's devices and RAM
    5  commit    later asks see what is left
    6  explain   an ask without a worker gets every worker's reasons, summed up when looked at

Pure: no clock, no randomness, no I/O. What is placed, and when, is the caller's to write down.
"""

from collections.abc import Iterable, Iterator, Mapping

from aimindserve.core.placement import Placement
from aimindserve.scheduler._all import filters, scorers
from aimindserve.scheduler.again import decide_all
from aimindserve.scheduler.base import Ask, Decision, Plan, Refusal, Snapshot
from aimindserve.scheduler.candidates import candidate
from aimindserve.scheduler.judge import Judge, Judged
from aimindserve.scheduler.order import order
from aimindserve.scheduler.pack import take
from aimindserve.scheduler.packing.base import Packed
from aimindserve.scheduler.room import fetch_bytes
from aimindserve.scheduler.world import World


def plan(snapshot: Snapshot, asks: Iterable[Ask]) -> Plan:
    """A placement or a refusal for every ask; placements never claim what is not free."""
    judge = Judge(World(snapshot.workers), filters(), scorers())
    decisions: dict[str, Decision] = {}
    for equals in order(asks):
        decisions |= decide_all(
            equals, judge.world, lambda ask: _decide(ask, judge, snapshot.revision)
        )
    return Plan(
        placements={
            name: decision.placement
            for name, decision in decisions.items()
            if decision.placement is not None
        },
        refusals=_Refusals(decisions),
        decisions=decisions,
    )


def _decide(ask: Ask, judge: Judge, revision: int) -> Decision:
    kind = judge.kind(ask)
    forced: tuple[int, Packed] | None = None
    for index, sheet in enumerate(kind.sheets):
        found = candidate(judge, sheet, ask)
        if found is None:
            continue
        if not found.warnings:
            return _commit(ask, index, found, judge, revision)
        forced = forced or (index, found)
    if forced is not None:  # chosen by hand, and too little is free for every shape
        return _commit(ask, *forced, judge, revision)
    last = kind.sheets[-1] if kind.sheets else None
    return Decision(ask, revision, None, None, Judged(kind, last, ask))


def _commit(ask: Ask, index: int, found: Packed, judge: Judge, revision: int) -> Decision:
    kind = judge.kind(ask)
    judged = Judged(kind, kind.sheets[index], ask)
    shape = ask.shapes[index]
    placement = Placement(
        id=ask.placement_id,
        shape=shape.label,
        ranks=found.ranks,
        parameters=shape.parameters,
        warnings=found.warnings,
        backend=ask.backend,
        confidence=found.confidence or shape.confidence,
    )
    _take(ask, placement, judge.world)
    return Decision(ask, revision, index, placement, judged)


def _take(ask: Ask, placement: Placement, world: World) -> None:
    names = dict.fromkeys(rank.worker for rank in placement.ranks)
    for name in names:
        position = world.position(name)
        worker = world.now[position]
        taken = take(
            worker,
            [rank for rank in placement.ranks if rank.worker == name],
            ask.deployment,
            across=ask.backend if len(names) > 1 else "",
            fetch_bytes=fetch_bytes(ask, worker),
        )
        world.change(position, taken)


class _Refusals(Mapping[str, Refusal]):
    """The refusals among decisions, each worked out when it is looked at."""

    def __init__(self, decisions: Mapping[str, Decision]) -> None:
        self._refused = {
            name: decision for name, decision in decisions.items() if decision.placement is None
        }

    def __getitem__(self, name: str) -> Refusal:
        return self._refused[name].judged.refusal

    def __iter__(self) -> Iterator[str]:
        return iter(self._refused)

    def __len__(self) -> int:
        return len(self._refused)
