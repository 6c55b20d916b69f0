"""Which model a request asks for, read from its body as it arrives, and no more of it than needed.

A JSON body is taken whole (within its limit) and checked to be JSON; a form is read up to its field
`model`, and the rest is left for whoever sends it on.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import msgspec

from aimindserve.core.errors import AimsError, BodyInvalidError, TooLargeError
from aimindserve.gateway.config import BodyLimits
from aimindserve.gateway.multipart import FieldFinder, boundary_of
from aimindserve.wire.body import Body
from aimindserve.wire.errors import BodyTooLargeError, WireError


@dataclass(slots=True)
class Ask:
    """What was read. `body` is all of it, or None when the rest still comes after `first`."""

    model: object
    body: bytes | None
    first: bytes = b""


Found = Callable[[Ask], None]
Failed = Callable[[AimsError], None]


class _Json(msgspec.Struct):
    """What we look at in a JSON body; the rest is checked to be JSON and passed on unread."""

    model: Any = None


_JSON = msgspec.json.Decoder(_Json)


def ask_json(body: Body, limits: BodyLimits, found: Found, failed: Failed) -> None:
    """Read a JSON body; `found` or `failed` may be called before this returns."""

    def whole(data: bytes) -> None:
        try:
            model = _JSON.decode(data).model
        except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
            failed(
                BodyInvalidError(
                    f"The body must be a JSON object: {error}.",
                    hint='Send for example {"model": "…", …} with content-type application/json.',
                )
            )
            return
        found(Ask(model, data))

    if body.complete and body.size <= limits.json_bytes:
        whole(body.take())
    else:
        body.collect(limits.json_bytes, whole, lambda error: _broken(error, failed))


def ask_form(
    body: Body, content_type: bytes, limits: BodyLimits, found: Found, failed: Failed
) -> None:
    """Read a form up to its field `model`. Raises AimsError for what the head already tells."""
    if body.length is not None and body.length > limits.multipart_bytes:
        raise TooLargeError(f"The body is larger than {limits.multipart_bytes} bytes.")
    finder = FieldFinder(boundary_of(content_type), b"model", limits.multipart_search_bytes)
    body.limit = min(body.limit, limits.multipart_bytes)
    body.pipe(_FormReader(body, finder, found, failed))


class _FormReader:
    __slots__ = ("_body", "_done", "_failed", "_finder", "_found")

    def __init__(self, body: Body, finder: FieldFinder, found: Found, failed: Failed) -> None:
        self._body = body
        self._finder = finder
        self._found = found
        self._failed = failed
        self._done = False

    def feed(self, data: bytes) -> None:
        if self._done:
            return  # refused; what still comes is thrown away
        try:
            self._finder.feed(data)
        except BodyInvalidError as error:
            self._done = True
            self._failed(error)
            return
        if self._finder.value is not None or self._finder.over:
            self._tell()

    def end(self) -> None:
        if not self._done:
            self._tell()

    def lost(self, error: WireError) -> None:
        if not self._done:
            self._done = True
            _broken(error, self._failed)

    def _tell(self) -> None:
        self._done = True
        finder = self._finder
        if self._body.complete:
            self._found(Ask(finder.value, finder.seen))
        else:
            self._body.detach()
            self._found(Ask(finder.value, None, finder.seen))


def _broken(error: WireError, failed: Failed) -> None:
    if isinstance(error, BodyTooLargeError):
        failed(TooLargeError(f"The body is larger than {error.limit} bytes."))
    # else the connection is lost, or answers for itself
