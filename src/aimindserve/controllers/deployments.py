"""Keeps as many instances as a deployment asks for, made from its present spec.

The only writer of instances' specs and of deployments' status. What to do next is decided by
`rollout`; this file reads, asks it, and writes. Instances whose deployment is gone are its garbage.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import cast

from aimindserve.controllers import failures
from aimindserve.controllers.base import Done, Later, Wake
from aimindserve.controllers.constants import DEFAULTS, ControllerConstants
from aimindserve.controllers.crashes import note
from aimindserve.controllers.rollout import Aim, Copy, Steps, next_steps
from aimindserve.controllers.views import (
    Deployment,
    Instance,
    deployments,
    find_deployment,
    find_model_file,
    find_worker,
    instances,
    instances_of,
    is_doubtful,
    is_failing,
    is_up,
    needs_file,
    placed_on,
    selects,
    serves,
    workers,
)
from aimindserve.core.errors import ExistsError
from aimindserve.core.placement import Placement
from aimindserve.core.reason import Class, Reason
from aimindserve.core.report import FileState, Presence
from aimindserve.kit.clock import Clock
from aimindserve.kit.log import get_logger
from aimindserve.resources.deployment import DeploymentSpec, DeploymentStatus
from aimindserve.resources.instance import InstanceSpec, phase
from aimindserve.resources.worker import away, presence
from aimindserve.scheduler.retire import shared
from aimindserve.store.base import Draft, Store

log = get_logger("controllers.deployments")

NO_ROOM = frozenset(
    {
        "no_fit",
        "no_fit_ram",
        "no_fit_vram",
        "no_fit_devices",
        "no_fit_layers",
        "no_fit_disk",
        "instances_max",
        "across_taken",
        "too_few_workers",
        "port_exhausted",
    }
)
NAME_TRIES = 8
_URGENCY = {Class.FAILED: 0, Class.ATTENTION: 1, Class.WORKING: 2, Class.OK: 3, Class.OFF: 4}


class DeploymentsController:
    """Key: a deployment's name."""

    name = "deployments"

    def __init__(
        self,
        store: Store,
        clock: Clock,
        ids: Callable[[], str],
        constants: ControllerConstants = DEFAULTS,
    ) -> None:
        """`ids` gives random hexadecimal names of at least five digits."""
        self._store = store
        self._clock = clock
        self._ids = ids
        self._constants = constants
        self._cramped_since: dict[str, float] = {}

    def wakes_on(self) -> Mapping[str, Wake]:
        return {
            "deployment": lambda deployment: [deployment.name],
            "instance": lambda instance: [instance.spec.deployment],
            "worker": lambda worker: self._touching(worker.name),
        }

    def keys(self) -> Iterable[str]:
        names = {deployment.name for deployment in deployments(self._store)}
        names.update(instance.spec.deployment for instance in instances(self._store))
        return sorted(names)

    async def reconcile(self, key: str) -> Done | Later:
        await self._finish(key)
        deployment = find_deployment(self._store, key)
        mine = instances_of(self._store, key)
        if deployment is None:
            self._cramped_since.pop(key, None)
            for instance in mine:
                await self._stop(instance)
            return Done()
        deployment = await self._remember(deployment, mine)
        steps = self._steps(deployment, mine)
        for instance in mine:
            if instance.name in steps.stop:
                await self._stop(instance)
        for _ in range(steps.create):
            await self._create(deployment)
        await self._write_status(deployment)
        return Later(self._constants.room_settle_s) if steps.cramped else Done()

    async def _remember(self, deployment: Deployment, mine: Sequence[Instance]) -> Deployment:
        """Write down what ended by itself, and where instances ran out of memory, before one is
        made in another's stead."""
        unfit = [
            (each.spec.template, each.status)
            for each in mine
            if not each.spec.stopping and failures.is_unfit(each.spec.template, each.status)
        ]
        now, before = self._clock.now(), deployment.status
        told = failures.remember(before.failures, unfit, deployment.spec, now)
        crashes = note(before.crashes, [each.status for each in mine], now)
        if (told, crashes) == (before.failures, before.crashes):
            return deployment
        for each in told:
            if each not in before.failures:
                log.warning("place.given_up", deployment=deployment.name, place=each.place)
        status = before.model_copy(update={"failures": told, "crashes": crashes})
        revision = deployment.metadata.revision
        written = await self._store.replace(
            "deployment", deployment.name, revision=revision, status=status
        )
        return cast("Deployment", written)

    async def _finish(self, deployment: str) -> None:
        """Delete stopping instances that hold nothing any more. One that a worker may still run is
        deleted when that worker reports without it (`server.reports`)."""
        for instance in instances_of(self._store, deployment):
            if not instance.spec.stopping:
                continue
            if all(self._has_ended(name) for name in placed_on(instance)):
                await self._store.delete(
                    "instance", instance.name, revision=instance.metadata.revision
                )

    def _has_ended(self, worker: str) -> bool:
        """Whether no engine of ours can run on `worker`: it was removed, or went in order."""
        found = find_worker(self._store, worker)
        return found is None or presence(found.status) is Presence.LEFT

    def _steps(self, deployment: Deployment, mine: Sequence[Instance]) -> Steps:
        copies = [self._copy(instance, deployment.spec) for instance in mine]
        aim = Aim(
            replicas=deployment.spec.replicas,
            strategy=deployment.spec.placement_strategy,
            surge=self._constants.surge_max,
            elsewhere=any(copy.away for copy in copies) and self._runs_elsewhere(deployment.spec),
            make_room=self._has_settled(deployment.name),
        )
        steps = next_steps(aim, copies)
        if steps.cramped and not aim.make_room:
            self._cramped_since.setdefault(deployment.name, self._clock.monotonic())
        else:
            self._cramped_since.pop(deployment.name, None)
        return steps

    def _has_settled(self, name: str) -> bool:
        """Whether a new instance has been without room long enough for the refusal to be news."""
        since = self._cramped_since.get(name)
        return (
            since is not None
            and self._clock.monotonic() - since >= self._constants.room_settle_s - 0.001
        )

    def _copy(self, instance: Instance, wanted: DeploymentSpec) -> Copy:
        refusal = instance.status.refusal
        homes = [find_worker(self._store, name) for name in placed_on(instance)]
        placement = instance.status.placement
        return Copy(
            name=instance.name,
            current=same_template(instance.spec.template, wanted),
            placed=instance.status.placement is not None,
            ready=serves(self._store, instance),
            away=any(home is None or home.status.evicted for home in homes),
            no_room=refusal is not None and refusal.code in NO_ROOM,
            stopping=instance.spec.stopping,
            unfit=failures.is_unfit(instance.spec.template, instance.status),
            created_at=instance.metadata.created_at,
            placement=placement,
            failing=is_failing(instance),
            doubtful=is_doubtful(self._store, instance),
            shared=0 if placement is None else self._shared(instance, placement),
        )

    def _shared(self, instance: Instance, placement: Placement) -> int:
        if instance.spec.template.placement_strategy != "binpack":
            return 0
        others = (
            other.status.placement
            for other in instances(self._store)
            if other.status.placement is not None and other.name != instance.name
        )
        return shared(placement, others)

    def _runs_elsewhere(self, spec: DeploymentSpec) -> bool:
        for worker in workers(self._store):
            if not is_up(worker) or worker.spec.cordoned:
                continue
            if not selects(spec.worker_selector, worker):
                continue
            if not needs_file(spec.model):
                return True
            file = find_model_file(self._store, worker.name, spec.model)
            seen = None if file is None else file.status.observed
            if seen is not None and seen.state is FileState.READY:
                return True
        return False

    async def _stop(self, instance: Instance) -> None:
        if instance.spec.stopping:
            return
        log.info("instance.stopping", instance=instance.name, deployment=instance.spec.deployment)
        revision = instance.metadata.revision
        if instance.status.placement is None:
            await self._store.delete("instance", instance.name, revision=revision)
            return
        stopping = instance.spec.model_copy(update={"stopping": True})
        await self._store.replace("instance", instance.name, revision=revision, spec=stopping)

    async def _create(self, deployment: Deployment) -> None:
        spec = InstanceSpec(
            deployment=deployment.name,
            deployment_generation=deployment.metadata.generation,
            template=deployment.spec,
        )
        for attempt in range(NAME_TRIES):
            name = f"{deployment.name[:57]}-{self._ids()[:5]}"
            try:
                await self._store.create(Draft("instance", name, spec))
            except ExistsError:
                if attempt == NAME_TRIES - 1:
                    raise
            else:
                log.info("instance.created", instance=name, deployment=deployment.name)
                return

    async def _write_status(self, deployment: Deployment) -> None:
        mine = instances_of(self._store, deployment.name)
        live = [instance for instance in mine if not instance.spec.stopping]
        ready = sum(serves(self._store, instance) for instance in live)
        status = DeploymentStatus(
            observed_generation=deployment.metadata.generation,
            replicas=len(mine),
            ready_replicas=ready,
            reason=self._telling_reason(live) if ready < deployment.spec.replicas else None,
            failures=deployment.status.failures,
            crashes=deployment.status.crashes,
        )
        if status != deployment.status:
            await self._store.replace(
                "deployment",
                deployment.name,
                revision=deployment.metadata.revision,
                status=status,
            )

    def _telling_reason(self, live: Sequence[Instance]) -> Reason | None:
        """The reason of the instance that is worst off; of equals, of the newest generation."""
        told: list[tuple[int, int, str, Reason]] = []
        for instance in live:
            _, visual, reason = phase(instance.spec, instance.status, away=self._away(instance))
            if reason is not None:
                newest_first = -instance.spec.deployment_generation
                told.append((newest_first, _URGENCY[visual], instance.name, reason))
        return min(told)[3] if told else None

    def _away(self, instance: Instance) -> Reason | None:
        """Why one of its workers does no work now; None while all do."""
        told = (away(find_worker(self._store, name), name) for name in placed_on(instance))
        return next((reason for reason in told if reason is not None), None)

    def _touching(self, worker: str) -> Iterable[str]:
        """Deployments with an instance on `worker`: the others do not care how it is."""
        touching = {
            instance.spec.deployment
            for instance in instances(self._store)
            if worker in placed_on(instance)
        }
        return sorted(touching)


def same_template(left: DeploymentSpec, right: DeploymentSpec) -> bool:
    """Whether instances of both run the same: their number and description change nothing."""
    plain = {"replicas": 0, "description": ""}
    return left.model_copy(update=plain) == right.model_copy(update=plain)
