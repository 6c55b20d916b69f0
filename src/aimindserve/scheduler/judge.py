"""What filters and scorers say of every worker, remembered for asks that are alike.

Replicas of one deployment ask the same question; a placement changes the answer of one worker only.
So each kind of ask is judged once against every worker, and again only where something was placed
since: 500 asks on 1,000 workers cost little more than 500 + 1,000 judgements per kind.
"""

from collections.abc import Hashable, Mapping, Sequence
from heapq import heappop, heappush

from aimindserve.core.ids import WorkerName
from aimindserve.core.reason import Reason
from aimindserve.core.shape import Shape
from aimindserve.scheduler.base import Ask, Filter, Scorer, WorkerView

Result = float | Reason


class Judge:
    """Holds the workers as they are while a plan is made, and the judgements about them."""

    def __init__(
        self, workers: Sequence[WorkerView], filters: Sequence[Filter], scorers: Sequence[Scorer]
    ) -> None:
        self.workers = list(workers)
        self.names = tuple(worker.name for worker in workers)
        self._rejects = [each.reject for each in filters]
        self._scores = [(each.weight, each.score) for each in scorers]
        self._sheets: dict[Hashable, _Sheet] = {}
        self._cases: dict[Hashable, _Case] = {}
        self._changes: list[int] = []

    def results(self, ask: Ask, index: int) -> tuple[Sequence[Result], int | None]:
        """Per worker, in their order: the score for the ask's shape number `index`, or why not; and
        the position of the best, the first of equals, if there is any."""
        key = (_kind(ask), index)
        sheet = self._sheets.get(key)
        if sheet is None:
            sheet = self._sheets[key] = _Sheet(len(self.workers))
            stale: Sequence[int] = range(len(self.workers))
        else:
            stale = sorted(set(self._changes[sheet.seen :]))
        shape = ask.shapes[index]
        for position in stale:
            sheet.put(position, self._judge(ask, shape, self.workers[position]))
        sheet.seen = len(self._changes)
        return sheet.results, sheet.best()

    def objections(self, ask: Ask) -> tuple[tuple[WorkerName, Reason], ...]:
        """Everything that speaks against every worker, not only the first thing found: the reasons
        of the shape that comes closest there."""
        key = _kind(ask)
        case = self._cases.get(key)
        if case is None:
            case = self._cases[key] = _Case(len(self.workers))
            stale: Sequence[int] = range(len(self.workers))
        else:
            stale = sorted(set(self._changes[case.seen :]))
        for position in stale:
            worker = self.workers[position]
            case.reasons[position] = [
                (worker.name, reason) for reason in self._closest(ask, worker)
            ]
        if stale:
            case.flat = tuple(entry for entries in case.reasons for entry in entries)
        case.seen = len(self._changes)
        return case.flat

    def change(self, position: int, worker: WorkerView) -> None:
        """The worker at `position` is now so."""
        self.workers[position] = worker
        self._changes.append(position)

    def _closest(self, ask: Ask, worker: WorkerView) -> Sequence[Reason]:
        """The reasons of the shape with the fewest; the last of equals, which needs least."""
        closest: Sequence[Reason] | None = None
        for shape in ask.shapes:
            given = (reject(ask, shape, worker) for reject in self._rejects)
            reasons = [reason for reason in given if reason is not None]
            if closest is None or len(reasons) <= len(closest):
                closest = reasons
        return closest or ()

    def _judge(self, ask: Ask, shape: Shape, worker: WorkerView) -> Result:
        # The innermost loop of the scheduler: asked some hundred thousand times for a plan.
        for reject in self._rejects:
            reason = reject(ask, shape, worker)
            if reason is not None:
                return reason
        total = 0.0
        for weight, score in self._scores:
            total += weight * score(ask, shape, worker)
        return total


class _Sheet:
    """The judgements of one kind of ask; `seen` counts the changes that are in them."""

    def __init__(self, size: int) -> None:
        self.results: list[Result] = [0.0] * size
        self.seen = 0
        self._ranking: list[tuple[float, int]] = []

    def put(self, position: int, result: Result) -> None:
        """What is now said of the worker at `position`."""
        self.results[position] = result
        if isinstance(result, float):
            heappush(self._ranking, (-result, position))

    def best(self) -> int | None:
        """The position of the highest score; entries that are no longer true are dropped."""
        while self._ranking:
            score, position = self._ranking[0]
            if self.results[position] == -score:
                return position
            heappop(self._ranking)
        return None


class _Case:
    """What speaks against each worker for one kind of ask."""

    def __init__(self, size: int) -> None:
        self.reasons: list[list[tuple[WorkerName, Reason]]] = [[] for _ in range(size)]
        self.flat: tuple[tuple[WorkerName, Reason], ...] = ()
        self.seen = 0


def _kind(ask: Ask) -> Hashable:
    """Asks of one kind differ in nothing that a filter or scorer may look at. The mapping of files
    goes by identity: the asks keep it alive, and two equal ones are only judged twice."""
    return (
        ask.deployment,
        ask.shapes,
        _frozen(ask.selector),
        ask.device_ids,
        ask.strategy,
        ask.backend,
        id(ask.file_workers),
    )


def _frozen(mapping: Mapping[str, str]) -> tuple[tuple[str, str], ...]:
    return tuple(sorted(mapping.items()))
