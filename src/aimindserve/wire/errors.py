"""What can go wrong on a wire.

WireError
├── ClientGoneError        the client hung up, or was cut
├── BodyTooLargeError      a body passed the limit its reader set
├── BodyBrokenError        a body ended early, was malformed or came too slowly
└── UpstreamFailedError    an upstream could not be reached or did not answer properly
"""

from enum import Enum


class WireError(Exception):
    """Root of the errors of this package."""


class ClientGoneError(WireError):
    """The client is no longer there; nothing that is written arrives."""


class BodyTooLargeError(WireError):
    """A body is larger than `limit` bytes."""

    def __init__(self, limit: int) -> None:
        super().__init__(f"the body is larger than {limit} bytes")
        self.limit = limit


class BodyBrokenError(WireError):
    """A body is not what its framing promised."""


class Failure(Enum):
    """How an upstream failed, as far as that decides what may be tried next."""

    CONNECT = "connect"
    """No connection: the request was certainly not seen."""
    BUSY = "busy"
    """We have too many connections to it already."""
    LOST = "lost"
    """The connection ended before the answer did."""
    GARBAGE = "garbage"
    """What came back is not HTTP."""
    TIMEOUT = "timeout"
    """No answer in time."""


class UpstreamFailedError(WireError):
    """An upstream failed; `kind` says how."""

    def __init__(self, kind: Failure, detail: str) -> None:
        super().__init__(detail)
        self.kind = kind
        self.detail = detail
