"""Which instance takes a request; pure: the caller brings the turn and the load.

By the weights of the route first, then the least loaded instance, equal ones in turn.
"""

from collections.abc import Mapping

from aimindserve.gateway.table import Group, Route, Target

_GOLDEN = 0.6180339887498949
"""Multiples of the golden ratio, modulo one, fill the unit interval evenly at any length, so that
every run of turns keeps the weights closely; blocks of `weight` turns each would not."""


def pick(
    route: Route, in_flight: Mapping[str, int], turn: int, tried: frozenset[str] = frozenset()
) -> Target | None:
    """A target of `route` that is not in `tried` (instance names); None when there is none.

    `in_flight` counts requests per instance, `turn` the requests to this route so far.
    """
    groups = route.groups
    if tried:
        groups = _without(groups, tried)
    if not groups:
        return None
    group = groups[0] if len(groups) == 1 else _by_weight(groups, turn)
    return _least_loaded(group.targets, in_flight, turn)


def _without(groups: tuple[Group, ...], tried: frozenset[str]) -> tuple[Group, ...]:
    left = (
        Group(
            group.deployment,
            group.weight,
            tuple(target for target in group.targets if target.instance not in tried),
        )
        for group in groups
    )
    return tuple(group for group in left if group.targets)


def _by_weight(groups: tuple[Group, ...], turn: int) -> Group:
    total = sum(group.weight for group in groups)
    point = (turn * _GOLDEN) % 1.0 * total
    for group in groups:
        point -= group.weight
        if point < 0:
            return group
    return groups[-1]


def _least_loaded(targets: tuple[Target, ...], in_flight: Mapping[str, int], turn: int) -> Target:
    count = len(targets)
    best = targets[turn % count]
    least = in_flight.get(best.instance, 0)
    for step in range(1, count):
        if not least:
            break
        target = targets[(turn + step) % count]
        load = in_flight.get(target.instance, 0)
        if load < least:
            best, least = target, load
    return best
