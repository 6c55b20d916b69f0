"""What one worker must run and hold, read from the store; and who is told when it changes.

`desired_set` is a plain function that the simulation uses too. The hub follows the store once for
all workers, so that five hundred open streams do not each look at every change.
"""

from collections.abc import Iterable
from dataclasses import replace
from typing import cast

import anyio

from aimindserve.backends._declared import engine_env
from aimindserve.core.facts import Options
from aimindserve.core.ids import WorkerName
from aimindserve.core.launch import Assignment, DesiredSet, FileAssignment, Peer
from aimindserve.kit.secrets import keyed_hash
from aimindserve.resources._kind import AnyResource
from aimindserve.server.objects import Instance, find_worker, instances, model_files
from aimindserve.store.base import Change, ChangeType, Resync, Store

WATCHED = ("instance", "model-file", "worker")

Wish = tuple[frozenset[str], str, bool]
"""What of an instance its workers must know: (workers, placement, stopping)."""

NO_WISH: Wish = (frozenset(), "", False)


def desired_set(store: Store, worker: str, pepper: bytes = b"") -> DesiredSet:
    """Everything that `worker` must run and hold now. `pepper`: the server's, from which secrets
    between the workers of one placement are made."""
    return DesiredSet(
        revision=store.revision,
        worker=worker,
        instances=tuple(
            _joined(store, _assignment(each), worker, pepper)
            for each in instances(store)
            if is_assigned(each, worker)
        ),
        files=tuple(
            FileAssignment(each.name, each.spec.model)
            for each in model_files(store)
            if each.spec.worker == worker
        ),
    )


def is_assigned(instance: Instance, worker: str) -> bool:
    """Whether `worker` must run a rank of `instance`."""
    return not instance.spec.stopping and worker in _workers_of(instance)


def _wish(instance: Instance) -> Wish:
    placement = instance.status.placement
    identity = "" if placement is None else placement.id
    return frozenset(_workers_of(instance)), identity, instance.spec.stopping


def _workers_of(instance: Instance) -> set[str]:
    placement = instance.status.placement
    return set() if placement is None else {str(rank.worker) for rank in placement.ranks}


def _assignment(instance: Instance) -> Assignment:
    template = instance.spec.template
    placement = instance.status.placement
    assert placement is not None  # noqa: S101 - `is_assigned` said so
    return Assignment(
        instance=instance.name,
        instance_id=instance.metadata.id,
        deployment=instance.spec.deployment,
        model=template.model,
        backend=placement.backend or template.backend or "",
        options=Options(
            parameters=(*template.backend_parameters, *placement.parameters),
            env=engine_env(sorted(template.env.items())),
            cpu_offloading=template.cpu_offloading,
            distributed=template.distributed_inference_across_workers,
            backend_version=template.backend_version,
            categories=template.categories,
        ),
        placement=placement,
        restart_on_error=template.restart_on_error,
    )


def _joined(store: Store, assignment: Assignment, worker: str, pepper: bytes) -> Assignment:
    """With what workers of one placement must know of each other. The secret is worked out anew
    each time and stored nowhere; it ends with the placement."""
    placement = assignment.placement
    if len(placement.workers) < 2:
        return assignment
    secret = keyed_hash(pepper, f"tunnel {placement.id}")
    if worker != placement.worker:
        return replace(assignment, tunnel_secret=secret)
    peers = tuple(Peer(name, *address_of(store, name)) for name in placement.workers[1:])
    return replace(assignment, peers=peers, tunnel_secret=secret)


def address_of(store: Store, worker: str) -> tuple[str, int]:
    """Where a worker's agent listens; nowhere while it has not said."""
    found = find_worker(store, worker)
    seen = None if found is None else found.status.observed
    return ("", 0) if seen is None else (seen.host, seen.port)


class DesiredHub:
    """Wakes the streams of the workers that a change concerns."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._waiting: dict[str, set[anyio.Event]] = {}
        self._wishes: dict[str, Wish] = {}
        self._addresses: dict[str, tuple[str, int]] = {}

    async def run(self) -> None:
        """Follow the store for ever; begin anew with everything when it cannot go on."""
        while True:
            revision = self._store.revision
            self._wishes = {each.name: _wish(each) for each in instances(self._store)}
            self._addresses = {}
            self._wake(list(self._waiting))
            if not await self._follow(revision):
                return

    async def _follow(self, revision: int) -> bool:
        """True when it fell behind, False when the store was closed."""
        async for event in self._store.watch(WATCHED, since=revision):
            if isinstance(event, Change):
                self._wake(self._concerned(event.type, event.resource))
            elif isinstance(event, Resync):
                return True
        return False

    def waiter(self, worker: str) -> "Waiter":
        """Something to wait with for the next change that concerns `worker`."""
        return Waiter(self._waiting, worker)

    def _concerned(self, change: ChangeType, resource: AnyResource) -> Iterable[str]:
        gone = change is ChangeType.DELETED
        if resource.kind == "model-file":
            return {resource.spec.worker} if change is not ChangeType.MODIFIED else ()
        if resource.kind == "worker":
            return {resource.name} if gone else self._moved(resource.name)
        before = self._wishes.pop(resource.name, NO_WISH)
        now = NO_WISH if gone else _wish(cast("Instance", resource))
        if not gone:
            self._wishes[resource.name] = now
        return before[0] | now[0] if before != now else ()

    def _moved(self, worker: str) -> Iterable[str]:
        """Who must know that `worker` listens elsewhere: all with whom it shares an instance."""
        address = address_of(self._store, worker)
        if self._addresses.get(worker) == address:
            return ()
        self._addresses[worker] = address
        return {
            name
            for workers, _, _ in self._wishes.values()
            if worker in workers
            for name in workers - {worker}
        }

    def _wake(self, workers: Iterable[str]) -> None:
        for worker in workers:
            for event in self._waiting.get(worker, ()):
                event.set()


class Waiter:
    """Waits for changes of one worker; use as a context manager."""

    def __init__(self, waiting: dict[str, set[anyio.Event]], worker: str) -> None:
        self._waiting = waiting
        self._worker = WorkerName(worker)
        self._event = anyio.Event()

    def __enter__(self) -> "Waiter":
        self._waiting.setdefault(self._worker, set()).add(self._event)
        return self

    def __exit__(self, *_: object) -> None:
        events = self._waiting.get(self._worker, set())
        events.discard(self._event)
        if not events:
            self._waiting.pop(self._worker, None)

    async def changed(self, within_s: float) -> bool:
        """True when something concerned the worker since the last call, False after `within_s`."""
        with anyio.move_on_after(within_s):
            await self._event.wait()
        happened = self._event.is_set()
        if happened:
            self.__exit__()
            self._event = anyio.Event()
            self.__enter__()
        return happened
