"""Gives waiting instances a place: the only writer of placements and refusals.

    workers, instances, model files ─▶ snapshot + asks ─plan (pure)─▶ placements, refusals
                                                                          │ verified against
                                                                          ▼ the newest objects
                                                                      store, decisions

Woken by whatever could make room: objects that change, among them estimates by which a model needs
less than it was thought to; and, while something waits, reports of workers that have more free than
when it was refused, because memory that other programs give back changes no object. A question
asked before is not asked again.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from aimindserve.backends.base import Backend
from aimindserve.controllers.asks import Asks, ask_for
from aimindserve.controllers.base import Done, Later, Wake
from aimindserve.controllers.constants import DEFAULTS, ControllerConstants
from aimindserve.controllers.failures import next_try
from aimindserve.controllers.learned import Learned
from aimindserve.controllers.snapshot import Snapshots
from aimindserve.controllers.views import (
    Instance,
    find_deployment,
    find_estimate,
    instances,
    workers,
)
from aimindserve.core.errors import ConflictError, NotFoundError
from aimindserve.core.placement import Placement
from aimindserve.core.reason import Reason
from aimindserve.core.report import Report
from aimindserve.kit.clock import Clock, rfc3339
from aimindserve.kit.log import get_logger
from aimindserve.resources._kind import AnyResource
from aimindserve.resources.instance import InstanceStatus
from aimindserve.scheduler.base import Ask, Plan, Refusal, Snapshot, WorkerView
from aimindserve.scheduler.explain import record
from aimindserve.scheduler.plan import plan
from aimindserve.scheduler.replay import Writer, digest
from aimindserve.store.base import Store
from aimindserve.store.decisions import Decisions
from aimindserve.store.leases import Leases

log = get_logger("controllers.scheduling")

KEY = "cluster"


@dataclass(frozen=True, slots=True)
class SchedulingParts:
    """What the controller works with. `ids` gives a new placement's id."""

    store: Store
    leases: Leases
    clock: Clock
    backends: Mapping[str, Backend]
    ids: Callable[[], str]
    decisions: Decisions
    constants: ControllerConstants = DEFAULTS
    snapshots: Snapshots | None = None
    """Shared with others who look at the cluster; its own when not given."""


