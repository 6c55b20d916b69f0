"""What filters and scorers say of every worker, remembered for asks that are alike.

Replicas of one deployment ask the same question; a placement changes the answer of one worker only.
So each kind of ask is judged once against every worker, and again only where something was placed
since. What no placement can change is asked once for all kinds that ask it alike. Reasons are
worked out when somebody looks at them: most never are.
"""

from collections import Counter
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import replace
from heapq import heapify, heappop, heappush
from typing import Any, NamedTuple, TypeVar

from aimindserve.core.reason import Reason
from aimindserve.core.shape import Shape
from aimindserve.scheduler.base import (
    Ask,
    Filter,
    Gauge,
    Objections,
    Refusal,
    Scorer,
    Screen,
    WorkerView,
)
from aimindserve.scheduler.memo import Steady, kept, kept_of_all, token
from aimindserve.scheduler.pack import way
from aimindserve.scheduler.refusals import refuse
from aimindserve.scheduler.together import apart
from aimindserve.scheduler.world import World

T = TypeVar("T")
Test = tuple[Filter, Screen]


class Judge:
    """Judgements about the workers of one plan."""

    def __init__(self, world: World, filters: Sequence[Filter], scorers: Sequence[Scorer]) -> None:
        self.world = world
        self._lasting = [each for each in filters if hasattr(each, "lasting")]
        self._passing = [each for each in filters if not hasattr(each, "lasting")]
        self._scorers = scorers
        self._kinds: dict[Hashable, Kind] = {}
        self._standings: dict[Hashable, Standing] = {}
        self._known_shapes: dict[int, tuple[tuple[Shape, ...], tuple[Shape, ...]]] = {}
        """By identity of an ask's shapes: they, kept alive, and the equal ones met first."""
        self._shapes: dict[tuple[Shape, ...], tuple[Shape, ...]] = {}

    def kind(self, ask: Ask) -> "Kind":
        """What is known of asks like this one."""
        key = self._key(ask)
        kind = self._kinds.get(key)
        if kind is None:
            sheets = [self._sheet(ask, shape) for shape in ask.shapes]
            kind = self._kinds[key] = Kind(self.world, sheets)
        return kind

    def _sheet(self, ask: Ask, shape: Shape) -> "Sheet":
        key = tuple(getattr(each, "lasting")(ask, shape) for each in self._lasting)  # noqa: B009
        standing = self._standings.get(key)
        if standing is None:
            standing = Standing(ask, shape, _tests(self._lasting, ask, shape), token(key))
            standing.fill(self.world.now)
            self._standings[key] = standing
        return Sheet(ask, shape, standing, _tests(self._passing, ask, shape), self._scorers)

    def _key(self, ask: Ask) -> Hashable:
        """Asks of one kind differ in nothing that a filter or scorer may look at. Mappings go by
        identity: the asks keep them alive, and two equal ones are only judged twice."""
        known = self._known_shapes.get(id(ask.shapes))
        if known is None:  # equal shapes become one object: their hash is worked out once
            known = ask.shapes, self._shapes.setdefault(ask.shapes, ask.shapes)
            self._known_shapes[id(ask.shapes)] = known
        return (
            id(known[1]),
            ask.deployment,
            tuple(sorted(ask.selector.items())),
            ask.device_ids,
            ask.devices_each,
            ask.strategy,
            None if ask.file_workers is None else id(ask.file_workers),
            id(ask.file_at) if ask.file_at else None,
            ask.file_bytes,
            ask.instances_per_worker_max,
            id(ask.failures) if ask.failures else None,
            id(ask.crashes) if ask.crashes else None,
            ask.backend,
            ask.backend_version,
        )


class Standing:
    """Who is refused, or not, whatever is placed."""

    def __init__(self, ask: Ask, shape: Shape, tests: Sequence[Test], mark: object) -> None:
        self._ask = ask
        self._shape = shape
        self._tests = tests
        self._mark = mark
        self.positions: Sequence[int] = ()
        self.there: frozenset[int] = frozenset()
        self._told = token((mark, "reasons"))
        self._all: list[list[Reason]] = []

    def fill(self, workers: Sequence[WorkerView]) -> None:
        """Ask about every worker."""
        mark = self._mark
        passing = kept_of_all(workers, mark, self._passes)
        self.positions = [position for position, passes in enumerate(passing) if passes]
        self.there = frozenset(self.positions)

    def _passes(self, worker: WorkerView) -> bool:
        return all(test(worker) for _, test in self._tests)

    def reasons(self, position: int, worker: WorkerView) -> list[Reason]:
        """Everything lasting that speaks against the worker at `position`."""
        if position in self.there:
            return []
        return kept(worker, self._told, self._against)

    def all_reasons(self, workers: Sequence[WorkerView]) -> Sequence[list[Reason]]:
        """The same for every worker."""
        if not self._all:
            self._all = [[]] * len(workers)
            for position in set(range(len(workers))).difference(self.there):
                self._all[position] = kept(workers[position], self._told, self._against)
        return self._all

    def _against(self, worker: WorkerView) -> list[Reason]:
        return _reasons(self._tests, self._ask, self._shape, worker)


