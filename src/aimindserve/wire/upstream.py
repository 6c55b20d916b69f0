"""Towards other servers: where they are, kept-alive connections to them, and relaying from them.

    pool = Pool(clock)
    origin = Origin("127.0.0.1", 40001)          # or Origin.unix("/run/control.sock")
    await relay(request, pool, origin, headers=[(b"authorization", b"Bearer …")])
    await pool.close()

`forward` is the same with more to choose; `Relay` is the same without a coroutine. The parts are in
`pool`, `link`, `exchange`, `relay`, `forward`; this is the door.
"""

from aimindserve.wire.errors import Failure, UpstreamFailedError
from aimindserve.wire.exchange import Answer, Exchange, Head
from aimindserve.wire.forward import Onward, Upload, forward, relay, request_head
from aimindserve.wire.limits import UpstreamLimits
from aimindserve.wire.origin import Origin
from aimindserve.wire.pool import Pool
from aimindserve.wire.relay import Owner, Relay, RelayRules

__all__ = [
    "Answer",
    "Exchange",
    "Failure",
    "Head",
    "Onward",
    "Origin",
    "Owner",
    "Pool",
    "Relay",
    "RelayRules",
    "Upload",
    "UpstreamFailedError",
    "UpstreamLimits",
    "forward",
    "relay",
    "request_head",
]
