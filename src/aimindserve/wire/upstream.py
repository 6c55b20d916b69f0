"""Towards other servers: where they are, kept-alive connections to them, and relaying from them.

    pool = Pool(clock)
    origin = Origin("127.0.0.1", 40001)          # or Origin.unix("/run/control.sock")
    await relay(request, pool, origin, headers=[(b"authorization", b"Bearer …")])
    await pool.close()

The parts are in `pool`, `exchange` and `relay`; this is the door.
"""

from aimindserve.wire.errors import Failure, UpstreamFailedError
from aimindserve.wire.exchange import Answer, Exchange, Outgoing
from aimindserve.wire.limits import UpstreamLimits
from aimindserve.wire.pool import Origin, Pool
from aimindserve.wire.relay import Owner, Relay, RelayRules, relay

__all__ = [
    "Answer",
    "Exchange",
    "Failure",
    "Origin",
    "Outgoing",
    "Owner",
    "Pool",
    "Relay",
    "RelayRules",
    "UpstreamFailedError",
    "UpstreamLimits",
    "relay",
]