class Sheet:
    """One kind of ask and one of its shapes, judged against every worker."""

    def __init__(
        self,
        ask: Ask,
        shape: Shape,
        standing: Standing,
        tests: Sequence[Test],
        scorers: Sequence[Scorer],
    ) -> None:
        self.ask = ask
        self.shape = shape
        self.scorers = scorers
        self.way = way(ask, shape)
        self.results: list[float | None] = []
        """Per worker its score; None where a filter refuses it."""
        self.failed_moment: int | None = None
        """When no workers together would do: until something changes they still do not."""
        self._standing = standing
        self._tests = tests
        self._gauges = _gauges(scorers, ask, shape)
        self._ranking: list[tuple[float, int]] = []
        self._moment = 0
        self._reasons: dict[int, tuple[WorkerView, Reason]] = {}

    def refresh(self, world: World) -> "Sheet":
        """Judge what changed since it was last done, or everything the first time."""
        if not self.results:
            self._fill(world)
        elif self._moment != world.moment:
            there = self._standing.there
            for position in world.changed(self._moment, world.moment):
                if position in there:
                    self._put(position, self._judge(world.now[position]))
        self._moment = world.moment
        return self

    def best(self) -> int | None:
        """The position of the highest score, the first of equals, if there is any."""
        ranking, results = self._ranking, self.results
        while ranking:
            score, position = ranking[0]
            if results[position] == -score:
                return position
            heappop(ranking)  # no longer true
        return None

    def ranked(self) -> list[int]:
        """Positions of all workers that will do, the best first."""
        scored = [
            (-score, position) for position, score in enumerate(self.results) if score is not None
        ]
        return [position for _, position in sorted(scored)]

    def passing_but(self, name: str, workers: Sequence[WorkerView]) -> list[WorkerView]:
        """Those of all `workers` that no filter refuses, or only the one called `name`."""
        found = [workers[position] for position in self._standing.positions]
        for each, test in self._tests:
            if each.name != name:
                found = [worker for worker in found if test(worker)]
        return found

    def refusing_all(self, world: World) -> list[list[Filter]]:
        """The filters that refuse each worker as it is now."""
        count = len(world.now)
        refused = [0] * count  # a bit for each test
        for index, (_, test) in enumerate(self._tests):
            passing = _sift(test, world, range(count))
            if len(passing) == count:
                continue
            bit = 1 << index
            for position in set(range(count)).difference(passing):
                refused[position] |= bit
        known = {
            bits: [each for index, (each, _) in enumerate(self._tests) if bits >> index & 1]
            for bits in set(refused)
        }
        return [known[bits] for bits in refused]

    def refusing(self, worker: WorkerView) -> list[Filter]:
        """The filters that refuse a worker as it is now."""
        return [each for each, test in self._tests if not test(worker)]

    def lasting_all(self, world: World) -> Sequence[list[Reason]]:
        """What speaks against each worker whatever is placed."""
        return self._standing.all_reasons(world.now)

    def lasting(self, position: int, worker: WorkerView) -> list[Reason]:
        """What speaks against a worker whatever is placed."""
        return self._standing.reasons(position, worker)

    def reason(self, position: int, worker: WorkerView) -> Reason:
        """The first thing that speaks against a worker that is refused."""
        lasting = self._standing.reasons(position, worker)
        if lasting:
            return lasting[0]
        known = self._reasons.get(position)
        if known is None or known[0] is not worker:
            found = _reasons(self._tests, self.ask, self.shape, worker, most=1)
            known = self._reasons[position] = (worker, found[0] if found else Reason("unknown"))
        return known[1]

    def _fill(self, world: World) -> None:
        workers = world.now
        passing = self._standing.positions
        # All must agree, so the order is free: those with a quick way leave few for the others.
        for _, test in sorted(self._tests, key=lambda each: not hasattr(each[1], "sift")):
            passing = _sift(test, world, passing)
        self.results = [None] * len(workers)
        scores = [0.0] * len(passing)
        for weight, gauge in self._gauges:  # in the same order as `_score`: floats are not exact
            if isinstance(gauge, Steady):
                column = world.column(gauge.key, gauge.of)
                scores = [
                    score + weight * column[position]
                    for score, position in zip(scores, passing, strict=True)
                ]
            else:
                scores = [
                    score + weight * gauge(workers[position])
                    for score, position in zip(scores, passing, strict=True)
                ]
        for position, score in zip(passing, scores, strict=True):
            self.results[position] = score
        self._ranking = [
            (-score, position) for position, score in zip(passing, scores, strict=True)
        ]
        heapify(self._ranking)

    def _put(self, position: int, score: float | None) -> None:
        if score is not None and score != self.results[position]:
            heappush(self._ranking, (-score, position))
        self.results[position] = score

    def _judge(self, worker: WorkerView) -> float | None:
        for _, test in self._tests:
            if not test(worker):
                return None
        return self._score(worker)

    def _score(self, worker: WorkerView) -> float:
        total = 0.0
        for weight, gauge in self._gauges:
            total += weight * gauge(worker)
        return total


