"""The cluster as the scheduler sees it, read from the store and the newest reports.

Numbers that always move (memory in use, what each engine holds) come from the reports in memory,
all of one measurement. A report is looked at when it arrives, since what a driver does not tell can
only be worked out from one measurement to the next (`scheduler.ledger`).

A snapshot shares whatever did not change with the one before: among a thousand workers that report
all the time, only those are worked out anew of which something has changed.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import takewhile
from operator import is_

from aimindserve.controllers.views import (
    Instance,
    Worker,
    find_worker,
    instances,
    placed_on,
    worker_labels,
    workers,
)
from aimindserve.core.device import EMPTY_USAGE, Usage
from aimindserve.core.ids import WorkerName
from aimindserve.core.placement import Placement
from aimindserve.core.report import Report
from aimindserve.kit.units import MIB
from aimindserve.scheduler import ledger
from aimindserve.scheduler.base import Snapshot, WorkerView
from aimindserve.store.base import Store
from aimindserve.store.leases import Leases

GRAIN_BYTES = 256 * MIB
"""What is measured counts in whole grains, so that its flicker is no news to anybody."""
NOBODY: tuple[Instance, ...] = ()
_NOTHING: ledger.Attribution = {}


@dataclass(frozen=True, slots=True)
class _Seen:
    """A worker as it was looked at last: while these are the same objects, so is the view."""

    worker: Worker
    report: Report | None
    attribution: ledger.Attribution
    here: tuple[Instance, ...]
    view: WorkerView


class Snapshots:
    """Makes snapshots. One per control plane; it hears every report as long as it lives."""

    def __init__(self, store: Store, leases: Leases) -> None:
        self._store = store
        self._leases = leases
        self._attributions: dict[str, ledger.Attribution] = {}
        self._seen: dict[str, _Seen] = {}
        self._listed: Sequence[Instance] = NOBODY
        self._placed: dict[str, tuple[Instance, ...]] = {}
        self._measured: dict[str, Usage] = {}
        """What each attribution was worked out from."""
        self._stop = leases.listen(self._heard)

    def take(self) -> Snapshot:
        """Every worker that has reported, with what is free on it."""
        store = self._store
        placed = self._by_worker()
        views: list[WorkerView] = []
        present: dict[str, _Seen] = {}
        for worker in workers(store):
            seen = self._look(worker, placed.get(worker.name, NOBODY))
            if seen is not None:
                present[worker.name] = seen
                views.append(seen.view)
        self._seen = present
        for gone in self._attributions.keys() - present.keys():
            del self._attributions[gone], self._measured[gone]
        return Snapshot(store.revision, tuple(views))

    def view(self, name: str) -> WorkerView | None:
        """One worker as it is now; None when there is none, or it has never reported."""
        worker = find_worker(self._store, name)
        if worker is None:
            return None
        seen = self._look(worker, self._by_worker().get(name, NOBODY))
        return None if seen is None else seen.view

    def accounts(self, name: str) -> ledger.Accounts | None:
        """Where the memory of one worker is: for people, exact to the byte."""
        worker = find_worker(self._store, name)
        machine = None if worker is None else self._machine(worker)
        if machine is None:
            return None
        here = self._by_worker().get(name, NOBODY)
        return ledger.accounts(machine, [_holding(each) for each in here])

    def still_fits(self, placement: Placement) -> bool:
        """Whether the newest objects leave room for `placement` on workers that still take work."""
        return all(
            self._fits_on(placement, name)
            for name in dict.fromkeys(rank.worker for rank in placement.ranks)
        )

    def close(self) -> None:
        """Hear no more reports."""
        self._stop()

    def _fits_on(self, placement: Placement, name: WorkerName) -> bool:
        view = self.view(name)
        if view is None or not view.ready or view.cordoned:
            return False
        ranks = [rank for rank in placement.ranks if rank.worker == name]
        if len(ranks) > view.ports_free:
            return False
        needed: dict[str, int] = {}
        for claim in (claim for rank in ranks for claim in rank.claims):
            needed[claim.device] = needed.get(claim.device, 0) + claim.memory_bytes
        free = {str(device): size for device, size in view.device_free_bytes.items()}
        # Chosen by hand and known to hold too little: used as long as they are there.
        forced = {
            each.params.get("device") for each in placement.warnings if each.code == "overcommitted"
        }
        return sum(rank.ram.total for rank in ranks) <= view.ram_free_bytes and all(
            device in free and (device in forced or size <= free[device])
            for device, size in needed.items()
        )

    def _by_worker(self) -> Mapping[str, tuple[Instance, ...]]:
        """Worker -> the instances that have a rank there, by name. The store gives the same list
        of the same objects as long as none has changed; of the others only what differs is moved,
        so that most workers keep the very tuple they had."""
        listed = instances(self._store)
        if listed is self._listed:
            return self._placed
        gone, come = _differing(self._listed, listed)
        touched: dict[str, dict[str, Instance]] = {}
        for each in gone:
            for name in placed_on(each):
                self._touch(touched, name).pop(each.name, None)
        for each in come:
            for name in placed_on(each):
                self._touch(touched, name)[each.name] = each
        for name, here in touched.items():
            self._placed[name] = tuple(here[each] for each in sorted(here))
        self._listed = listed
        return self._placed

    def _touch(self, touched: dict[str, dict[str, Instance]], worker: str) -> dict[str, Instance]:
        if worker not in touched:
            touched[worker] = {each.name: each for each in self._placed.get(worker, NOBODY)}
        return touched[worker]

    def _look(self, worker: Worker, here: tuple[Instance, ...]) -> _Seen | None:
        name = worker.name
        report = self._leases.report(name)
        known = self._attributions.get(name, _NOTHING)
        before = self._seen.get(name)
        if (
            before is not None
            and before.here is here
            and before.worker is worker
            and before.report is report
            and before.attribution is known
        ):
            return before
        machine = self._machine(worker)
        if machine is None:
            return None
        view = ledger.view(machine, [_holding(each) for each in here], GRAIN_BYTES)
        if before is not None and before.view == view:
            view = before.view
        seen = self._seen[name] = _Seen(worker, report, known, here, view)
        return seen

    def _machine(self, worker: Worker) -> ledger.Machine | None:
        seen = worker.status.observed
        if seen is None:
            return None
        return ledger.Machine(
            name=WorkerName(worker.name),
            ready=worker.status.ready,
            cordoned=worker.spec.cordoned,
            inventory=seen.inventory,
            labels=worker_labels(worker),
            usage=self._usage(worker.name),
            reserved=seen.reserved,
            service_ports=seen.service_ports,
            python=seen.python,
            backends=None if seen.backends is None else dict(seen.backends),
            attribution=self._attributions.get(worker.name),
            away=worker.status.reason,
            local=_is_local(seen.host),
        )

    def _usage(self, name: str) -> Usage:
        report = self._leases.report(name)
        return EMPTY_USAGE if report is None else report.worker.usage

    def _heard(self, worker: str, report: Report) -> None:
        """Work out whose memory it is, once per measurement: reports between two repeat one."""
        usage = report.worker.usage
        if self._measured.get(worker) == usage:
            return
        self._measured[worker] = usage
        holdings = [_holding(each) for each in self._by_worker().get(worker, NOBODY)]
        claims = ledger.claims_here(WorkerName(worker), holdings)
        known = self._attributions.get(worker, {})
        fresh = ledger.attribution(usage, claims, known)
        self._attributions[worker] = known if fresh == known and known else fresh


def _holding(instance: Instance) -> ledger.Holding:
    placement = instance.status.placement
    if placement is None:
        raise ValueError(f"{instance.name} is not placed")
    return ledger.Holding(
        deployment=instance.spec.deployment,
        placement=placement,
        instance=instance.name,
        stopping=instance.spec.stopping,
    )


def _differing(
    old: Sequence[Instance], new: Sequence[Instance]
) -> tuple[Sequence[Instance], Sequence[Instance]]:
    """(no longer there, new there), by identity. Mostly all but one place is shared."""
    start = _alike(old, new)
    end = min(_alike(reversed(old), reversed(new)), len(old) - start, len(new) - start)
    left, right = old[start : len(old) - end], new[start : len(new) - end]
    known, present = set(map(id, left)), set(map(id, right))
    return (
        [each for each in left if id(each) not in present],
        [each for each in right if id(each) not in known],
    )


def _alike(left: Iterable[Instance], right: Iterable[Instance]) -> int:
    """How many are the same objects before the first that are not."""
    return sum(1 for _ in takewhile(bool, map(is_, left, right)))


def _is_local(host: str) -> bool:
    """Whether an address leads back to whoever uses it."""
    return host == "::1" or host.startswith("127.") or host == "localhost"
