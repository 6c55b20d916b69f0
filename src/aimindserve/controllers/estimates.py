"""Writes down what engines really take, beside what was predicted, how long they take to start, and
how fast they generate.

    ready engine ─report─▶ good sample? ─▶ estimate of its model, backend, parameters and device
                              └ others' memory cannot be told from its own: no        ▲
    ran out of memory ─▶ its samples are taken back, the next one claims more ────────┘

The only writer of estimates. A run is looked at when it is ready and now and then after that, since
engines allocate late; nothing is written while nothing grows. Bounded: the oldest are forgotten.
"""

import hashlib
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from aimindserve.backends._all import find, refuse, shapes_for
from aimindserve.controllers.asks import options_of
from aimindserve.controllers.base import Done, Later, Wake
from aimindserve.controllers.failures import pause_s, places_short
from aimindserve.controllers.learned import Key, key_of, processor_kind
from aimindserve.controllers.news import News
from aimindserve.controllers.snapshot import GRAIN_BYTES, Snapshots
from aimindserve.controllers.views import (
    Estimate,
    Instance,
    estimates,
    find_estimate,
    find_instance,
    find_model_file,
    find_worker,
    instances,
    placed_on,
)
from aimindserve.core.device import EngineUsage
from aimindserve.core.errors import ConflictError, ExistsError, NotFoundError
from aimindserve.core.ids import DeviceId
from aimindserve.core.measurement import (
    SPEED_TOKENS_MIN,
    Footprint,
    Sample,
    Shortage,
    Speed,
    Start,
)
from aimindserve.core.placement import Placement
from aimindserve.core.reason import Reason
from aimindserve.core.report import InstanceObservation
from aimindserve.core.shape import Shape, kind_of
from aimindserve.kit.clock import Clock
from aimindserve.kit.log import get_logger
from aimindserve.resources.estimate import EstimateSpec, EstimateStatus
from aimindserve.resources.instance import is_ready
from aimindserve.scheduler.estimates import predicted, run_out
from aimindserve.store.base import Draft, Store
from aimindserve.store.leases import Leases

log = get_logger("controllers.estimates")

ESTIMATES_MAX = 2000
WORKED_REQUESTS = 10
"""After so many an engine has allocated what it allocates late."""
SETTLED_S = 30.0
"""Ready for this long: whatever its worker measures now and then has been measured since."""
UNSEEN_LOOK_S = 15.0
"""Ready, and not measured since: the next report but one says more."""
YOUNG_LOOK_S = 30.0
WORKED_LOOK_S = 300.0
_SLUG = re.compile(r"[^a-z0-9]+")


@dataclass(frozen=True, slots=True)
class _Seen:
    """What is known of an instance's run."""

    placement: Placement
    observed: InstanceObservation
    spec: EstimateSpec
    shapes: Callable[[], Sequence[Shape]]
    """The ways to run it by the backend's formulas alone."""

    @property
    def run(self) -> str:
        return f"{self.placement.id}/{self.observed.run}"