class Kind:
    """Everything known of asks that are alike."""

    def __init__(self, world: World, sheets: Sequence[Sheet]) -> None:
        self.world = world
        self.sheets = sheets
        self._against: list[_Against] = []
        self._refusal: Refusal | None = None
        self._moment = 0
        self._once: dict[str, tuple[int, Any]] = {}

    def refusal(self, ask: Ask, moment: int) -> Refusal:
        """Why no worker would do at `moment`."""
        world = self.world
        if self._refusal is None or moment < self._moment:
            self._refusal = None
            self._against = self._all_objections(moment)
        else:
            for position in world.changed(self._moment, moment):
                self._refusal = None
                self._against[position] = self._objections(position, world.at(position, moment))
        self._moment = moment
        if self._refusal is None:
            self._refusal = refuse(ask, len(world.now), self._flat())
        return _named(self._refusal, ask.instance)

    def once(self, key: str, moment: int, work: Callable[[], T]) -> T:
        """`work`, whose result is kept until something else is asked for or has changed."""
        known = self._once.get(key)
        if known is None or known[0] != moment:
            known = self._once[key] = (moment, work())
        return known[1]

    def _flat(self) -> Objections:
        could = Counter(id(each.sheet) for each in self._against if not each.reasons)
        odd = self._apart()
        return tuple(
            (worker.name, reason)
            for worker, each in zip(self.world.now, self._against, strict=True)
            for reason in (
                *(each.reasons or _not_together(worker, each.sheet, could)),
                *odd.get(worker.name, ()),
            )
        )

    def _apart(self) -> Mapping[str, Sequence[Reason]]:
        """Worker -> what besides memory keeps it from taking part in a cut over several workers."""
        spread = next((each for each in self.sheets if _is_spread(each.shape)), None)
        if spread is None:
            return {}
        found = apart(spread.ask, spread.shape, self.world.now)
        return {worker: (reason,) for worker, reason in found.items()}

    def _all_objections(self, moment: int) -> "list[_Against]":
        world = self.world
        if moment != world.moment:
            then = world.all_at(moment)
            return [self._objections(position, worker) for position, worker in enumerate(then)]
        columns = [(sheet.lasting_all(world), sheet.refusing_all(world)) for sheet in self.sheets]
        return [
            self._closest(worker, [(first[place], then[place]) for first, then in columns])
            for place, worker in enumerate(world.now)
        ]

    def _objections(self, position: int, worker: WorkerView) -> "_Against":
        against = [
            (sheet.lasting(position, worker), sheet.refusing(worker)) for sheet in self.sheets
        ]
        return self._closest(worker, against)

    def _closest(
        self, worker: WorkerView, against: Sequence[tuple[list[Reason], list[Filter]]]
    ) -> "_Against":
        """Everything that speaks against the worker, not only the first thing found: of the shape
        with the fewest; the last of equals, which needs least. `against`: by sheet, what lasts and
        the filters that refuse besides."""
        if not against:
            return _Against(None, [])
        counts = [len(first) + len(then) for first, then in against]
        index = len(counts) - 1 - counts[::-1].index(min(counts))
        closest, (lasting, passing) = self.sheets[index], against[index]
        given = [each.reject(closest.ask, closest.shape, worker) for each in passing]
        return _Against(closest, lasting + [reason for reason in given if reason is not None])


