"""Tries equals in other orders when not all of them found a place.

One order decides for all of a group at once, and the hardest first is only a good guess. Where it
leaves somebody out who would have fitted before the others came, the group is tried again: whoever
was left out moves forward, time after time ("squeaky wheel" optimisation, Joslin and Clements
1999); the same from the other end, with the smallest first. The order that places most is carried
out: most instances, of those with the better shapes, of those with most device memory. Small groups
only: for large ones the first guess is close, and time matters more.
"""

from collections.abc import Callable, Mapping, Sequence

from aimindserve.scheduler.base import Ask, Decision
from aimindserve.scheduler.order import size_of
from aimindserve.scheduler.world import World

ROUNDS = 12
"""From each end."""
WORK_MAX = 4096
"""Asks times workers: about a tenth of a second for all rounds."""
FORWARD = 0.35
"""By how much of the group's length an ask moves each time that it is left out."""

Decisions = Mapping[str, Decision]
Decide = Callable[[Ask], Decision]


def decide_all(equals: Sequence[Ask], world: World, decide: Decide) -> Decisions:
    """A decision for each of `equals`, carried out in `world`; they come the hardest first."""
    start = world.moment
    first = _in_order(equals, decide)
    if len(equals) * len(world.now) > WORK_MAX or not _contested(first, start, world, decide):
        return first
    best, chosen = _worth(first), list(equals)
    for begin in (equals, sorted(equals, key=_size)):
        ordered = list(begin)
        forward = dict.fromkeys([ask.instance for ask in ordered], 0.0)
        for _ in range(ROUNDS):
            world.rewind(start)
            found = _in_order(ordered, decide)
            worth = _worth(found)
            if worth > best:
                best, chosen = worth, ordered
            if best[0] == len(equals):
                break
            for name, decision in found.items():
                if decision.placement is None:
                    forward[name] += len(ordered) * FORWARD
            places = {ask.instance: place for place, ask in enumerate(begin)}
            ordered = sorted(
                begin,
                key=lambda ask: (places[ask.instance] - forward[ask.instance], ask.instance),
            )
    world.rewind(start)
    return _in_order(chosen, decide)


def _in_order(asks: Sequence[Ask], decide: Decide) -> Decisions:
    return {ask.instance: decide(ask) for ask in asks}


def _contested(first: Decisions, start: int, world: World, decide: Decide) -> bool:
    """Whether somebody was left out only because of the others. Leaves the world as it was."""
    placed = sum(decision.placement is not None for decision in first.values())
    if placed in (0, len(first)):
        return False
    end = world.moment
    contested = False
    for decision in first.values():
        if decision.placement is None:
            world.rewind(start)
            contested = decide(decision.ask).placement is not None
            if contested:
                break
    world.rewind(end)
    return contested


def _worth(decisions: Decisions) -> tuple[int, int, int]:
    placed = [each for each in decisions.values() if each.placement is not None]
    return (
        len(placed),
        -sum(each.shape or 0 for each in placed),
        sum(
            claim.memory_bytes
            for each in placed
            for rank in (() if each.placement is None else each.placement.ranks)
            for claim in rank.claims
        ),
    )


def _size(ask: Ask) -> tuple[int, int, str]:
    devices, size = size_of(ask.shapes)
    return size, devices, ask.instance
