"""Gives waiting instances a place: the only writer of placements and refusals.

    workers, instances, model files ─▶ snapshot + asks ─plan (pure)─▶ placements, refusals
                                                                          │ verified against
                                                                          ▼ the newest objects
                                                                      store, decisions

Woken by changes; only while something waits for room does it look again by itself, because memory
that other programs give back changes no object. A question asked before is not asked again.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from aimindserve.backends.base import Backend
from aimindserve.controllers import snapshot
from aimindserve.controllers.asks import Asks, ask_for
from aimindserve.controllers.base import Done, Later, Wake
from aimindserve.controllers.constants import DEFAULTS, ControllerConstants
from aimindserve.controllers.views import Instance, instances, workers
from aimindserve.core.errors import ConflictError, NotFoundError
from aimindserve.core.placement import Placement
from aimindserve.core.reason import Reason
from aimindserve.kit.clock import Clock, rfc3339
from aimindserve.kit.log import get_logger
from aimindserve.resources._kind import AnyResource
from aimindserve.resources.instance import InstanceStatus
from aimindserve.scheduler.base import Plan
from aimindserve.scheduler.explain import record
from aimindserve.scheduler.plan import plan
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

    def wakes_on(self) -> Mapping[str, Wake]:
        def cluster(_resource: AnyResource) -> Iterable[str]:
            return (KEY,)

        return {"worker": cluster, "instance": cluster, "model-file": cluster}

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
        return Later(constants.refused_look_s) if self._waiting() else Done()

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
        seen = snapshot.take(self._store, self._parts.leases)
        asks = ask_for(self._store, waiting, self._parts.backends, self._promised.__getitem__)
        question = (seen.workers, asks)
        names = _names(waiting)
        if self._refused.get(names) == question:
            return
        answer = plan(seen, asks.asks)
        for instance in waiting:
            await self._write(instance, asks, answer)
        if answer.placements:
            self._refused.pop(names, None)
        else:
            self._refused[names] = question

    async def _write(self, instance: Instance, asks: Asks, answer: Plan) -> None:
        name = instance.name
        placement = answer.placements.get(name)
        if placement is not None:
            await self._place(instance, placement, record(answer.decisions[name]))
            return
        told = asks.refused.get(name)
        if told is not None:
            self._put(name, _plain(instance, told.summary))
            await self._refuse(instance, told.summary)
        elif name in answer.refusals:
            self._put(name, record(answer.decisions[name]))
            await self._refuse(instance, answer.refusals[name].summary)

    async def _place(
        self, instance: Instance, placement: Placement, decision: dict[str, Any]
    ) -> None:
        if not snapshot.still_fits(self._store, self._parts.leases, placement):
            log.info("placement.stale", instance=instance.name, worker=placement.worker)
            return
        placed = replace(placement, placed_at=round(self._parts.clock.now(), 3))
        if await self._status(instance, {"placement": placed, "refusal": None}):
            self._put(instance.name, decision)
            log.info(
                "instance.placed",
                instance=instance.name,
                worker=placement.worker,
                shape=placement.shape,
            )

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

    def _put(self, instance: str, decision: dict[str, Any]) -> None:
        moment = rfc3339(self._parts.clock.now())
        self._parts.decisions.put(instance, {**decision, "decided_at": moment})


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
