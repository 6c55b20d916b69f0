"""Pure: which instances of a deployment to add and which to stop, one step at a time.

    a new generation        new one ─▶ ready ─▶ stop an old one ─▶ next new one …   (surge of one)
    no room for the new     new one refused ─▶ stop an old one ─▶ new one is placed …
    a worker given up       replacement ─▶ ready ─▶ stop the one out of reach

Level, not edge: the answer depends on the copies as they are, so it may be asked at any time and a
lost answer costs nothing. Knows no store and no clock.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from aimindserve.core.ids import WorkerName
from aimindserve.core.placement import Placement, Rank
from aimindserve.scheduler.retire import Member, choose


@dataclass(frozen=True, slots=True)
class Copy:
    """An instance as the rollout sees it."""

    name: str
    current: bool
    """Made from the deployment's present template."""
    placed: bool = False
    ready: bool = False
    away: bool = False
    """Its worker was given up after a long silence."""
    no_room: bool = False
    """Refused, for lack of room on every worker that could take it."""
    stopping: bool = False
    unfit: bool = False
    """It has run out of memory where it is, more than once."""
    created_at: float = 0.0
    placement: Placement | None = None
    failing: bool = False
    doubtful: bool = False
    """One of its workers is cordoned or does not report."""
    shared: int = 0
    """Claims of other instances on its devices."""


@dataclass(frozen=True, slots=True)
class Aim:
    """What is wanted, and what is allowed on the way there."""

    replicas: int
    surge: int = 1
    elsewhere: bool = False
    """Whether another worker could run a copy: only then is one out of reach replaced."""
    strategy: str = "spread"
    make_room: bool = False
    """Whether a copy that has no room may have an old one stopped for it now."""


_SOMEWHERE = Placement("", "", (Rank(WorkerName("")),))
"""Of a copy that is placed, when nobody says where."""


@dataclass(frozen=True, slots=True)
class Steps:
    """What to do now. Empty when the copies are as they should be, or must be waited for."""

    create: int = 0
    stop: tuple[str, ...] = ()
    cramped: bool = False
    """A new copy has no room while old ones hold some: `Aim.make_room` would go on."""


def next_steps(aim: Aim, copies: Sequence[Copy]) -> Steps:
    """The next steps from `copies` towards `aim`."""
    live = [copy for copy in copies if not copy.stopping]
    if aim.replicas == 0:
        return Steps(stop=tuple(copy.name for copy in live))
    # They serve nothing and would fail again: others take their place, elsewhere.
    unfit = [copy for copy in live if copy.unfit]
    live = [copy for copy in live if not copy.unfit]
    # Old copies that serve nothing and hold nothing go first: they cost no availability.
    idle = [copy for copy in live if not copy.current and (copy.away or not copy.placed)]
    old = [copy for copy in live if not copy.current and copy not in idle]
    astray = [copy for copy in live if copy.current and copy.away and aim.elsewhere]
    new = [copy for copy in live if copy.current and copy not in astray]

    stop = [*unfit, *idle]
    stop += _least_useful(new, len(new) - aim.replicas, aim.strategy)
    stop += _least_useful(astray, len(astray) + _ready(new) - aim.replicas, aim.strategy)
    retired = _least_useful(old, len(old) + _ready(new) - aim.replicas, aim.strategy)
    cramped = _is_cramped(new, old, retired, copies)
    if cramped and aim.make_room:
        retired = _least_useful(old, 1, aim.strategy)
    stop += retired
    room = aim.replicas + aim.surge - len(new) - (len(old) - len(retired))
    create = max(0, min(aim.replicas - len(new), room))
    return Steps(create, tuple(copy.name for copy in stop), cramped)


def _least_useful(copies: Sequence[Copy], count: int, strategy: str) -> list[Copy]:
    """The `count` copies that would be missed least."""
    members = [
        Member(
            copy.name,
            placement=copy.placement or (_SOMEWHERE if copy.placed else None),
            ready=copy.ready,
            failing=copy.failing,
            doubtful=copy.doubtful,
            away=copy.away,
            shared=copy.shared,
            created_at=copy.created_at,
        )
        for copy in copies
    ]
    by_name = {copy.name: copy for copy in copies}
    return [by_name[name] for name in choose(members, count, strategy)]


def _ready(copies: Sequence[Copy]) -> int:
    return sum(copy.ready for copy in copies)


def _is_cramped(
    new: Sequence[Copy], old: Sequence[Copy], retired: Sequence[Copy], copies: Sequence[Copy]
) -> bool:
    """Whether only the old copies' own room can help the new ones on."""
    refused = any(copy.no_room and not copy.placed for copy in new)
    on_the_way = bool(retired) or any(copy.stopping and not copy.away for copy in copies)
    return refused and bool(old) and not on_the_way
