"""What may be handed out: one account per device and one for the RAM of each worker.

    free = total − reserved − foreign − Σ held        held = the larger of claim and use

                     claim   use measured          counts as
    placed             ✓     nothing yet           its claim
    loading, ready     ✓     some, then all        its claim; what is over it, too
    leaving            –     until proven gone     what it still holds
    anybody else       –     the rest              foreign

* A *claim* counts from the moment a placement is written until its worker reports without it.
* What engines of ours *use* comes with the usage it is part of (`Usage.engines`), so that a whole
  and its parts are of one moment: an old report knows nothing of a new placement, and its numbers
  neither.
* Where a driver does not tell who holds its memory, `attribution` remembers what was foreign before
  an engine began to load: what has grown since is the engine's, up to its claim. What cannot be
  known counts as foreign: the account errs towards too little being free. Not for ever: an engine
  that is ready holds something, so what was there is believed to be its own when nothing has grown.

Pure. Reads nothing; the caller brings what the store knows and keeps the attributions.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum

from aimindserve.core.device import EMPTY_USAGE, EngineUsage, Inventory, Reserved, Usage
from aimindserve.core.ids import DeviceId, WorkerName
from aimindserve.core.placement import Placement
from aimindserve.core.reason import Reason
from aimindserve.scheduler.base import Snapshot, WorkerView

LOOKS_AT_LEAVING = 3
"""So many measurements an engine that has ended may still be seen to hold device memory, before it
is called foreign: drivers clear up for some seconds. Handed out it is in neither case."""

LOOKS_AT_NOTHING = 3
"""So many measurements an engine that is ready may seem to hold nothing, before what was there is
believed to be its own. Whoever began in the very place of one that ended leaves no other trace."""

STEADY_SHARE = 0.01
"""Of its claim: less is the flicker of what a grown engine holds."""


@dataclass(frozen=True, slots=True)
class Holding:
    """A committed placement. `stopping`: its worker has been told to end it."""

    deployment: str
    placement: Placement
    instance: str = ""
    stopping: bool = False


class Stage(str, Enum):
    """How far what holds memory has come, as last measured."""

    PLACED = "placed"
    """Nothing of it has been measured yet."""
    LOADING = "loading"
    READY = "ready"
    LEAVING = "leaving"
    """It is to end, or has ended and its memory is not proven free."""


@dataclass(frozen=True, slots=True)
class Booking:
    """What one instance holds of one account. Bytes."""

    instance: str
    placement_id: str
    claim: int
    used: int
    """Measured, or inferred where the driver does not tell whose memory is whose."""
    stage: Stage
    sure: bool = True
    """False: nobody could tell this from what others use; it is believed up to the claim."""

    @property
    def held(self) -> int:
        """What nobody else may be promised."""
        return max(self.claim, self.used)


@dataclass(frozen=True, slots=True)
class Account:
    """One device's memory or a worker's RAM, explained. Bytes."""

    total: int
    reserved: int
    foreign: int
    bookings: tuple[Booking, ...] = ()

    @property
    def claimed(self) -> int:
        """All claims of committed placements."""
        return sum(booking.claim for booking in self.bookings)

    @property
    def over(self) -> int:
        """What our engines use beyond their claims."""
        return sum(booking.held - booking.claim for booking in self.bookings)

    @property
    def in_flight(self) -> int:
        """Claims of which nothing, or not all, has been seen in use."""
        unseen = (Stage.PLACED, Stage.LOADING)
        return sum(booking.claim for booking in self.bookings if booking.stage in unseen)

    @property
    def free(self) -> int:
        """What may be handed out; never below zero."""
        return self.free_in_grains(1)

    def free_in_grains(self, grain: int) -> int:
        """As `free`, with what is measured rounded up to whole grains: its flicker is no news."""
        measured = _up(self.foreign, grain) + _up(self.over, grain)
        return max(self.total - self.reserved - self.claimed - measured, 0)


@dataclass(frozen=True, slots=True)
class Accounts:
    """All accounts of one worker."""

    ram: Account
    devices: Mapping[DeviceId, Account]


@dataclass(frozen=True, slots=True)
class Known:
    """What was worked out about one device from one measurement to the next. Bytes."""

    foreign: int = 0
    own: Mapping[str, int] = field(default_factory=dict[str, int])
    """Engine (`_key`) -> what it was found to hold; kept once it was ready."""
    loading: Mapping[str, int] = field(default_factory=dict[str, int])
    """The same of engines that still grow, worked out anew each time."""
    leaving: int = 0
    """What engines that have ended may still hold, as far as it was still seen in use."""
    looks: int = 0
    """How often it was looked for."""
    believed: frozenset[str] = frozenset()
    """Engines in `own` of which nobody knows what was there before them."""
    nothing: Mapping[str, int] = field(default_factory=dict[str, int])
    """Engine that is ready -> how often it seemed to hold nothing, one time after the other."""
    settled: bool = True
    """False: engines were loading, and nothing was known from before. Nothing follows from it."""

    def used(self, engine: EngineUsage | None) -> int:
        """What an engine holds; nothing while there is none."""
        if engine is None:
            return 0
        name = _key(engine)
        return self.own.get(name, self.loading.get(name, 0))

    def is_sure(self, engine: EngineUsage | None) -> bool:
        """Whether what it holds was told, or grew out of what was known."""
        return engine is None or _key(engine) not in self.believed


Attribution = Mapping[DeviceId, Known]
"""By device of one worker. Empty: nothing was known before."""


@dataclass(frozen=True, slots=True)
class Machine:
    """A worker as the store knows it, its newest usage, and what was worked out from that."""

    name: WorkerName
    ready: bool
    cordoned: bool
    inventory: Inventory
    labels: Mapping[str, str] = field(default_factory=dict[str, str])
    usage: Usage = EMPTY_USAGE
    reserved: Reserved = field(default_factory=Reserved)
    service_ports: tuple[int, int] = (40000, 40063)
    python: str = ""
    backends: Mapping[str, tuple[str, ...]] | None = None
    attribution: Attribution | None = None
    """None: work it out from this usage alone."""
    away: Reason | None = None
    """Why it is not ready, where more is known than that."""
    local: bool = False
    """Known by an address that only its own machine can use."""


def snapshot(revision: int, machines: Iterable[Machine], holdings: Iterable[Holding]) -> Snapshot:
    """Every worker with what is free on it, at `revision`."""
    by_worker: dict[WorkerName, list[Holding]] = defaultdict(list)
    for holding in holdings:
        for name in dict.fromkeys(rank.worker for rank in holding.placement.ranks):
            by_worker[name].append(holding)
    ordered = sorted(machines, key=lambda machine: machine.name)
    return Snapshot(revision, tuple(view(each, by_worker[each.name]) for each in ordered))


def view(machine: Machine, holdings: Sequence[Holding], grain: int = 1) -> WorkerView:
    """One worker as the scheduler sees it; `holdings` are those with a rank on it. What is measured
    counts in whole grains."""
    kept = accounts(machine, holdings)
    inventory = machine.inventory
    low, high = machine.service_ports
    ranks = sum(_ranks_here(machine.name, holding) for holding in holdings)
    ram_free = kept.ram.free_in_grains(grain)
    free = {name: account.free_in_grains(grain) for name, account in kept.devices.items()}
    return WorkerView(
        name=machine.name,
        ready=machine.ready,
        cordoned=machine.cordoned,
        os=inventory.os,
        arch=inventory.arch,
        labels=machine.labels,
        ram_bytes=inventory.ram_bytes,
        ram_free_bytes=ram_free,
        devices=inventory.devices,
        device_free_bytes={
            device.id: min(free[device.id], ram_free) if device.unified_memory else free[device.id]
            for device in inventory.devices
        },
        ports_free=max(high - low + 1 - ranks, 0),
        service_ports=machine.service_ports,
        reserved=machine.reserved,
        instances=Counter(holding.deployment for holding in holdings),
        disk_free_bytes=machine.usage.disk_available_bytes // grain * grain or None,
        python=machine.python,
        processor=inventory.cpu_name or inventory.arch,
        backends=machine.backends,
        across=Counter(
            holding.placement.backend for holding in holdings if _is_across(holding.placement)
        ),
        devices_of=_devices_of(machine.name, holdings),
        away=machine.away,
        local=machine.local,
    )


def _devices_of(
    name: WorkerName, holdings: Sequence[Holding]
) -> Mapping[str, tuple[DeviceId, ...]]:
    found: dict[str, tuple[DeviceId, ...]] = {}
    for holding in holdings:
        for rank in holding.placement.ranks:
            if rank.worker == name and rank.claims:
                held = tuple(claim.device for claim in rank.claims)
                found[holding.deployment] = (*found.get(holding.deployment, ()), *held)
    return found


def accounts(machine: Machine, holdings: Sequence[Holding]) -> Accounts:
    """The accounts of one worker; `holdings` are those with a rank on it."""
    known = machine.attribution
    if known is None:
        known = attribution(machine.usage, claims_here(machine.name, holdings), {})
    engines = {engine.placement_id: engine for engine in machine.usage.engines}
    desk = _Desk(machine, holdings, engines)
    devices = {
        device.id: Account(
            total=device.memory_bytes,
            reserved=0 if device.unified_memory else machine.reserved.vram_bytes,
            foreign=known[device.id].foreign if device.id in known else 0,
            bookings=desk.of_device(device.id, known.get(device.id, Known())),
        )
        for device in machine.inventory.devices
    }
    return Accounts(desk.ram(), devices)


Claims = Mapping[str, Mapping[DeviceId, int]]
"""Placement id -> device -> bytes claimed there."""


def claims_here(worker: WorkerName, holdings: Iterable[Holding]) -> Claims:
    """What placements claim of the devices of `worker`."""
    found: dict[str, Mapping[DeviceId, int]] = {}
    for holding in holdings:
        sums: Counter[DeviceId] = Counter()
        for rank in holding.placement.ranks:
            for claim in rank.claims if rank.worker == worker else ():
                sums[claim.device] += claim.memory_bytes
        found[holding.placement.id] = sums
    return found


def attribution(usage: Usage, claims: Claims, before: Attribution) -> Attribution:
    """Whose memory is in use on each device, from a new measurement and what was known before.

    To be asked for every measurement, in order: between two of them an engine may have begun to
    load, and what it takes can only be told from what was there.
    """
    return {
        device.id: _divide(
            device.memory_used_bytes,
            [_seen(engine, device.id, claims) for engine in usage.engines],
            before.get(device.id),
        )
        for device in usage.devices
    }


@dataclass(frozen=True, slots=True)
class _Seen:
    """An engine that was there at the measurement."""

    name: str
    claim: int
    ready: bool
    told: int | None
    """What the driver says it holds; None when it says nothing of it."""


def _key(engine: EngineUsage) -> str:
    """One run of one placement: the next run begins with nothing."""
    return f"{engine.placement_id}/{engine.run}"


def _seen(engine: EngineUsage, device: DeviceId, claims: Claims) -> _Seen:
    claim = claims.get(engine.placement_id, {}).get(device, 0)
    told = next((held for name, held in engine.devices if name == device), None)
    return _Seen(_key(engine), claim, engine.ready, told)


def _divide(used: int, engines: Sequence[_Seen], before: Known | None) -> Known:
    """Divide what is used among our engines, those that have just left, and everybody else."""
    own: dict[str, int] = {}
    unsure: list[_Seen] = []
    believed: set[str] = set()
    for engine in engines:
        if engine.told is not None:
            own[engine.name] = engine.told
        elif before is not None and engine.name in before.own:
            own[engine.name] = before.own[engine.name]
            believed.update({engine.name} & before.believed)
        elif engine.claim:
            unsure.append(engine)
    rest = max(used - sum(own.values()), 0)
    if before is None or not before.settled:
        # Nobody knows what was there before. Who is ready has taken what it wanted; of who still
        # loads nothing is known.
        ready = [engine for engine in unsure if engine.ready]
        shares, rest = _share(rest, ready)
        settled = len(ready) == len(unsure)
        return Known(rest, {**own, **shares}, believed=frozenset(shares), settled=settled)
    foreign = min(before.foreign, rest)
    leaving, looks = _leaving(rest - foreign, engines, before)
    shares, rest = _share(rest - foreign - leaving, unsure)
    nothing = {
        engine.name: before.nothing.get(engine.name, 0) + 1
        for engine in unsure
        if engine.ready and not leaving and shares[engine.name] <= engine.claim * STEADY_SHARE
    }
    late = [each for each in unsure if nothing.get(each.name, 0) > LOOKS_AT_NOTHING]
    if late and foreign:
        claimed, foreign = _share(foreign, late)
        own |= claimed
        believed |= claimed.keys()
        unsure = [engine for engine in unsure if engine.name not in claimed]
    # While one of them still loads, nobody can tell its part from that of the others.
    told_apart = not leaving and all(engine.ready for engine in unsure)
    grown = {
        engine.name
        for engine in unsure
        if told_apart and _is_grown(engine, shares[engine.name], before)
    }
    return Known(
        foreign=foreign + rest,
        own={**own, **{name: share for name, share in shares.items() if name in grown}},
        loading={
            name: share for name, share in shares.items() if name not in grown and name not in own
        },
        leaving=leaving,
        looks=looks,
        believed=frozenset(believed),
        nothing={name: looks for name, looks in nothing.items() if name not in own},
    )


def _is_grown(engine: _Seen, share: int, before: Known) -> bool:
    """Whether an engine has taken what it wanted: it is ready, and holds what it held the last
    time. A driver that lags would have it hold nothing, and what comes next be somebody else's."""
    steady = abs(share - before.loading.get(engine.name, 0)) <= engine.claim * STEADY_SHARE
    return engine.ready and share > 0 and steady


