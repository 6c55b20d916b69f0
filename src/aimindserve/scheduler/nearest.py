"""How close a refused ask came: the device, the worker and the workers together that miss least.

Told of places that nothing but memory speaks against. What is said to be missing is true: with that
much more free there, and nothing else changed, the scheduler places the ask; each was tried on it.

    device        one that would hold all of it
    worker        its devices and its RAM
    combination   several workers, for what can span them
    ram           where no shape could take a device
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from heapq import nsmallest
from itertools import groupby
from typing import Any, NamedTuple

from aimindserve.core.device import Need
from aimindserve.core.placement import Placement
from aimindserve.core.shape import Shape
from aimindserve.scheduler.base import Ask, Snapshot, WorkerView
from aimindserve.scheduler.pack import way
from aimindserve.scheduler.packing.layers import Model
from aimindserve.scheduler.plan import plan
from aimindserve.scheduler.room import Pool, pools, rule
from aimindserve.scheduler.together import can_lend, version

TRIED = 3
"""Of each level so many are tried on the scheduler: those that seem to miss least."""
SPREAD_MAX = 16
"""Workers that are looked at for a cut over several of them."""
PRECISION = 20
"""A search ends within one part in 2 to the power of this; never below the truth."""
Missing = Mapping[str, int]
"""What would have to be free in addition: device id, or `<worker>:ram` -> bytes."""


@dataclass(frozen=True, slots=True)
class Candidate:
    """A shape, and the workers that nothing but memory speaks against."""

    shape: Shape
    workers: Sequence[WorkerView]
    others: Sequence[WorkerView] = ()
    """Workers that could lend it devices, with what they have of the model or without."""


class _Missed(NamedTuple):
    """What workers, each with the devices that are meant, miss."""

    workers: tuple[WorkerView, ...]
    missing: Missing


class _Wish(NamedTuple):
    """What a shape needs, worked out once. Bytes."""

    needs: tuple[int, ...]
    """Of its devices, the largest first; none for a cut between layers."""
    ram: int
    whole: int
    """Of all devices together; of a cut, what must be on devices of it."""


@dataclass(frozen=True, slots=True)
class _Guess:
    """A place that may be the nearest."""

    shape: Shape
    workers: tuple[WorkerView, ...]
    size: int
    """What it seems to miss, in bytes."""
    work: "Callable[[], _Missed | None]"
    """What it truly misses; None when more memory would not help."""

    @property
    def order(self) -> tuple[int, str]:
        return self.size, self.workers[0].name


def nearest(ask: Ask, candidates: Sequence[Candidate]) -> dict[str, Any]:
    """What misses least, by level; levels that no shape can use are left out."""
    candidates = [each for candidate in candidates for each in _by_kind(candidate)]
    levels: dict[str, Iterator[_Guess]] = {
        "device": _devices(ask, candidates),
        "worker": _workers(ask, candidates),
        "combination": _combinations(ask, candidates),
    }
    told = {name: _best(ask, guesses) for name, guesses in levels.items()}
    if not any(told.values()):
        told["ram"] = _best(ask, _rams(candidates))
    return {name: each for name, each in told.items() if each is not None}


def _by_kind(candidate: Candidate) -> Iterator[Candidate]:
    """A shape that needs more or less by the kind of device, as it is on the devices there."""
    shape = candidate.shape
    if not shape.kinds:
        yield candidate
        return
    groups: dict[frozenset[str], list[WorkerView]] = {}
    for worker in candidate.workers:
        groups.setdefault(_kinds(shape, worker), []).append(worker)
    if shape.across or (shape.layers is not None and shape.layers.remote_max):
        every = frozenset(name for names in groups for name in names)
        yield replace(candidate, shape=shape.over(every))
        return
    for names, workers in groups.items():
        yield Candidate(shape.over(names), workers)


def _kinds(shape: Shape, worker: WorkerView) -> frozenset[str]:
    if not shape.takes_devices:
        return frozenset({worker.processor})
    return frozenset(device.name for device in worker.devices)


def granted(worker: WorkerView, missing: Missing) -> WorkerView:
    """The worker with so much more free. Where a device's memory is the host's, so is the rest."""
    free = dict(worker.device_free_bytes)
    ram = worker.ram_free_bytes + missing.get(_ram(worker), 0)
    for device in worker.devices:
        more = missing.get(device.id, 0)
        free[device.id] = free.get(device.id, 0) + more
        ram += more if device.unified_memory else 0
    return replace(worker, device_free_bytes=free, ram_free_bytes=ram)


def _best(ask: Ask, guesses: Iterator[_Guess]) -> dict[str, Any] | None:
    """The least of those that the scheduler agrees to."""
    found: list[tuple[int, str, dict[str, Any]]] = []
    for guess in nsmallest(TRIED, guesses, key=lambda each: each.order):
        missed = guess.work()
        placement = None if missed is None else _try(ask, guess.shape, *missed)
        if missed is not None and placement is not None:
            told = _told(guess.shape, *missed, placement)
            found.append((told["missing_bytes"], told["name"], told))
    return min(found, key=lambda each: each[:2])[2] if found else None


def _try(
    ask: Ask, shape: Shape, workers: Sequence[WorkerView], missing: Missing
) -> Placement | None:
    given = tuple(granted(worker, missing) for worker in workers)
    return plan(Snapshot(0, given), [replace(ask, shapes=(shape,))]).placements.get(ask.instance)


def _told(
    shape: Shape, workers: Sequence[WorkerView], missing: Missing, placement: Placement
) -> dict[str, Any]:
    """In numbers: what the places it would use must hold, have free, and miss."""
    homes = {worker.name: worker for worker in workers}
    used: dict[str, tuple[int, int]] = {}
    for rank in placement.ranks:
        home = homes[rank.worker]
        for claim in rank.claims:
            free = home.device_free_bytes.get(claim.device, 0)
            used[claim.device] = (claim.memory_bytes, free)
        if not rank.claims or _ram(home) in missing:
            used[_ram(home)] = (rank.ram.total, home.ram_free_bytes)
    names = list(dict.fromkeys(rank.worker for rank in placement.ranks))
    return {
        "name": next(iter(used)) if len(used) == 1 else ", ".join(names),
        "workers": names,
        "shape": shape.label,
        "need_bytes": sum(need for need, _ in used.values()),
        "free_bytes": sum(free for _, free in used.values()),
        "missing_bytes": sum(missing.values()),
        "missing": dict(sorted(missing.items())),
    }


def _devices(ask: Ask, candidates: Sequence[Candidate]) -> Iterator[_Guess]:
    """One device of a worker, as if it had no other."""
    for each in candidates:
        shape = each.shape
        if not shape.takes_devices or shape.across or way(ask, shape).count > 1:
            continue
        wish = _wish(shape)
        for worker in each.workers:
            for pool in _pools(ask, shape, worker):
                size = max(wish.whole - pool.most[0], 0) + max(wish.ram - worker.ram_free_bytes, 0)
                yield _Guess(shape, (worker,), size, partial(_of_one, ask, shape, worker, pool))


def _of_one(ask: Ask, shape: Shape, worker: WorkerView, pool: Pool) -> _Missed | None:
    emptiest = pool.devices[pool.order[0]]
    alone = replace(worker, devices=(emptiest,))
    guess = next(_on_worker(ask, shape, _wish(shape), alone), None)
    return None if guess is None else guess.work()


def _workers(ask: Ask, candidates: Sequence[Candidate]) -> Iterator[_Guess]:
    for each in candidates:
        if each.shape.takes_devices and not each.shape.across:
            wish = _wish(each.shape)
            for worker in each.workers:
                yield from _on_worker(ask, each.shape, wish, worker)


def _combinations(ask: Ask, candidates: Sequence[Candidate]) -> Iterator[_Guess]:
    for each in candidates:
        if each.shape.across:
            yield from _across(ask, each)
        elif each.shape.layers is not None and each.shape.layers.remote_max:
            yield from _spread(ask, each)


def _rams(candidates: Sequence[Candidate]) -> Iterator[_Guess]:
    for each in candidates:
        if each.shape.takes_devices or each.shape.across:
            continue
        need = sum(rank.ram.total for rank in each.shape.ranks)
        for worker in each.workers:
            more = need - worker.ram_free_bytes
            if more > 0:
                yield _known(each.shape, (worker,), {_ram(worker): more})


def _on_worker(ask: Ask, shape: Shape, wish: _Wish, worker: WorkerView) -> Iterator[_Guess]:
    for pool in _pools(ask, shape, worker):
        if shape.layers is not None:
            size = max(wish.whole - sum(pool.most), 0)
            yield _Guess(shape, (worker,), size, partial(_of_pool, ask, shape, worker, pool))
        elif len(pool.devices) >= len(wish.needs):
            missing = _paired(shape, wish, worker, pool)
            work = partial(_trimmed, ask, shape, wish, worker, missing)
            yield _Guess(shape, (worker,), sum(missing.values()), work)


def _of_pool(ask: Ask, shape: Shape, worker: WorkerView, pool: Pool) -> _Missed | None:
    return _raised(ask, shape, (replace(worker, devices=pool.devices),))


def _paired(shape: Shape, wish: _Wish, worker: WorkerView, pool: Pool) -> dict[str, int]:
    """Each need beside the device that misses least of it, the largest need first."""
    missing: dict[str, int] = {}
    left = list(pool.order)
    shared = 0
    for need in wish.needs:
        at = 0
        if not (pool.alike or not shape.device_fraction):
            at = min(
                range(len(left)),
                key=lambda at: max(_wanted(shape, pool, left[at], need) - pool.free[left[at]], 0),
            )
        place = left.pop(at)
        wanted = _wanted(shape, pool, place, need)
        gap = max(wanted - pool.free[place], 0)
        if gap:
            missing[pool.devices[place].id] = gap
        shared += wanted - gap if pool.unified else 0
    more = wish.ram + shared - worker.ram_free_bytes
    if more > 0:
        missing[_ram(worker)] = more
    return missing


def _trimmed(ask: Ask, shape: Shape, wish: _Wish, worker: WorkerView, missing: Missing) -> _Missed:
    """`missing`, less what another pairing would save: uneven needs on devices of unlike sizes, of
    which the engine takes a share."""
    homes = (worker,)
    if not shape.device_fraction or len(set(wish.needs)) < 2:
        return _Missed(homes, missing)
    fits = way(ask, shape).fits
    for place in list(missing) if fits(granted(worker, missing)) else ():
        missing = _lowered(missing, place, lambda tried: fits(granted(worker, tried)))
    return _Missed(homes, {place: size for place, size in missing.items() if size})


def _wanted(shape: Shape, pool: Pool, place: int, need: int) -> int:
    """What must be free there: engines that take a share of a device find no less."""
    return max(need, int(pool.devices[place].memory_bytes * shape.device_fraction))


def _across(ask: Ask, candidate: Candidate) -> Iterator[_Guess]:
    """The workers that miss least of a rank each, of one Python and one type of device."""
    shape = candidate.shape
    kinds = {pool.type for worker in candidate.workers for pool in _pools(ask, shape, worker)}
    by_python = sorted(candidate.workers, key=lambda worker: worker.python)
    for _, together in groupby(by_python, key=lambda worker: worker.python):
        group = list(together)
        for kind in sorted(kinds):
            chosen = _each_rank(ask, shape, group, kind)
            if chosen is not None:
                homes = tuple(worker for worker, _ in chosen)
                missing = {place: size for _, each in chosen for place, size in each.items()}
                yield _known(shape, homes, missing)


def _each_rank(
    ask: Ask, shape: Shape, group: Sequence[WorkerView], kind: str
) -> list[tuple[WorkerView, Missing]] | None:
    of_kind = replace(shape.requirement, device_types=(kind,))
    answers: dict[Need, list[tuple[int, WorkerView, Missing]]] = {}
    for need in dict.fromkeys(shape.ranks):
        alone = replace(shape, ranks=(need,), requirement=of_kind, across=False)
        wish = _wish(alone)
        answers[need] = sorted(
            (
                (sum(missing.values()), worker, missing)
                for worker in group
                if _is_whole(ask, shape, need, worker)
                for pool in _pools(ask, alone, worker)
                if len(pool.devices) >= len(wish.needs)
                for missing in (_paired(alone, wish, worker, pool),)
            ),
            key=lambda each: (each[0], each[1].name),
        )
    chosen: dict[str, tuple[WorkerView, Missing]] = {}
    for need in sorted(shape.ranks, key=lambda each: -sum(part.total for part in each.devices)):
        found = next((each for each in answers[need] if each[1].name not in chosen), None)
        if found is None:
            return None
        chosen[found[1].name] = found[1:]
    return list(chosen.values())


def _is_whole(ask: Ask, shape: Shape, need: Need, worker: WorkerView) -> bool:
    if not shape.whole_workers or ask.device_ids:
        return True
    kinds = rule(ask, shape).types
    return len(need.devices) == sum(not kinds or each.type in kinds for each in worker.devices)


def _spread(ask: Ask, candidate: Candidate) -> Iterator[_Guess]:
    """Of each version of the engine the worker with most room, and those like it that could lend it
    the most."""
    shape = candidate.shape

    def room(worker: WorkerView) -> tuple[int, str]:
        found = _pools(ask, shape, worker)
        return -max((sum(pool.free) for pool in found), default=0), worker.name

    usable = [each for each in candidate.workers if each.ram_free_bytes >= shape.ranks[0].ram.total]
    mains = {version(ask, shape, each): each for each in sorted(usable, key=room, reverse=True)}
    for main in mains.values():
        others = [
            each
            for each in candidate.others
            if each.name != main.name and can_lend(ask, shape, main, each)
        ]
        lend = nsmallest(SPREAD_MAX - 1, (w for w in others if _pools(ask, shape, w)), key=room)
        if lend:
            homes = (main, *lend)
            yield _Guess(shape, homes, 0, partial(_raised, ask, shape, homes))


def _raised(ask: Ask, shape: Shape, workers: tuple[WorkerView, ...]) -> _Missed | None:
    """What a cut between layers misses: devices are emptied, the emptiest first, until it fits;
    then no more is emptied than that takes."""

    def fits(missing: Missing) -> bool:
        if len(workers) == 1:
            return way(ask, shape).fits(granted(workers[0], missing))
        return _try(ask, shape, workers, missing) is not None

    host = [parts.total for parts in shape.layers.host] if shape.layers is not None else []
    missing = {_ram(workers[0]): shape.ranks[0].ram.total + sum(host)}
    spots = [
        (pool.free[place], pool.devices[place])
        for worker in workers
        for pool in _pools(ask, shape, worker)
        for place in pool.order
    ]
    spots.sort(key=lambda spot: (-spot[0], spot[1].id))
    for free, device in spots:
        if fits(missing):
            break
        missing[device.id] = max(device.memory_bytes - free, 0)
    if spots and shape.layers is not None and not fits(missing):  # larger than all of it
        missing[spots[0][1].id] += Model(shape.layers).total(1)
    if not fits(missing):
        return None
    for place in reversed(missing):
        missing = _lowered(missing, place, fits)
    return _Missed(workers, {place: size for place, size in missing.items() if size})


def _lowered(missing: Missing, place: str, fits: Callable[[Missing], bool]) -> dict[str, int]:
    """The same with no more at `place` than it takes."""
    low, high = -1, missing[place]
    grain = high >> PRECISION
    while high - low > 1 + grain:
        middle = (low + high) // 2
        low, high = (low, middle) if fits({**missing, place: middle}) else (middle, high)
    return {**missing, place: high}


def _known(shape: Shape, workers: tuple[WorkerView, ...], missing: Missing) -> _Guess:
    missed = _Missed(workers, missing)
    return _Guess(shape, workers, sum(missing.values()), lambda: missed)


def _wish(shape: Shape) -> _Wish:
    ram = sum(rank.ram.total for rank in shape.ranks)
    if shape.layers is None:
        needs = sorted((each.total for rank in shape.ranks for each in rank.devices), reverse=True)
        return _Wish(tuple(needs), ram, sum(needs))
    model = Model(shape.layers)
    return _Wish((), ram, model.total(1) if model.full else model.smallest)


def _pools(ask: Ask, shape: Shape, worker: WorkerView) -> tuple[Pool, ...]:
    """Devices that may be used, with or without room."""
    return pools(worker, rule(ask, shape)._replace(fraction=0.0))


def _ram(worker: WorkerView) -> str:
    return f"{worker.name}:ram"
