"""What must hold in every run, checked while it goes on; the first breach ends it.

    at every commit     revisions grow by one · a placement is never changed · no device or RAM is
                        promised beyond what it has · nobody is given up who could be heard
                        · nobody is put back unchanged where it ran out of memory
                        nor beside what others are reported to use · what is written of an engine's
                        speed is its speed
    every second        one living process per instance · no device used beyond its memory · nothing
                        unassigned runs on · who waits has a reason · routes lead to living engines
                        · nobody stays where he ran out of memory
    at the end          what runs is what is wanted · nobody waits where there is room

Truth is what the machines say (`FakeRuntime.living`), never what the server believes.
"""

from collections import Counter, deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

import msgspec

from aimindserve.controllers.failures import barred, is_unfit, next_try, template_hash
from aimindserve.controllers.snapshot import GRAIN_BYTES
from aimindserve.controllers.views import (
    deployments,
    find_deployment,
    find_route,
    instances,
    placed_on,
    serves,
    workers,
)
from aimindserve.core.device import Device
from aimindserve.core.ids import DeviceId
from aimindserve.core.reason import Reason
from aimindserve.kit.units import parse_bytes
from aimindserve.resources.deployment import DeploymentSpec
from aimindserve.runtimes.base import Handle
from aimindserve.sim.cluster import Cluster
from aimindserve.sim.gateway import GatewayView
from aimindserve.sim.machine import FOREIGN_PID, SimMachine
from aimindserve.store.base import ChangeRow

UNASSIGNED_S = 45.0
"""How long an engine may run that nobody wants, its worker connected and the server awake. The way:
reconnect after a cut (30 s at the latest), the set, the stop."""
SILENT_S = 30.0
"""How long an instance may wait without a place and without a reason."""
ROUTED_S = 60.0
"""How long a route may lead to an engine that is not there: the lease (40 s), and then some."""
EVICT_AFTER_S = 90.0
"""A worker must have been away this long, in truth, to be given up: its last report may have been a
slow one, well before it went away."""
KNOWN_AFTER_S = 45.0
"""How long after a worker went away the server must know."""
HEARD_AFTER_S = 20.0
WINDOW_S = 300.0
TAKEN_SHARE = 0.8
"""What engines really take of their claims."""
SPEED_ERROR = 0.01
RESERVED_BYTES = 1024**3
SOON_S = 60.0
REPORTS_KEPT = 3
"""Seconds: a report may arrive while a placement that was checked is being written."""


Living = Mapping[str, Sequence[Handle]]
"""Worker -> the engines that live there, in truth."""


class InvariantError(AssertionError):
    """Something that must never happen happened."""


@dataclass(slots=True)
class _Claims:
    """What one placement holds, by device or `worker:ram`."""

    instance_id: str
    placement_id: str
    held: Mapping[str, int]