def _share(growth: int, engines: Sequence[_Seen]) -> tuple[dict[str, int], int]:
    """(engine -> bytes, what is left): in proportion to the claims, up to them; something to each
    where there is enough, since an engine holds something. Of engines that came between two
    measurements only the sum is known, and where a driver does not tell, that stays so: when one of
    them ends, what the others hold may be off by what this was."""
    wanted = sum(engine.claim for engine in engines)
    given = min(growth, wanted)
    least = int(given >= len(engines))
    rest, whole = given - least * len(engines), max(wanted - least * len(engines), 1)
    shares = {each.name: least + rest * (each.claim - least) // whole for each in engines}
    # Bytes that cannot be divided, one each, go where rounding took most: never beyond a claim.
    order = sorted(engines, key=lambda each: -(rest * (each.claim - least) % whole))
    for engine in order[: given - sum(shares.values())]:
        shares[engine.name] += 1
    return shares, growth - given


def _leaving(growth: int, engines: Sequence[_Seen], before: Known) -> tuple[int, int]:
    """(bytes that those who have ended still hold, how often that was looked for by now)."""
    present = {engine.name for engine in engines}
    was_own = {**before.own, **before.loading}
    gone = sum(held for name, held in was_own.items() if name not in present)
    looks = 0 if gone else before.looks
    if looks >= LOOKS_AT_LEAVING:
        return 0, looks
    left = min(growth, gone + before.leaving)
    return left, looks + 1 if left else 0


class _Desk:
    """Writes the bookings of one worker's accounts."""

    def __init__(
        self, machine: Machine, holdings: Sequence[Holding], engines: Mapping[str, EngineUsage]
    ) -> None:
        self._machine = machine
        self._engines = engines
        self._holdings = holdings
        self._claims = claims_here(machine.name, holdings)
        held = {holding.placement.id for holding in holdings}
        self._homeless = [engine for name, engine in engines.items() if name not in held]
        """Engines that live, and whose instances nobody knows any more."""

    def of_device(self, device: DeviceId, known: Known) -> tuple[Booking, ...]:
        """Who holds what of a device."""
        bookings = [
            Booking(
                holding.instance,
                holding.placement.id,
                self._claims[holding.placement.id].get(device, 0),
                known.used(self._engines.get(holding.placement.id)),
                self._stage(holding),
                known.is_sure(self._engines.get(holding.placement.id)),
            )
            for holding in self._holdings
        ]
        bookings += [
            Booking(each.instance, each.placement_id, 0, known.used(each), _GOING)
            for each in self._homeless
        ]
        if known.leaving:
            bookings.append(Booking("", "", 0, known.leaving, _GOING))
        return tuple(booking for booking in bookings if booking.held)

    def ram(self) -> Account:
        """Who holds what of the RAM. Devices whose memory it is count here as well."""
        unified = {each.id for each in self._machine.inventory.devices if each.unified_memory}
        bookings = [self._of_ram(holding, unified) for holding in self._holdings]
        bookings += [
            Booking(each.instance, each.placement_id, 0, each.ram_bytes, _GOING)
            for each in self._homeless
        ]
        usage, total = self._machine.usage, self._machine.inventory.ram_bytes
        # What is not available is more than what is called used: shared memory cannot be taken
        # back.
        taken = max(total - usage.ram_available_bytes, 0) if usage.ram_available_bytes else 0
        own = sum(engine.ram_bytes for engine in self._engines.values())
        foreign = max(max(usage.ram_used_bytes, taken) - own, 0)
        held = tuple(booking for booking in bookings if booking.held)
        return Account(total, self._machine.reserved.ram_bytes, foreign, held)

    def _of_ram(self, holding: Holding, unified: set[DeviceId]) -> Booking:
        placement = holding.placement
        here = (rank for rank in placement.ranks if rank.worker == self._machine.name)
        claim = sum(rank.ram.total for rank in here)
        shared = self._claims[placement.id]
        claim += sum(held for device, held in shared.items() if device in unified)
        engine = self._engines.get(placement.id)
        used = 0 if engine is None else engine.ram_bytes
        return Booking(holding.instance, placement.id, claim, used, self._stage(holding))

    def _stage(self, holding: Holding) -> Stage:
        if holding.stopping:
            return _GOING
        engine = self._engines.get(holding.placement.id)
        if engine is None:
            return Stage.PLACED
        return Stage.READY if engine.ready else Stage.LOADING


_GOING = Stage.LEAVING


def _is_across(placement: Placement) -> bool:
    return len({rank.worker for rank in placement.ranks}) > 1


def _ranks_here(name: WorkerName, holding: Holding) -> int:
    return sum(1 for rank in holding.placement.ranks if rank.worker == name)


def _up(size: int, grain: int) -> int:
    return -(-size // grain) * grain