class EstimatesController:
    """Key: an instance's name."""

    name = "estimates"

    def __init__(self, store: Store, leases: Leases, clock: Clock, snapshots: Snapshots) -> None:
        self._store = store
        self._leases = leases
        self._clock = clock
        self._snapshots = snapshots
        self._since: dict[str, tuple[str, float]] = {}
        """Instance -> its run, and since when it is known to be ready."""
        self._starting: dict[str, str] = {}
        """Instance -> the placement it was starting in for the first time when seen last."""
        self._started: dict[str, Start] = {}

    def wakes_on(self) -> Mapping[str, Wake]:
        return {"instance": lambda instance: [instance.name]}

    def keys(self) -> Iterable[str]:
        return [each.name for each in instances(self._store) if is_ready(each.status)]

    async def reconcile(self, key: str) -> Done | Later:
        instance = find_instance(self._store, key)
        seen = None if instance is None else self._seen(instance)
        if instance is not None and seen is not None and seen.observed.ooms:
            self._since.pop(key, None)
            await self._run_out(instance, seen)
            return Done()
        if (
            instance is None
            or seen is None
            or instance.spec.stopping
            or not is_ready(instance.status)
        ):
            self._since.pop(key, None)
            self._await_start(key, instance)
            return Done()
        left_s = self._unsettled_s(key, seen)
        if left_s > 0:
            return Later(left_s)
        engines = self._engines(instance, seen)
        if engines is None:
            return Later(UNSEEN_LOOK_S)
        sample = self._sample(seen, engines)
        speed = self._speed(instance, seen)
        await self._write(seen, News(sample, self._started.pop(key, None), speed))
        if sample is None:
            await self._spoil(seen, "foreign")
        young = sample is not None and not sample.worked
        unsure = speed is None or 0 < speed.tokens < SPEED_TOKENS_MIN
        return Later(YOUNG_LOOK_S if young or unsure else WORKED_LOOK_S)

    def _unsettled_s(self, name: str, seen: _Seen) -> float:
        """How long until a run that is ready has been so long enough."""
        now = self._clock.monotonic()
        known = self._since.get(name)
        if known is None or known[0] != seen.run:
            known = self._since[name] = seen.run, now
            self._note_start(name, seen)
        return known[1] + SETTLED_S - now

    def _await_start(self, name: str, instance: Instance | None) -> None:
        """It is not ready: how long that takes can be told of a start that is seen from its
        beginning and works at once, of no other."""
        self._started.pop(name, None)
        self._starting.pop(name, None)
        status = None if instance is None or instance.spec.stopping else instance.status
        if status is None or status.placement is None:
            return
        if status.observed is None or not status.observed.restarts:
            self._starting[name] = status.placement.id

    def _note_start(self, name: str, seen: _Seen) -> None:
        placement, now = seen.placement, self._clock.now()
        awaited = self._starting.pop(name, None) == placement.id
        if awaited and not seen.observed.restarts and placement.placed_at:
            seconds = round(max(now - placement.placed_at, 0.0), 1)
            self._started[name] = Start(placement.id, round(now, 3), seconds)

    def _seen(self, instance: Instance) -> _Seen | None:
        placement, observed = instance.status.placement, instance.status.observed
        if placement is None or observed is None or observed.placement_id != placement.id:
            return None
        worker = find_worker(self._store, placement.worker)
        template = instance.spec.template
        file = find_model_file(self._store, placement.worker, template.model)
        found = None if file is None else file.status.observed
        if worker is None or found is None or found.facts is None:
            return None
        device = self._kind(placement) or processor_kind(worker)
        backend = find(placement.backend)
        if isinstance(backend, Reason):
            return None
        options = options_of(template)
        facts = backend.loads(found.facts, options)
        key: Key = key_of(facts, placement.backend, template, placement.shape, placement.parameters)
        spec = EstimateSpec(
            model=facts.name or str(template.model),
            digest=key.digest,
            backend=key.backend,
            version=key.version,
            shape=key.shape,
            parameters=key.parameters,
            settings=key.settings,
            device=device,
        )
        if refuse(backend, facts, options) is not None:
            return None  # an older version of this program has placed it
        return _Seen(placement, observed, spec, lambda: shapes_for(backend, facts, options))

    def _kind(self, placement: Placement) -> str:
        """The kind of its devices, or the kinds; empty when it has none."""
        names: set[str] = set()
        for rank in placement.ranks:
            worker = find_worker(self._store, rank.worker)
            seen = None if worker is None else worker.status.observed
            claimed = {claim.device for claim in rank.claims}
            for device in () if seen is None else seen.inventory.devices:
                if device.id in claimed:
                    names.add(device.name)
        return kind_of(names)

    def _engines(self, instance: Instance, seen: _Seen) -> Mapping[str, EngineUsage] | None:
        """By worker, what its part of the instance held when it was ready; None while that has not
        been measured everywhere."""
        found: dict[str, EngineUsage] = {}
        for name in placed_on(instance):
            report = self._leases.report(name)
            engines = () if report is None else report.worker.usage.engines
            mine = next((each for each in engines if each.placement_id == seen.placement.id), None)
            main = name == seen.placement.worker
            if mine is None or (main and (not mine.ready or mine.run != seen.observed.run)):
                return None
            found[name] = mine
        return found

    def _sample(self, seen: _Seen, engines: Mapping[str, EngineUsage]) -> Sample | None:
        """What it takes; None when part of it is not told, or not told from what others take."""
        if not all(each.peak_bytes for each in engines.values()):
            return None
        devices: list[int] = []
        for rank in seen.placement.ranks:
            for place, claim in enumerate(rank.claims):
                held = self._held(rank.worker, claim.device, engines[rank.worker], place)
                if held is None:
                    return None
                devices.append(held)
        ram = sum(max(each.peak_bytes, _said(each, "cpu")) for each in engines.values())
        return Sample(
            run=seen.run,
            worker=seen.placement.worker,
            time=round(self._clock.now(), 3),
            taken=Footprint(ram, tuple(devices)),
            worked=max(each.requests for each in engines.values()) >= WORKED_REQUESTS,
            claimed=_predicted(seen),
        )

    def _speed(self, instance: Instance, seen: _Seen) -> Speed | None:
        """What it has generated so far, perhaps nothing; None when its worker has still to ask."""
        worker = seen.placement.worker
        report = self._leases.report(worker)
        told = None if report is None else dict(report.instances).get(instance.name)
        mine = told is not None and (told.placement_id, told.run) == (
            seen.placement.id,
            seen.observed.run,
        )
        if told is None or not mine:
            return Speed(seen.run, worker, 0.0, 0, 0.0)
        if told.generated_tokens is None:
            return None
        now = round(self._clock.now(), 3)
        return Speed(seen.run, worker, now, told.generated_tokens, told.generated_s)

    def _held(self, worker: str, device: DeviceId, engine: EngineUsage, place: int) -> int | None:
        """Bytes on one device: as its driver tells, or, where it does not, what is inferred on a
        device on which nobody else is."""
        told = next((size for name, size in engine.devices if name == device), None)
        if told is not None:
            return max(told, _said(engine, str(place)))
        accounts = self._snapshots.accounts(worker)
        account = None if accounts is None else accounts.devices.get(device)
        if account is None or account.foreign > GRAIN_BYTES or len(account.bookings) != 1:
            return None
        only = account.bookings[0]
        return only.used if only.used and only.sure else None

    async def _write(self, seen: _Seen, news: News) -> None:
        current = find_estimate(self._store, _name(seen.spec))
        before = EstimateStatus() if current is None else current.status
        changes = news.of(before)
        status = before.model_copy(update=changes)
        if changes and current is None:
            await self._create(seen.spec, status)
        elif changes and current is not None:
            await self._replace(current, status)

    async def _spoil(self, seen: _Seen, why: str) -> None:
        """This run says nothing; what was written of it and of its placement is taken back."""
        current = find_estimate(self._store, _name(seen.spec))
        if current is None:
            return
        status = _without(current.status, seen.placement, why)
        if status is not current.status:
            await self._replace(current, status)

    async def _run_out(self, instance: Instance, seen: _Seen) -> None:
        """It ran out of memory: what it seemed to take was not all, and what it claimed too little,
        if nobody else took it. Its claims are in a placement that is not tried again."""
        current = find_estimate(self._store, _name(seen.spec))
        before = EstimateStatus() if current is None else current.status
        shortage = run_out(before.shortage, self._shortage(instance, seen), pause_s)
        if shortage is None:
            return
        status = _without(before, seen.placement, "oom")
        changes = {"shortage": shortage, "predicted": before.predicted or shortage.predicted}
        status = status.model_copy(update=changes)
        if current is None:
            await self._create(seen.spec, status)
        else:
            await self._replace(current, status)
        log.info("estimate.raised", model=seen.spec.model, times=shortage.times)

    def _shortage(self, instance: Instance, seen: _Seen) -> Shortage:
        short = places_short(instance.status)
        ranks = seen.placement.ranks
        ram = sum(rank.ram.total for rank in ranks)
        devices = tuple(
            claim.memory_bytes if claim.device in short else 0
            for rank in ranks
            for claim in rank.claims
        )
        return Shortage(
            placement_id=seen.placement.id,
            time=round(self._clock.now(), 3),
            until=0.0,
            times=1,
            claims=Footprint(ram if f"{seen.placement.worker}:ram" in short else 0, devices),
            predicted=_predicted(seen),
        )

    async def _create(self, spec: EstimateSpec, status: EstimateStatus) -> None:
        await self._make_room()
        try:
            await self._store.create(Draft("estimate", _name(spec), spec, status))
        except ExistsError as error:
            log.debug("estimate.raced", code=error.code)
        else:
            log.info("estimate.made", model=spec.model, shape=spec.shape, device=spec.device)

    async def _replace(self, current: Estimate, status: EstimateStatus) -> None:
        try:
            await self._store.replace(
                "estimate", current.name, revision=current.metadata.revision, status=status
            )
        except (ConflictError, NotFoundError) as error:
            log.debug("estimate.raced", code=error.code)  # the next look says the same again

    async def _make_room(self) -> None:
        listed = estimates(self._store)
        if len(listed) < ESTIMATES_MAX:
            return
        oldest = min(listed, key=_age)
        try:
            await self._store.delete("estimate", oldest.name)
        except NotFoundError as error:
            log.debug("estimate.raced", code=error.code)