class SchedulingController:
    """Key: always `cluster`. Two plans at once would promise the same memory twice."""

    name = "scheduling"

    def __init__(self, parts: SchedulingParts) -> None:
        self._parts = parts
        self._store = parts.store
        self._promised: dict[str, str] = {}
        """Waiting instance -> the id its placement will carry: the same however often it is asked
        for, so that the same question can be recognised."""
        self._refused: dict[tuple[str, ...], object] = {}
        """Names of instances planned together -> the question whose answer was no for all."""
        self._snapshots = parts.snapshots or Snapshots(parts.store, parts.leases)
        self._writer = Writer()
        self._learned = Learned(parts.store, parts.clock)
        self._sizes: dict[str, object] = {}
        """Estimate -> what of it sizes are made of."""
        self._short: dict[str, WorkerView] = {}
        """The workers as they were when somebody was refused last; empty when nobody waits."""
        self._wake: Callable[[str], None] = lambda _key: None
        parts.leases.listen(self._heard)

    def bind(self, wake: Callable[[str], None]) -> None:
        """`wake(key)` lets a key run at once: what `controllers.loop` offers."""
        self._wake = wake

    def wakes_on(self) -> Mapping[str, Wake]:
        def cluster(_resource: AnyResource) -> Iterable[str]:
            return (KEY,)

        kinds = ("worker", "instance", "model-file")
        return {**dict.fromkeys(kinds, cluster), "estimate": self._learned_anew}

    def keys(self) -> Iterable[str]:
        return (KEY,)

    async def reconcile(self, key: str) -> Done | Later:
        del key
        constants = self._parts.constants
        await self._parts.clock.sleep(constants.batch_s)
        waiting = self._waiting()
        if waiting and self._hears_nobody_yet():
            return Later(constants.first_reports_look_s)
        self._promised = {each.name: self._promise(each.name) for each in waiting}
        size = constants.asks_per_plan
        parts = [waiting[start : start + size] for start in range(0, len(waiting), size)]
        self._refused = {
            names: question
            for names, question in self._refused.items()
            if names in {_names(part) for part in parts}
        }
        for part in parts:
            await self._settle(part)
        if left := self._waiting():
            return Later(self._look_again_s(left))
        self._short = {}
        return Done()

    def _look_again_s(self, waiting: Sequence[Instance]) -> float:
        """When to look although nothing woke us: a place that is barred may be tried then."""
        now = self._parts.clock.now()
        homes = {each.spec.deployment: None for each in waiting}
        found = [find_deployment(self._store, name) for name in homes]
        tries = [next_try(each.status.failures, now) for each in found if each is not None]
        soonest = min((each for each in tries if each is not None), default=float("inf"))
        return min(self._parts.constants.refused_look_s, soonest + 0.001)

    def _heard(self, worker: str, report: Report) -> None:
        """A report may show what no object shows: that there is room now."""
        del report
        if not self._short:
            return
        now = self._snapshots.view(worker)
        if now is not None and _has_more(now, self._short.get(worker)):
            self._wake(KEY)

    def _learned_anew(self, estimate: AnyResource) -> Iterable[str]:
        """Sizes are made of what engines took; how fast they are makes no room."""
        now = find_estimate(self._store, estimate.name)
        sizes = None if now is None else (now.status.samples, now.status.shortage)
        if sizes == self._sizes.get(estimate.name):
            return ()
        self._sizes.pop(estimate.name, None)
        if sizes is not None:
            self._sizes[estimate.name] = sizes
        return (KEY,)

    def _waiting(self) -> Sequence[Instance]:
        waiting = [
            each
            for each in instances(self._store)
            if each.status.placement is None and not each.spec.stopping
        ]
        return sorted(waiting, key=lambda each: (each.metadata.created_at, each.name))

    def _hears_nobody_yet(self) -> bool:
        """Just started: what workers use now is not known before they have reported."""
        leases = self._parts.leases
        return leases.listening_s < self._parts.constants.first_reports_s and any(
            worker.status.ready and leases.report(worker.name) is None
            for worker in workers(self._store)
        )

    def _promise(self, instance: str) -> str:
        return self._promised.get(instance) or self._parts.ids()

    async def _settle(self, waiting: Sequence[Instance]) -> None:
        """Plan for `waiting` and write the outcome. The plan is made without a pause in between, so
        that it is about one state of the world."""
        seen = self._snapshots.take()
        now = self._parts.clock.now()
        asks = ask_for(
            self._store,
            waiting,
            self._parts.backends,
            self._promised.__getitem__,
            now,
            self._learned,
        )
        question = (seen.workers, asks)
        names = _names(waiting)
        self._short = {worker.name: worker for worker in seen.workers}
        if self._refused.get(names) == question:
            return
        answer, asks = _plan(seen, asks)
        told = self._keep_question(seen, asks)
        for instance in waiting:
            await self._write(instance, asks, answer, told)
        if answer.placements:
            self._refused.pop(names, None)
        else:
            self._refused[names] = question

    def _keep_question(self, seen: Snapshot, asks: Asks) -> str:
        """Keep what was asked, so that every decision can be checked; its digest, or nothing where
        questions are not kept."""
        if not asks.asks or not self._parts.decisions.keeps_questions:
            return ""
        question = self._writer.write(seen, asks.asks)
        named = digest(question)
        self._parts.decisions.ask(named, question)
        return named

    async def _write(self, instance: Instance, asks: Asks, answer: Plan, question: str) -> None:
        name = instance.name
        told = asks.refused.get(name)
        if told is not None:
            self._put(name, _plain(instance, told.summary), "")
            await self._refuse(instance, told.summary)
            return
        decision = answer.decisions.get(name)
        if decision is None:
            return
        if decision.placement is None:
            self._put(name, record(decision), question)
            await self._refuse(instance, answer.refusals[name].summary)
        elif await self._place(instance, decision.placement):
            self._put(name, record(decision), question)

    async def _place(self, instance: Instance, placement: Placement) -> bool:
        """Write the placement down, if it still fits; whether that is done."""
        if not self._snapshots.still_fits(placement):
            log.info("placement.stale", instance=instance.name, worker=placement.worker)
            return False
        placed = replace(placement, placed_at=round(self._parts.clock.now(), 3))
        if not await self._status(instance, {"placement": placed, "refusal": None}):
            return False
        log.info(
            "instance.placed",
            instance=instance.name,
            worker=placement.worker,
            shape=placement.shape,
        )
        return True

    async def _refuse(self, instance: Instance, reason: Reason) -> None:
        if instance.status.refusal == reason:
            return
        if await self._status(instance, {"refusal": reason}):
            log.info("instance.refused", instance=instance.name, reason=reason.code)

    async def _status(self, instance: Instance, changes: Mapping[str, Any]) -> bool:
        """Write the scheduler's part of the status, if the instance is still as it was planned for.
        Otherwise its change has woken this controller already."""
        status: InstanceStatus = instance.status.model_copy(update=dict(changes))
        revision = instance.metadata.revision
        try:
            await self._store.replace("instance", instance.name, revision=revision, status=status)
        except (ConflictError, NotFoundError):
            return False
        return True

    def _put(self, instance: str, decision: dict[str, Any], question: str) -> None:
        moment = rfc3339(self._parts.clock.now())
        told = {"decided_at": moment, "question": question}
        self._parts.decisions.put(instance, {**decision, **told})


