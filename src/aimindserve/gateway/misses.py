"""Count credentials that open nothing, by client address: whoever guesses gets few guesses.

Only asked about credentials that are not known, so a valid one is neither slowed down nor locked
out, whatever else comes from its address (a reverse proxy's, say, or this machine's own).
"""

import ipaddress
from collections import OrderedDict
from dataclasses import dataclass
from math import ceil

from aimindserve.core.errors import ThrottledError
from aimindserve.kit.clock import Clock

FREE_MISSES = 10
WINDOW_S = 60.0
ADDRESSES_MAX = 10_000
"""Beyond that the address that has been quiet for longest is forgotten."""


@dataclass(slots=True)
class _Count:
    since: float
    misses: int = 0


class Misses:
    """The misses of one gateway process: `FREE_MISSES` per address in each `WINDOW_S` seconds."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._counts: OrderedDict[str, _Count] = OrderedDict()

    def add(self, peer: str) -> None:
        """Count a miss, before it is looked at any closer: many at once gain nothing. Raises
        ThrottledError when there were too many."""
        now, owner = self._clock.monotonic(), _owner_of(peer)
        count = self._counts.get(owner)
        if count is None or now - count.since >= WINDOW_S:
            count = self._counts[owner] = _Count(now)
        self._counts.move_to_end(owner)
        if len(self._counts) > ADDRESSES_MAX:
            self._counts.popitem(last=False)
        count.misses += 1
        if count.misses > FREE_MISSES:
            raise ThrottledError(
                "Too many credentials that are not known, or were revoked, came from your address.",
                hint="Valid credentials are not affected. Check yours before you try again.",
                params={"retry_after_s": ceil(count.since + WINDOW_S - now)},
            )

    def take_back(self, peer: str) -> None:
        """The last miss was none: the credential was only newer than the table."""
        count = self._counts.get(_owner_of(peer))
        if count is not None and count.misses:
            count.misses -= 1

    def __len__(self) -> int:
        return len(self._counts)


def _owner_of(peer: str) -> str:
    """Who answers for an address: an IPv6 client has a whole /64 of them (RFC 6177)."""
    try:
        address = ipaddress.IPv6Address(peer.partition("%")[0])
    except ValueError:
        return peer
    if address.ipv4_mapped is not None:
        return str(address.ipv4_mapped)
    return address.packed[:8].hex()
