"""Says which workers are ready, from their leases, and gives up those that stay silent or have
said that they went.

A lease is a worker's promise of life in memory; heartbeats never come here. What giving up means to
the instances is the deployments controller's business: this one only says so on the worker. It also
clears away what a deleted worker leaves behind.
"""

from collections.abc import Iterable, Mapping

from aimindserve.controllers.base import Done, Later, Wake
from aimindserve.controllers.constants import DEFAULTS, ControllerConstants
from aimindserve.controllers.eviction import Fleet
from aimindserve.controllers.views import (
    Worker,
    find_worker,
    instances,
    model_files,
    placed_on,
    workers,
)
from aimindserve.core.reason import Reason
from aimindserve.core.report import Presence
from aimindserve.kit.clock import Clock, rfc3339
from aimindserve.kit.log import get_logger
from aimindserve.resources.worker import WorkerStatus, presence
from aimindserve.store.base import Store
from aimindserve.store.leases import Leases

log = get_logger("controllers.workers")

_SAID = {"": "worker.ready", "worker_leaving": "worker.leaving", "worker_left": "worker.left"}


class WorkersController:
    """Key: a worker's name."""

    name = "workers"

    def __init__(
        self,
        store: Store,
        leases: Leases,
        clock: Clock,
        constants: ControllerConstants = DEFAULTS,
    ) -> None:
        self._store = store
        self._leases = leases
        self._clock = clock
        self._constants = constants
        self._fleet = Fleet(constants)

    def wakes_on(self) -> Mapping[str, Wake]:
        return {"worker": lambda worker: [worker.name]}

    def keys(self) -> Iterable[str]:
        names = {worker.name for worker in workers(self._store)}
        names.update(name for each in instances(self._store) for name in placed_on(each))
        names.update(file.spec.worker for file in model_files(self._store))
        return sorted(names)

    def stalled(self, seconds: float) -> None:
        """This process was not listening: everybody's silence begins anew."""
        log.warning("leases.restarted", stalled_s=round(seconds, 1))
        self._leases.restart_grace()

    async def reconcile(self, key: str) -> Done | Later:
        worker = find_worker(self._store, key)
        if worker is None:
            await self._clear_away(key)
            return Done()
        if worker.status.observed is None:
            return Done()  # registered, never reported: its first report wakes this key
        going = presence(worker.status)
        if going is Presence.LEFT:
            return await self._left(worker)
        silence_s = self._leases.silence_s(key)
        if silence_s >= self._constants.lost_after_s:
            return await self._silent(worker, silence_s)
        left_s = self._constants.lost_after_s - silence_s
        if going is Presence.LEAVING:
            await self._write(worker, ready=False, reason=_because("worker_leaving", worker))
            return Later(left_s)
        return await self._present(worker, left_s)

    async def _left(self, worker: Worker) -> Done:
        """Its engines have ended, by its own word: there is nothing to wait for."""
        self._fleet = self._fleet.settled(worker.name, self._clock.monotonic(), self._count())
        reason = worker.status.reason
        if reason is None or reason.code != "worker_left":
            reason = _because("worker_left", worker, since=self._moment())
        await self._write(worker, ready=False, evicted=True, reason=reason)
        return Done()  # its first report when it comes back wakes this key

    async def _present(self, worker: Worker, left_s: float) -> Later:
        """Heard lately, or nobody has listened long enough to know better than before."""
        if self._leases.heard(worker.name):
            self._fleet = self._fleet.settled(worker.name, self._clock.monotonic(), self._count())
            await self._write(worker, ready=True)
            return Later(left_s)
        return Later(left_s if worker.status.ready else self._constants.lost_look_s)

    async def _silent(self, worker: Worker, silence_s: float) -> Later:
        now = self._clock.monotonic()
        status = worker.status
        if not status.evicted:
            self._fleet = self._fleet.vanished(worker.name, now, self._count())
        wait_s = self._fleet.wait_s(silence_s, self._leases.listening_s, now)
        evict = wait_s == 0.0 and not status.evicted
        if evict:
            self._fleet = self._fleet.evicted(worker.name, now, self._count())
            log.warning("worker.evicted", worker=worker.name, silence_s=round(silence_s))
        reason = self._reason(worker, silence_s, frozen=wait_s is None)
        await self._write(worker, ready=False, evicted=status.evicted or evict, reason=reason)
        return Later(self._constants.lost_look_s)

    async def _write(
        self, worker: Worker, *, ready: bool, evicted: bool = False, reason: Reason | None = None
    ) -> None:
        update = {"ready": ready, "evicted": evicted, "reason": reason}
        status: WorkerStatus = worker.status.model_copy(update=update)
        if status == worker.status:
            return
        if ready != worker.status.ready:
            log.info(_SAID.get(reason.code if reason else "", "worker.lost"), worker=worker.name)
        await self._store.replace(
            "worker", worker.name, revision=worker.metadata.revision, status=status
        )

    def _reason(self, worker: Worker, silence_s: float, *, frozen: bool) -> Reason:
        """Why it is not ready. A reason once given stays: its numbers are of that time."""
        told = worker.status.reason
        frozen = frozen and not worker.status.evicted
        code = "eviction_frozen" if frozen else "worker_lost"
        if told is not None and told.code == code:
            return told
        if frozen:
            return Reason(code, {"count": len(self._fleet.frozen)})
        return _because(code, worker, since=self._moment(-silence_s))

    def _moment(self, ago_s: float = 0.0) -> str:
        return rfc3339(self._clock.now() + ago_s, "seconds")

    def _count(self) -> int:
        return sum(worker.status.observed is not None for worker in workers(self._store))

    async def _clear_away(self, name: str) -> None:
        """A deleted worker runs nothing for us any more, and nobody can look at its files."""
        self._leases.forget(name)
        self._fleet = self._fleet.settled(name, self._clock.monotonic(), self._count())
        for instance in instances(self._store):
            if name in placed_on(instance):
                await self._store.delete(
                    "instance", instance.name, revision=instance.metadata.revision
                )
        for file in model_files(self._store):
            if file.spec.worker == name:
                await self._store.delete("model-file", file.name, revision=file.metadata.revision)


def _because(code: str, worker: Worker, **params: str) -> Reason:
    return Reason(code, {"worker": worker.name, **params})
