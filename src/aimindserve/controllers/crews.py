"""The instances of each deployment in the order in which they would be stopped: what anybody who
needs their room would have to know. Reads the store only."""

from collections import defaultdict
from collections.abc import Sequence

from aimindserve.controllers.views import (
    Instance,
    find_deployment,
    find_worker,
    instances,
    is_doubtful,
    is_failing,
    placed_on,
    serves,
)
from aimindserve.scheduler.occupants import Occupant
from aimindserve.scheduler.retire import Member, choose, shared
from aimindserve.scheduler.shrink import Crew
from aimindserve.store.base import Store


def crews(store: Store) -> Sequence[Crew]:
    """Of every deployment those instances that are placed and are not stopping already."""
    by_deployment: dict[str, list[Instance]] = defaultdict(list)
    for each in instances(store):
        if each.status.placement is not None and not each.spec.stopping:
            by_deployment[each.spec.deployment].append(each)
    return [_crew(store, name, placed) for name, placed in sorted(by_deployment.items())]


def _crew(store: Store, name: str, placed: Sequence[Instance]) -> Crew:
    deployment = find_deployment(store, name)
    strategy = "spread" if deployment is None else deployment.spec.placement_strategy
    order = choose([_member(store, each, strategy) for each in placed], len(placed), strategy)
    members = {
        each.name: Occupant(each.name, name, each.status.placement)
        for each in placed
        if each.status.placement is not None
    }
    return Crew(name, tuple(members[each] for each in order))


def _member(store: Store, instance: Instance, strategy: str) -> Member:
    placement = instance.status.placement
    others = (
        each.status.placement
        for each in instances(store)
        if each.status.placement is not None and each.name != instance.name
    )
    homes = [find_worker(store, name) for name in placed_on(instance)]
    return Member(
        instance.name,
        placement=placement,
        ready=serves(store, instance),
        failing=is_failing(instance),
        doubtful=is_doubtful(store, instance),
        away=any(home is None or home.status.evicted for home in homes),
        shared=0 if placement is None or strategy != "binpack" else shared(placement, others),
        created_at=instance.metadata.created_at,
    )
