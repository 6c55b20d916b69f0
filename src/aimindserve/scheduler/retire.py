"""Which instances of a deployment to stop when it has too many: those that would be missed least.

    not placed · not ready, of those the failing · on a worker that is cordoned, lost or given up ·
    with fewest layers on devices · by the deployment's strategy · the youngest

Spread stops them where most are together; binpack where most devices become whole, and then where
fewest of them are. Pure; must not know how an instance is stopped.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from aimindserve.core.placement import Placement


@dataclass(frozen=True, slots=True)
class Member:
    """An instance of the deployment, as far as it matters here."""

    name: str
    placement: Placement | None = None
    ready: bool = False
    failing: bool = False
    """It ended by itself of late, or was given up."""
    doubtful: bool = False
    """One of its workers is cordoned or does not report."""
    away: bool = False
    """One of its workers was given up after a long silence."""
    shared: int = 0
    """Claims of other instances on its devices: none, and they become whole without it."""
    created_at: float = 0.0


def choose(members: Sequence[Member], count: int, strategy: str = "spread") -> tuple[str, ...]:
    """The names of the `count` members that would be missed least, the least first."""
    left = list(members)
    chosen: list[str] = []
    while left and len(chosen) < count:
        together = Counter(_home(each) for each in left)
        least = min(left, key=lambda each: _worth(each, together[_home(each)], strategy))
        chosen.append(least.name)
        left.remove(least)
    return tuple(chosen)


def _worth(
    member: Member, together: int, strategy: str
) -> tuple[bool, bool, bool, bool, bool, bool, int, tuple[int, int], float, str]:
    placement = member.placement
    crowd = (-together, 0) if strategy == "spread" else (member.shared, together)
    claims = [] if placement is None else [c for rank in placement.ranks for c in rank.claims]
    return (
        placement is not None,
        not member.away,
        member.ready,
        not member.failing,
        not member.doubtful,
        bool(claims),
        sum(claim.layers for claim in claims),
        crowd,
        -member.created_at,
        member.name,
    )


def shared(placement: Placement, others: Iterable[Placement]) -> int:
    """How many claims of `others` are on devices of `placement`."""
    mine = {claim.device for rank in placement.ranks for claim in rank.claims}
    return sum(
        claim.device in mine for other in others for rank in other.ranks for claim in rank.claims
    )


def _home(member: Member) -> str:
    return "" if member.placement is None else member.placement.worker
