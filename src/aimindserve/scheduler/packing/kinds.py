"""A shape that needs more or less by the kind of device it is on: engines were measured there.

    H200 measured: 20 GiB │ formula: 30 GiB        a worker with H200: 20, with L40: 30, with both:
                                                   one of either, or several of them by the larger

What was measured on one kind of device says nothing of another. Which kinds a worker has decides
which size is tried there; must not know how a shape is put on devices: `Fixed` and `Cut` do.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

from aimindserve.core.shape import Shape, kind_of
from aimindserve.scheduler.base import Ask, WorkerView
from aimindserve.scheduler.memo import kept, token
from aimindserve.scheduler.packing.base import Bounds, Packed, Short, Way, mark_of
from aimindserve.scheduler.packing.fixed import Fixed
from aimindserve.scheduler.packing.layers import Cut
from aimindserve.scheduler.room import pools, rule


def on_one_worker(ask: Ask, shape: Shape) -> Way:
    """The way of a shape that is put on one worker whole."""
    if shape.kinds:
        return ByKind(ask, shape)
    return Fixed(ask, shape) if shape.layers is None else Cut(ask, shape)


@dataclass(frozen=True, slots=True)
class _Option:
    """One size that may be tried on a worker."""

    shape: Shape
    way: Fixed | Cut
    kind: str = ""
    """The devices it is for, by name; empty: all of the worker."""


class ByKind:
    """One ask and a shape with kinds, on one worker."""

    def __init__(self, ask: Ask, shape: Shape) -> None:
        self._ask = ask
        self._shape = shape
        self._options: dict[tuple[str, ...], Sequence[_Option]] = {}
        plain = self._option(())
        self.count = plain.way.count
        sizes = [self._option((each.kind,)).way.size for each in shape.kinds]
        self.size = min(plain.way.size, *sizes)
        self._any = rule(ask, shape)._replace(fraction=0.0, without=frozenset())
        self._names = token(("kinds", self._any, self.count > 0))

    @cached_property
    def mark(self) -> object:
        return mark_of(self._ask, self._shape)

    @property
    def bounds(self) -> Bounds:
        """Its answer itself: it is kept with each worker, and worked out anew where one changes."""

        def of(worker: WorkerView) -> int:
            return 1 if self.fits(worker) else -1 if self.barren(worker) else 0

        return Bounds(0, ("kinds", self.mark), 1, of)

    def fits(self, worker: WorkerView) -> bool:
        return any(each.way.fits(worker) for each in self._tried(worker))

    def barren(self, worker: WorkerView) -> bool:
        return all(each.way.barren(worker) for each in self._tried(worker))

    def forced(self, worker: WorkerView) -> bool:
        return any(each.way.forced(worker) for each in self._tried(worker))

    def share(self, worker: WorkerView) -> float:
        """Of a model that is cut, how much is on devices there: 0 to 1."""
        ways = [each.way for each in self._tried(worker)]
        return max((way.share(worker) for way in ways if isinstance(way, Cut)), default=0.0)

    def short(self, worker: WorkerView) -> Short | None:
        told: list[Short] = []
        for each in self._tried(worker):
            missing = each.way.short(worker)
            if missing is None:
                return None
            told.append(missing)
        return min(told, key=lambda short: (not short.need, short.need - short.free))

    def pack(self, worker: WorkerView) -> Packed:
        tried = self._tried(worker)
        fitting = [each for each in tried if each.way.fits(worker)]
        if fitting:
            chosen = self._preferred(worker, fitting)
        else:  # raises ValueError, unless its devices are chosen by hand
            chosen = next((each for each in reversed(tried) if each.way.forced(worker)), tried[0])
        return replace(chosen.way.pack(worker), confidence=chosen.shape.confidence)

    def _preferred(self, worker: WorkerView, fitting: Sequence[_Option]) -> _Option:
        """Binpack takes the fullest devices, spread the emptiest; of equals those of one kind."""
        if len(fitting) == 1:
            return fitting[0]
        packs = self._ask.strategy == "binpack"

        def room(option: _Option) -> int:
            found = pools(worker, self._any._replace(name=option.kind))
            return max((pool.most[0] for pool in found), default=0)

        return min(fitting, key=lambda each: room(each) if packs else -room(each))

    def _tried(self, worker: WorkerView) -> Sequence[_Option]:
        names = kept(worker, self._names, self._kinds)
        found = self._options.get(names)
        if found is None:
            found = self._options[names] = self._of(names)
        return found

    def _kinds(self, worker: WorkerView) -> tuple[str, ...]:
        """What a worker has of kinds that it may use, by name."""
        if not self.count:
            return (worker.processor,)
        there = pools(worker, self._any)
        return tuple(sorted({device.name for pool in there for device in pool.devices}))

    def _of(self, names: tuple[str, ...]) -> Sequence[_Option]:
        if len(names) < 2:
            return [self._option(names)]
        mixed = self._option(names)
        known = {each.kind for each in self._shape.kinds}
        # A cut fills what there is; a single device is of one kind.
        if self._shape.layers is not None or not known & {*names, kind_of(names)}:
            return [mixed]
        single = [self._option((name,), name) for name in names]
        return [*single, mixed] if self.count > 1 else single

    def _option(self, names: tuple[str, ...], kind: str = "") -> _Option:
        shape = self._shape.over(names)
        if shape.layers is not None:
            return _Option(shape, Cut(self._ask, shape))
        return _Option(shape, Fixed(self._ask, shape, kind), kind)