def _plan(seen: Snapshot, asks: Asks) -> tuple[Plan, Asks]:
    """The plan, and the asks that it answers. Should the scheduler fail, the asks are tried one by
    one, and who makes it fail alone is refused: nobody else waits for a defect. What is placed is
    compared with the newest snapshot before it is written, so that none of them claims twice."""
    try:
        return plan(seen, asks.asks), asks
    except Exception as error:  # noqa: BLE001 - supervision point: the others must not wait
        log.error("plan.failed", asks=len(asks.asks), error=repr(error))
    tried = {ask.instance: _alone(seen, ask) for ask in asks.asks}
    refused = {name: each for name, each in tried.items() if isinstance(each, Refusal)}
    plans = [each for each in tried.values() if isinstance(each, Plan)]
    answer = Plan(
        {name: found for each in plans for name, found in each.placements.items()},
        {name: found for each in plans for name, found in each.refusals.items()},
        {name: found for each in plans for name, found in each.decisions.items()},
    )
    left = tuple(ask for ask in asks.asks if ask.instance not in refused)
    return answer, replace(asks, asks=left, refused={**asks.refused, **refused})


def _alone(seen: Snapshot, ask: Ask) -> Plan | Refusal:
    try:
        return plan(seen, [ask])
    except Exception as error:  # the same point, for one ask
        log.exception("plan.failed", instance=ask.instance)
        return Refusal(Reason("plan_failed", {"error": repr(error)[:300]}))


def _has_more(now: WorkerView, before: WorkerView | None) -> bool:
    """Whether something that was short may do now. Views count in grains, so it is no flicker."""
    if before is None:
        return True
    if now is before:
        return False
    free = before.device_free_bytes
    return (
        now.ram_free_bytes > before.ram_free_bytes
        or now.ports_free > before.ports_free
        or (now.disk_free_bytes or 0) > (before.disk_free_bytes or 0)
        or any(size > free.get(device, -1) for device, size in now.device_free_bytes.items())
    )


def _names(waiting: Sequence[Instance]) -> tuple[str, ...]:
    return tuple(each.name for each in waiting)


def _plain(instance: Instance, reason: Reason) -> dict[str, Any]:
    """The decision about an instance that no worker was asked for."""
    return {
        "instance": instance.name,
        "deployment": instance.spec.deployment,
        "refusal": {
            "code": reason.code,
            "params": dict(reason.params),
            "message": reason.message,
        },
    }
