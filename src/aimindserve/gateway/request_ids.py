"""The id of each request: in every answer, in whatever is sent onward for it, and in the logs."""

import itertools
import re

from aimindserve.kit.secrets import new_id
from aimindserve.wire.server import Request

_GIVEN = re.compile(rb"[A-Za-z0-9._-]{1,64}")
_LINE = b"x-request-id: "


class RequestIds:
    """Gives ids: the client's own where it sent a sound one, else one that no other has."""

    def __init__(self) -> None:
        self._prefix = new_id().encode()
        self._numbers = itertools.count(1)

    def give(self, request: Request) -> bytes:
        """The id of `request`; whatever answer it gets will carry it."""
        request_id = request.head.index.get(b"x-request-id")
        if request_id is None or not _GIVEN.fullmatch(request_id):
            request_id = b"%b-%x" % (self._prefix, next(self._numbers))
        request.extra = _LINE + request_id + b"\r\n"
        return request_id

    def of(self, request: Request) -> bytes:
        """The id that `request` was given, or is given now."""
        if not request.extra.startswith(_LINE):
            return self.give(request)
        return request.extra[len(_LINE) :].partition(b"\r\n")[0]
