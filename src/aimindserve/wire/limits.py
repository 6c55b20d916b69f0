"""Everything that reads from or writes to a socket has a limit; these are all of them.

Sizes are bytes, durations seconds. The defaults are what a server on an open network needs; tests
and special listeners pass others.
"""

from dataclasses import dataclass

from aimindserve.kit.units import KIB, MIB


@dataclass(frozen=True, slots=True)
class Limits:
    """What one client connection may take."""

    head_timeout_s: float = 10.0
    """From the first byte of a request (or the connect) to the end of its headers, else 408."""
    head_bytes: int = 32 * KIB
    """All header fields together, else 431."""
    head_fields: int = 100
    target_bytes: int = 8 * KIB
    """Path and query, else 414."""
    body_bytes: int = 512 * MIB
    """The largest body of any request, else 413; a handler may ask for less."""
    body_rate_bytes_s: int = KIB
    """A body that comes slower than this, averaged over `body_window_s`, is cut with 408."""
    body_window_s: float = 10.0
    body_buffer_bytes: int = 256 * KIB
    """What is held of a body that nobody reads yet; then the socket is not read either."""
    idle_timeout_s: float = 30.0
    """Between two requests of a kept-alive connection."""
    stalled_write_s: float = 60.0
    """A client that takes no byte of its answer for so long is cut."""
    write_high_bytes: int = 256 * KIB
    """What may wait for a slow reader before its source is paused."""
    pipelined: int = 64
    """Requests sent ahead on one connection; more end it."""
    connections: int = 10_000
    linger_s: float = 2.0
    """How long what a refused client still sends is thrown away, so that it can read why."""
    drain_s: float = 30.0
    """How long a stopping server waits for answers under way."""


@dataclass(frozen=True, slots=True)
class UpstreamLimits:
    """What we allow ourselves towards one origin, and what its answers may take."""

    connect_timeout_s: float = 3.0
    head_bytes: int = 64 * KIB
    head_fields: int = 200
    head_timeout_s: float | None = None
    """From the request to the answer's head; None where an answer may take as long as it takes."""
    idle_connections: int = 64
    idle_timeout_s: float = 15.0
    """Shorter than any server's, so that most stale connections are never tried."""
    connections: int = 2048
    stale_after_s: float = 1.0
    """A pooled connection lost within this time of a request was stale: the request is sent anew.
    Lost later, the upstream may have worked on it, and doing it twice would be wrong."""
    write_high_bytes: int = 256 * KIB
