"""What is worked out about a worker once and kept with it, for as long as it stays as it is.

A snapshot holds the same objects for workers that did not change, so most of what one plan worked
out is there for the next. Only what follows from the worker and the key alone may be kept.
"""

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, TypeVar

from aimindserve.scheduler.base import WorkerView

KEPT_MAX = 256
"""Answers kept with one worker; beyond that all are dropped."""

T = TypeVar("T")


@lru_cache(maxsize=8192)
def token(key: Hashable) -> object:
    """Stands for `key` and is quick to look up."""
    del key
    return object()


@dataclass(frozen=True, slots=True)
class Steady:
    """A gauge or measure that follows from a worker and a key alone: columns of it are kept."""

    key: Hashable
    of: Callable[[WorkerView], float]

    def __call__(self, worker: WorkerView) -> float:
        return kept(worker, token(self.key), self.of)


def kept(worker: WorkerView, key: object, work: Callable[[WorkerView], T]) -> T:
    """`work` of the worker, worked out at most once for each `key` (a token)."""
    memo = worker.memo
    found: T | None = memo.get(key)
    if found is None:
        found = work(worker)
        if len(memo) >= KEPT_MAX:
            memo.clear()
        memo[key] = found
    return found


def kept_of_all(
    workers: Sequence[WorkerView], key: object, work: Callable[[WorkerView], T]
) -> list[T]:
    """`kept` of each worker, in their order: most of them know it."""
    found: list[Any] = [worker.memo.get(key) for worker in workers]
    if None not in found:
        return found
    return [
        kept(worker, key, work) if value is None else value
        for worker, value in zip(workers, found, strict=True)
    ]