class Invariants:
    """Watches one run."""

    def __init__(self) -> None:
        self._cluster: Cluster | None = None
        self._revision = 0
        self.decided = 0
        """Commits that were not measurements."""
        self.written = 0
        """Commits but for those that say only what an engine has generated: it decides nothing."""
        self._estimates: dict[str, Mapping[str, Any]] = {}
        """What was written of each, but for that."""
        self._claims: dict[str, _Claims] = {}
        self._known: dict[str, Mapping[str, int]] = {}
        """Placement id -> what it holds, also after the instance is gone."""
        self._homes: dict[str, frozenset[str]] = {}
        """Placement id -> its workers."""
        self._failures: dict[str, Sequence[Mapping[str, Any]]] = {}
        """Deployment -> where it ran out of memory."""
        self._evicted: dict[str, float] = {}
        self._away: dict[str, float] = {}
        """Worker -> since when it cannot be heard, in truth."""
        self._back: dict[str, float] = {}
        """Worker -> since when it can be heard again."""
        self._gateway = GatewayView()
        self._reported: dict[str, deque[int]] = {}
        """Device -> what its worker said in the last seconds that other people hold of it."""
        self._since: dict[tuple[str, ...], float] = {}
        self._breaches: list[str] = []

    def attach(self, cluster: Cluster) -> None:
        """Watch `cluster`. Its machines measure what living engines really hold."""
        self._cluster = cluster

        def measure(machine: SimMachine) -> Callable[[DeviceId], Mapping[int, int]]:
            return lambda device: self._held(device, machine)

        for machine in cluster.machines.values():
            machine.accelerator.held = measure(machine)

    @property
    def cluster(self) -> Cluster:
        """The cluster under watch."""
        if self._cluster is None:
            raise RuntimeError("not attached yet")
        return self._cluster

    def committed(self, change: ChangeRow) -> None:
        """A change was committed. A breach is kept until `check`: raising here would only look like
        an error of the store to whoever wrote."""
        if change.revision != self._revision + 1:
            self._breach(f"revision {change.revision} follows {self._revision}")
        self._revision = change.revision
        self.decided += change.row.kind != "estimate"
        self.written += change.row.kind != "estimate"
        if change.row.kind == "instance":
            self._instance_changed(change)
        elif change.row.kind == "worker":
            self._worker_changed(change)
        elif change.row.kind == "estimate":
            self._estimate_changed(change)
        elif change.row.kind == "deployment":
            status = msgspec.json.decode(change.row.status)
            self._failures[change.row.name] = status.get("failures", ())

    def check(self) -> None:
        """Raise InvariantError for the first breach there is."""
        now = self.cluster.clock.monotonic()
        self._note_reachability(now)
        self._note_reports()
        if self._breaches:
            raise InvariantError(self._breaches[0])
        present: set[tuple[str, ...]] = set()
        for problem, limit_s in self._problems():
            present.add(problem)
            since = self._since.setdefault(problem, now)
            if now - since > limit_s:
                raise InvariantError(f"for {now - since:.0f} s: {' '.join(problem)}")
        self._since = {key: at for key, at in self._since.items() if key in present}

    def unsettled(self) -> Iterator[str]:
        """What is not as wanted; nothing when the cluster has converged."""
        cluster = self.cluster
        for worker in workers(cluster.store):
            if not worker.status.ready:
                yield f"worker {worker.name} is not ready"
        for instance in instances(cluster.store):
            if instance.spec.stopping:
                yield f"instance {instance.name} is still stopping"
            elif find_deployment(cluster.store, instance.spec.deployment) is None:
                yield f"instance {instance.name} has no deployment"
        for deployment in deployments(cluster.store):
            yield from self._unsettled_deployment(deployment.name)
        assigned = self._assigned()
        for name, machine in cluster.machines.items():
            wanted = sorted(assigned.get(name, ()))
            running = sorted(_who(handle) for handle in machine.runtime.living)
            if wanted != running:
                yield f"{name} runs {running}, wanted are {wanted}"
        names = {each.name for each in deployments(cluster.store)}
        if {route.name for route in cluster.store.list("route")} != names:
            yield "routes are not the deployments"

    def _held(self, device: str, machine: SimMachine) -> Mapping[int, int]:
        """What living engines hold of a device by now, by process: most of their claims."""
        return {
            handle.pid: int(claim * TAKEN_SHARE * machine.runtime.loaded(handle))
            for handle in machine.runtime.living
            if (claim := self._known.get(handle.placement_id, {}).get(device, 0))
        }

    def about_to_try(self) -> bool:
        """Whether a place where somebody ran out of memory will soon be tried again."""
        store, now = self.cluster.store, self.cluster.clock.now()
        tries = [next_try(each.status.failures, now) for each in deployments(store)]
        return any(left is not None and left < SOON_S for left in tries)

    def starved(self) -> Iterator[str]:
        """Who waits although there is room: for people, a scheduler that has fallen asleep."""
        store, now = self.cluster.store, self.cluster.clock.now()
        for each in instances(store):
            deployment = find_deployment(store, each.spec.deployment)
            if each.status.placement is not None or each.spec.stopping or deployment is None:
                continue
            shut = barred(deployment.status.failures, each.spec.template, now)
            for worker in workers(store):
                open_ = not worker.spec.cordoned and f"{worker.name}:ram" not in shut
                if open_ and worker.status.ready:
                    room = [self._room(device, shut) for device in self._devices(worker.name)]
                    if _fits(each.spec.template.backend_parameters, room):
                        yield f"instance {each.name} waits though {worker.name} has room"

    def _devices(self, worker: str) -> Sequence[Device]:
        return self.cluster.machines[worker].accelerator.devices

    def _room(self, device: Device, shut: Mapping[str, Reason]) -> int:
        """What is really left of a device, less what is reserved and what a grain may hide."""
        if device.id in shut:
            return 0
        promised = sum(claims.held.get(device.id, 0) for claims in self._claims.values())
        worker = device.id.split(":", 1)[0]
        others = self.cluster.machines[worker].accelerator.foreign.get(device.id, 0)
        return device.memory_bytes - promised - others - RESERVED_BYTES - 2 * GRAIN_BYTES

    def _unsettled_deployment(self, name: str) -> Iterator[str]:
        store = self.cluster.store
        deployment = store.get("deployment", name)
        mine = [each for each in instances(store) if each.spec.deployment == name]
        if len(mine) != deployment.spec.replicas:
            yield f"{name} has {len(mine)} instances, wanted are {deployment.spec.replicas}"
        for each in mine:
            waits = each.status.placement is None and each.status.refusal is not None
            if not waits and not serves(store, each):
                yield f"instance {each.name} is neither ready nor refused"
        ready = sum(serves(store, each) for each in mine)
        if deployment.status.ready_replicas != ready:
            yield f"{name} says {deployment.status.ready_replicas} are ready, {ready} are"
        if find_route(store, name) is None:
            yield f"{name} has no route"

    def _problems(self) -> Iterator[tuple[tuple[str, ...], float]]:
        """(what is wrong now, for how long it may be so)."""
        living = {name: machine.runtime.living for name, machine in self.cluster.machines.items()}
        yield from self._living_twice(living)
        yield from self._used_beyond(living)
        if self.cluster.awake_s() > 0.0:
            yield from self._unassigned(living)
            yield from self._without_reason()
            yield from self._where_it_failed()
            yield from self._routed_to_nowhere(living)

    def _living_twice(self, living: Living) -> Iterator[tuple[tuple[str, ...], float]]:
        found: dict[str, list[tuple[str, Handle]]] = {}
        for name, handles in living.items():
            for each in handles:
                found.setdefault(each.instance_id, []).append((name, each))
        for instance_id, processes in found.items():
            placements = {each.placement_id for _, each in processes}
            homes = [name for name, _ in processes]
            # One for each worker that a placement names, where it names several.
            if len(placements) > 1 or len(set(homes)) < len(homes):
                yield ("instance", instance_id, "has more than one process"), -1.0
            elif len(homes) > len(self._homes.get(min(placements), homes[:1])):
                yield ("instance", instance_id, "runs on more workers than it has"), -1.0

    def _used_beyond(self, living: Living) -> Iterator[tuple[tuple[str, ...], float]]:
        for name, handles in living.items():
            used: Counter[str] = Counter()
            for each in handles:
                used.update(self._known.get(each.placement_id, {}))
            for device in self.cluster.machines[name].accelerator.devices:
                if used[device.id] > device.memory_bytes:
                    names = ",".join(sorted(handle.instance for handle in handles))
                    yield ("device", device.id, "is used beyond its memory by", names), -1.0

    def _unassigned(self, living: Living) -> Iterator[tuple[tuple[str, ...], float]]:
        assigned = self._assigned()
        for name, handles in living.items():
            if handles and self.cluster.is_reachable(name):
                wanted = assigned.get(name, set())
                for handle in handles:
                    if _who(handle) not in wanted:
                        yield ("unassigned", handle.instance, "runs on", name), UNASSIGNED_S

    def _assigned(self) -> Mapping[str, set[tuple[str, str]]]:
        """Worker -> (instance, placement id) that it must run."""
        assigned: dict[str, set[tuple[str, str]]] = {}
        for each in instances(self.cluster.store):
            placement = each.status.placement
            if placement is not None and not each.spec.stopping:
                for name in placed_on(each):
                    assigned.setdefault(name, set()).add((each.name, placement.id))
        return assigned

    def _without_reason(self) -> Iterator[tuple[tuple[str, ...], float]]:
        for each in instances(self.cluster.store):
            status = each.status
            if status.placement is None and status.refusal is None and not each.spec.stopping:
                yield ("instance", each.name, "waits without a reason"), SILENT_S

    def _where_it_failed(self) -> Iterator[tuple[tuple[str, ...], float]]:
        """Who has run out of memory where he is, is not tried there once more."""
        for each in instances(self.cluster.store):
            if is_unfit(each.spec.template, each.status) and not each.spec.stopping:
                yield ("instance", each.name, "stays where it ran out of memory"), SILENT_S

    def _note_reports(self) -> None:
        """What the server has been told of other people's memory, on devices that tell it apart."""
        server = self.cluster.server
        for name in self.cluster.machines:
            report = None if server is None else server.leases.report(name)
            for device in () if report is None else report.worker.usage.devices:
                told = dict(device.processes or ()).get(FOREIGN_PID, 0)
                kept = self._reported.setdefault(device.id, deque(maxlen=REPORTS_KEPT))
                kept.append(told)

    def _routed_to_nowhere(self, living: Living) -> Iterator[tuple[tuple[str, ...], float]]:
        for route, instance, worker in self._gateway.targets(self.cluster.store):
            runtime = self.cluster.machines[worker].runtime
            if not any(
                handle.instance == instance and runtime.answer(handle) == "ready"
                for handle in living[worker]
            ):
                yield ("route", route, "leads to", instance), ROUTED_S

    def _instance_changed(self, change: ChangeRow) -> None:
        row = change.row
        if change.type == "DELETED":
            self._claims.pop(row.name, None)
            return
        status = cast("dict[str, Any]", msgspec.json.decode(row.status))
        placement = status.get("placement")
        before = self._claims.get(row.name)
        if placement is None:
            if before is not None and before.instance_id == row.id:
                self._breach(f"{row.name} lost its placement")
            return
        if before is not None and before.instance_id == row.id:
            if before.placement_id != placement["id"]:
                self._breach(f"{row.name} was placed a second time")
            return
        held = _held(placement)
        self._claims[row.name] = _Claims(row.id, placement["id"], held)
        self._known[placement["id"]] = held
        self._homes[placement["id"]] = frozenset(rank["worker"] for rank in placement["ranks"])
        self._check_layers(row.name, placement)
        self._check_promises(held)
        self._check_unchanged(cast("dict[str, Any]", msgspec.json.decode(row.spec)), placement)

    def _check_unchanged(self, spec: Mapping[str, Any], placement: Mapping[str, Any]) -> None:
        template = template_hash(DeploymentSpec.model_validate(spec["template"]))
        now, held = self.cluster.clock.now(), _held(placement)
        for each in self._failures.get(spec["deployment"], ()):
            same = (each["template"], each["shape"]) == (template, placement["shape"])
            place, need = each["place"], each["need_bytes"]
            if same and each["until"] > now and 0 < held.get(place, 0) <= need:
                self._breach(f"{spec['deployment']} is put back on {place}, unchanged")

    def _check_layers(self, name: str, placement: Mapping[str, Any]) -> None:
        """A model that is cut between layers is all on devices, unless its shape says in part."""
        layers = [claim["layers"] for rank in placement["ranks"] for claim in rank["claims"]]
        if any(layers) and not all(layers):
            self._breach(f"{name} has a device without a layer")
        in_part = "in part" in placement["shape"]
        if any(layers) and not in_part and any(r["ram"]["weights"] for r in placement["ranks"]):
            self._breach(f"{name} has layers in RAM")

    def _check_promises(self, held: Mapping[str, int]) -> None:
        self._note_reports()  # the one that woke the scheduler may have come this very moment
        for account in held:
            promised = sum(claims.held.get(account, 0) for claims in self._claims.values())
            limit = self._limit(account)
            if promised > limit:
                self._breach(f"{account} has {limit} bytes, {promised} are promised")
            others = min(self._reported.get(account, ()), default=0)
            if promised + others > limit:
                beside = f"beside {others} of others"
                self._breach(f"{account} has {limit} bytes, {promised} are promised {beside}")

    def _limit(self, account: str) -> int:
        machine = self.cluster.machines[account.split(":", 1)[0]]
        if account.endswith(":ram"):
            return int(self.cluster.scenario.ram_gib * 1024**3)
        return next(d.memory_bytes for d in machine.accelerator.devices if d.id == account)

    def _worker_changed(self, change: ChangeRow) -> None:
        name, now = change.row.name, self.cluster.clock.monotonic()
        status = cast("dict[str, Any]", msgspec.json.decode(change.row.status))
        if not status.get("evicted"):
            self._evicted.pop(name, None)
            return
        if name in self._evicted or change.type == "DELETED":
            return
        self._note_reachability(now)
        away_s = now - self._away.get(name, now)
        if away_s < EVICT_AFTER_S:
            self._breach(f"{name} was given up after {away_s:.0f} s of silence")
        if self.cluster.awake_s() < EVICT_AFTER_S:
            self._breach(
                f"{name} was given up {self.cluster.awake_s():.0f} s after a stall or start"
            )
        self._evicted[name] = now
        recent = [at for at in self._evicted.values() if now - at < 9.0]
        if len(recent) > 1:
            self._breach(f"{len(recent)} workers were given up within ten seconds")
        self._check_mass(now)

    def _estimate_changed(self, change: ChangeRow) -> None:
        status = cast("dict[str, Any]", msgspec.json.decode(change.row.status))
        for each in status.get("speeds", ()):
            told, true = each["tokens"] / each["seconds"], self.cluster.tokens_s[each["worker"]]
            if abs(told / true - 1) > SPEED_ERROR:
                self._breach(f"{each['worker']} generates {true:.1f} tokens/s, not {told:.1f}")
        name, rest = change.row.name, {**status, "speeds": ()}
        self.written += self._estimates.get(name) != rest
        self._estimates[name] = rest

    def _check_mass(self, now: float) -> None:
        """A third of the fleet that went away together long ago must not be torn down. Whoever the
        server has heard again is not away any more."""
        heard = {worker.name for worker in workers(self.cluster.store) if worker.status.ready}
        gone = sorted(
            at
            for name, at in self._away.items()
            if now - at > KNOWN_AFTER_S
            and self._evicted.get(name, now) == now
            and name not in heard
        )
        together = max(
            (sum(start <= at <= start + WINDOW_S / 2 for at in gone) for start in gone), default=0
        )
        if together >= 3 and together > 0.4 * len(self.cluster.machines):
            self._breach(f"a worker was given up at {now:.0f} though {together} are away together")

    def _note_reachability(self, now: float) -> None:
        """Whoever can be heard again still needs a moment until he is: his agent may be waiting for
        an answer that will not come, or pausing before its next try."""
        for name in self.cluster.machines:
            if not self.cluster.is_reachable(name):
                self._away.setdefault(name, now)
                self._back.pop(name, None)
            elif now - self._back.setdefault(name, now) > HEARD_AFTER_S:
                self._away.pop(name, None)

    def _breach(self, text: str) -> None:
        self._breaches.append(text)


def _fits(words: Sequence[str], room: Sequence[int]) -> bool:
    """Whether devices with so much room take what `people` have asked for."""
    asked = dict(word.removeprefix("--").split("=", 1) for word in words)
    need, count = parse_bytes(asked["vram"]), int(asked["devices"])
    if "workers" in asked:
        return False  # one worker alone cannot tell
    if "layers" in asked:
        count = 1  # where one device holds all of it, it surely fits
    return sum(size >= need for size in room) >= count


def _who(handle: Handle) -> tuple[str, str]:
    return handle.instance, handle.placement_id


def _held(placement: Mapping[str, Any]) -> Mapping[str, int]:
    held: Counter[str] = Counter()
    for rank in placement["ranks"]:
        for claim in rank["claims"]:
            held[claim["device"]] += sum(claim["parts"].values())
        held[f"{rank['worker']}:ram"] += sum(rank["ram"].values())
    return held