class _Against(NamedTuple):
    sheet: Sheet | None
    reasons: list[Reason]
    """None: it could take a part of what needs several workers."""


class Judged:
    """What one decision saw (`base.Judgements`)."""

    def __init__(self, kind: Kind, sheet: Sheet | None, ask: Ask) -> None:
        self._kind = kind
        self._sheet = sheet
        self._ask = ask
        self._moment = kind.world.moment
        self._scores = () if sheet is None else tuple(sheet.results)
        self._refusal: Refusal | None = None

    @property
    def workers(self) -> Sequence[WorkerView]:
        return () if self._sheet is None else self._kind.world.all_at(self._moment)

    @property
    def results(self) -> tuple[float | Reason, ...]:
        sheet = self._sheet
        if sheet is None:
            return ()
        world, moment = self._kind.world, self._moment
        return tuple(
            sheet.reason(position, world.at(position, moment)) if score is None else score
            for position, score in enumerate(self._scores)
        )

    @property
    def refusal(self) -> Refusal:
        if self._refusal is None:
            self._refusal = self._kind.refusal(self._ask, self._moment)
        return self._refusal

    def passing_but(self, name: str) -> Sequence[tuple[Shape, Sequence[WorkerView]]]:
        workers = self.workers
        return [(sheet.shape, sheet.passing_but(name, workers)) for sheet in self._kind.sheets]

    def once(self, key: str, work: Callable[[], T]) -> T:
        return self._kind.once(key, self._moment, work)

    def score(self, position: int) -> float | None:
        return self._scores[position]

    def parts(self, position: int) -> Mapping[str, float]:
        sheet = self._sheet
        if sheet is None:
            return {}
        worker = self._kind.world.at(position, self._moment)
        return {each.name: each.score(sheet.ask, sheet.shape, worker) for each in sheet.scorers}


def _not_together(worker: WorkerView, sheet: Sheet | None, could: Counter[int]) -> Sequence[Reason]:
    """What keeps those apart that could take a part each."""
    if sheet is None:
        return ()
    wanted = len(sheet.shape.ranks)
    params = {"worker": worker.name, "found": could[id(sheet)], "wanted": wanted}
    same = could[id(sheet)] >= wanted
    return (Reason("unlike_workers" if same else "too_few_workers", params),)


def _is_spread(shape: Shape) -> bool:
    return shape.layers is not None and shape.layers.remote_max > 0


def _tests(filters: Sequence[Filter], ask: Ask, shape: Shape) -> Sequence[Test]:
    found: list[Test] = []
    for each in filters:
        screening = getattr(each, "screen", None)
        test = _slow_test(each, ask, shape) if screening is None else screening(ask, shape)
        if test is not None:
            found.append((each, test))
    return found


def _sift(test: Screen, world: World, positions: Sequence[int]) -> Sequence[int]:
    """Those of `positions` that pass; some tests have a quick way for many."""
    sift = getattr(test, "sift", None)
    if sift is not None:
        return sift(world, positions)
    workers = world.now
    return [position for position in positions if test(workers[position])]


def _slow_test(each: Filter, ask: Ask, shape: Shape) -> Screen:
    return lambda worker: each.reject(ask, shape, worker) is None


def _reasons(
    tests: Sequence[Test], ask: Ask, shape: Shape, worker: WorkerView, most: int = 99
) -> list[Reason]:
    found: list[Reason] = []
    for each, test in tests:
        reason = None if test(worker) else each.reject(ask, shape, worker)
        if reason is not None:
            found.append(reason)
            if len(found) >= most:
                break
    return found


def _gauges(scorers: Sequence[Scorer], ask: Ask, shape: Shape) -> Sequence[tuple[float, Gauge]]:
    found: list[tuple[float, Gauge]] = []
    for each in scorers:
        preparing = getattr(each, "prepare", None)
        gauge = _slow_gauge(each, ask, shape) if preparing is None else preparing(ask, shape)
        if gauge is not None:
            found.append((each.weight, gauge))
    return found


def _slow_gauge(each: Scorer, ask: Ask, shape: Shape) -> Gauge:
    return lambda worker: each.score(ask, shape, worker)


def _named(refusal: Refusal, instance: str) -> Refusal:
    """The refusal of another ask of the kind: only its name is another."""
    summary = refusal.summary
    if summary.params.get("name", instance) == instance:
        return refusal
    return replace(refusal, summary=replace(summary, params={**summary.params, "name": instance}))
