"""The workers while a plan is made, each as it is now and as it was at any moment before.

A moment is the number of changes so far. What is remembered is only ever added to, so a decision
that keeps a moment keeps what was seen then, without a copy of a thousand workers.
"""

from bisect import bisect_right
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from aimindserve.core.ids import WorkerName
from aimindserve.scheduler.base import WorkerView
from aimindserve.scheduler.memo import kept, kept_of_all, token

T = TypeVar("T")


@dataclass(slots=True)
class _Column:
    mark: object
    values: list[Any]
    moment: int


class World:
    """Positions are places in the order of the workers' names."""

    def __init__(self, workers: Sequence[WorkerView]) -> None:
        self.now = sorted(workers, key=lambda worker: worker.name)
        self._first = tuple(self.now)
        self._positions = {worker.name: place for place, worker in enumerate(self.now)}
        self._changed: list[int] = []
        """Position of each change."""
        self._versions: dict[int, tuple[list[int], list[WorkerView]]] = {}
        """Position -> the moments of its changes, and what it was from then on."""

        self._columns: dict[Hashable, _Column] = {}

    @property
    def moment(self) -> int:
        """Now."""
        return len(self._changed)

    def position(self, name: WorkerName) -> int:
        """Where the worker called `name` is."""
        return self._positions[name]

    def change(self, position: int, worker: WorkerView) -> None:
        """The worker at `position` is now so."""
        self._changed.append(position)
        moments, views = self._versions.setdefault(position, ([], []))
        moments.append(len(self._changed))
        views.append(worker)
        self.now[position] = worker

    def changed(self, since: int, until: int) -> Sequence[int]:
        """Positions that changed after the moment `since`, until the moment `until`, in order."""
        return sorted(set(self._changed[since:until]))

    def at(self, position: int, moment: int) -> WorkerView:
        """The worker at `position` as it was at `moment`."""
        found = self._versions.get(position)
        if found is None:
            return self._first[position]
        moments, views = found
        index = bisect_right(moments, moment)
        return views[index - 1] if index else self._first[position]

    def all_at(self, moment: int) -> tuple[WorkerView, ...]:
        """Every worker as it was at `moment`."""
        if moment == 0:
            return self._first
        then = list(self._first)
        for position in self._versions:
            then[position] = self.at(position, moment)
        return tuple(then)

    def column(self, key: Hashable, of: Callable[[WorkerView], T]) -> list[T]:
        """`of` each worker as it is now, by position; kept under `key` and up to date."""
        column = self._columns.get(key)
        if column is None:
            mark = token(key)
            values = kept_of_all(self.now, mark, of)
            column = self._columns[key] = _Column(mark, values, self.moment)
        elif column.moment != self.moment:
            for position in self.changed(column.moment, self.moment):
                column.values[position] = kept(self.now[position], column.mark, of)
            column.moment = self.moment
        return column.values

    def rewind(self, moment: int) -> None:
        """Make everything again as it was at `moment`: a change like any other, not a loss of what
        was seen in between."""
        for position in self.changed(moment, self.moment):
            self.change(position, self.at(position, moment))
