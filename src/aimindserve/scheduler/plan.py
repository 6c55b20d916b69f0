"""The scheduler: from a snapshot and asks to a plan, deterministic to the byte.

    1  order     the asks by age and name, the workers by name: input order cannot matter
    2  judge     each worker for the ask's best shape: filters refuse, scorers prefer
    3  choose    the highest score, then the first name; no worker: the next shape
    4  pack      the shape's ranks on that worker's devices and RAM
    5  commit    later asks see what is left
    6  explain   an ask without a worker gets every worker's reasons, summed up

Pure: no clock, no randomness, no I/O. What is placed, and when, is the caller's to write down.
"""

from collections.abc import Iterable, Sequence

from aimindserve.core.placement import Placement
from aimindserve.scheduler._all import filters, scorers
from aimindserve.scheduler.base import Ask, Decision, Plan, Snapshot
from aimindserve.scheduler.explain import refuse
from aimindserve.scheduler.judge import Judge, Result
from aimindserve.scheduler.pack import pack, take


def plan(snapshot: Snapshot, asks: Iterable[Ask]) -> Plan:
    """A placement or a refusal for every ask; placements never claim what is not free."""
    workers = sorted(snapshot.workers, key=lambda worker: worker.name)
    judge = Judge(workers, filters(), scorers())
    ordered = sorted(asks, key=lambda ask: (ask.created_at, ask.instance))
    decisions = {ask.instance: _decide(ask, judge, snapshot.revision) for ask in ordered}
    return Plan(
        placements={
            name: decision.placement
            for name, decision in decisions.items()
            if decision.placement is not None
        },
        refusals={
            name: decision.refusal
            for name, decision in decisions.items()
            if decision.refusal is not None
        },
        decisions=decisions,
    )


def _decide(ask: Ask, judge: Judge, revision: int) -> Decision:
    names = judge.names
    results: Sequence[Result] = ()
    for index in range(len(ask.shapes)):
        results, position = judge.results(ask, index)
        if position is None:
            continue
        seen = tuple(results)  # as they are now: a placement changes them
        placement = _commit(ask, index, judge, position)
        return Decision(ask, revision, index, names, seen, placement=placement)
    refusal = refuse(ask, len(names), judge.objections(ask))
    return Decision(ask, revision, None, names if results else (), tuple(results), refusal=refusal)


def _commit(ask: Ask, index: int, judge: Judge, position: int) -> Placement:
    worker = judge.workers[position]
    shape = ask.shapes[index]
    ranks = pack(ask, shape, worker)
    judge.change(position, take(worker, ranks, ask.deployment))
    return Placement(
        id=ask.placement_id,
        shape=shape.label,
        ranks=ranks,
        parameters=shape.parameters,
        backend=ask.backend,
    )
