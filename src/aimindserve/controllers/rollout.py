"""Pure: which instances of a deployment to add and which to stop, one step at a time.

    a new generation        new one ─▶ ready ─▶ stop an old one ─▶ next new one …   (surge of one)
    no room for the new     new one refused ─▶ stop an old one ─▶ new one is placed …
    a worker given up       replacement ─▶ ready ─▶ stop the one out of reach

Level, not edge: the answer depends on the copies as they are, so it may be asked at any time and a
lost answer costs nothing. Knows no store and no clock.
"""

from collections.abc import Sequence
from dataclasses import dataclass


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
    created_at: float = 0.0


@dataclass(frozen=True, slots=True)
class Aim:
    """What is wanted, and what is allowed on the way there."""

    replicas: int
    surge: int = 1
    elsewhere: bool = False
    """Whether another worker could run a copy: only then is one out of reach replaced."""
    make_room: bool = False
    """Whether a copy that has no room may have an old one stopped for it now."""


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
    # Old copies that serve nothing and hold nothing go first: they cost no availability.
    idle = [copy for copy in live if not copy.current and (copy.away or not copy.placed)]
    old = [copy for copy in live if not copy.current and copy not in idle]
    astray = [copy for copy in live if copy.current and copy.away and aim.elsewhere]
    new = [copy for copy in live if copy.current and copy not in astray]

    stop = [*idle]
    stop += _least_useful(new, len(new) - aim.replicas)
    stop += _least_useful(astray, len(astray) + _ready(new) - aim.replicas)
    retired = _least_useful(old, len(old) + _ready(new) - aim.replicas)
    cramped = _is_cramped(new, old, retired, copies)
    if cramped and aim.make_room:
        retired = _least_useful(old, 1)
    stop += retired
    room = aim.replicas + aim.surge - len(new) - (len(old) - len(retired))
    create = max(0, min(aim.replicas - len(new), room))
    return Steps(create, tuple(copy.name for copy in stop), cramped)


def _least_useful(copies: Sequence[Copy], count: int) -> list[Copy]:
    """The `count` copies that would be missed least: not placed, then away, not ready, newest."""
    ranked = sorted(copies, key=lambda c: (c.placed, not c.away, c.ready, -c.created_at, c.name))
    return ranked[: max(0, count)]


def _ready(copies: Sequence[Copy]) -> int:
    return sum(copy.ready for copy in copies)


def _is_cramped(
    new: Sequence[Copy], old: Sequence[Copy], retired: Sequence[Copy], copies: Sequence[Copy]
) -> bool:
    """Whether only the old copies' own room can help the new ones on."""
    refused = any(copy.no_room and not copy.placed for copy in new)
    on_the_way = bool(retired) or any(copy.stopping and not copy.away for copy in copies)
    return refused and bool(old) and not on_the_way