def _without(before: EstimateStatus, placement: Placement, why: str) -> EstimateStatus:
    """Without what was written of runs of `placement`; the very same when there is nothing."""
    samples = tuple(e for e in before.samples if not e.run.startswith(f"{placement.id}/"))
    gone = len(before.samples) - len(samples)
    if not gone:
        return before
    changes = {"samples": samples, "rejected": before.rejected + gone, "rejection": why}
    return before.model_copy(update=changes)


def _predicted(seen: _Seen) -> Footprint | None:
    """What its claims are by the formula alone, whatever they were corrected by."""
    placement = seen.placement
    for shape in seen.shapes():
        if (shape.label, shape.parameters) == (placement.shape, placement.parameters):
            return predicted(shape, placement)
    return None


def _age(estimate: Estimate) -> tuple[float, str]:
    status = estimate.status
    known = (*status.samples, *status.starts, *status.speeds)
    newest = max((each.time for each in known), default=0.0)
    return newest, estimate.name


def _said(engine: EngineUsage, place: str) -> int:
    """What the engine itself says it has allocated in a place."""
    return next((size for name, size in engine.reported if name == place), 0)


def _name(spec: EstimateSpec) -> str:
    """A name that is the same for the same question, and that people can tell from others."""
    slug = _SLUG.sub("-", spec.model.lower()).strip("-")[:40].strip("-") or "model"
    return f"{slug}-{hashlib.sha256(spec.model_dump_json().encode()).hexdigest()[:12]}"
