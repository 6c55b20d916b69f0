"""Which model a request asks for, read from its body as it arrives, and no more of it than needed.

A JSON body is taken whole (within its limit) and checked to be JSON; a form is read up to its field
`model`, and the rest is left for whoever sends it on.
"""

from typing import Any, Protocol

import msgspec

from aimindserve.core.errors import AimsError, BodyInvalidError, TooLargeError
from aimindserve.gateway.config import BodyLimits
from aimindserve.gateway.multipart import FieldFinder, boundary_of
from aimindserve.wire.body import Body
from aimindserve.wire.errors import BodyTooLargeError, WireError


class Asker(Protocol):
    """Who wants to know."""

    def asked(self, model: object, body: bytes | None, first: bytes) -> None:
        """The model is known. `body` is all of the body, or None when more comes after `first`."""
        ...

    def refuse(self, error: AimsError) -> None:
        """The body is not what it should be."""
        ...


class _Json(msgspec.Struct, gc=False):
    """What we look at in a JSON body; the rest is checked to be JSON and passed on unread."""

    model: Any = None


_JSON = msgspec.json.Decoder(_Json)


def model_in(data: bytes) -> object:
    """What a whole JSON body says as `model`; None if it does not. Raises BodyInvalidError."""
    try:
        return _JSON.decode(data).model
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
        raise BodyInvalidError(
            f"The body must be a JSON object: {error}.",
            hint='Send for example {"model": "…", …} with content-type application/json.',
        ) from None


def ask_json(body: Body, limit_bytes: int, asker: Asker) -> None:
    """Read a JSON body as it comes; `asker` may be told before this returns."""

    def whole(data: bytes) -> None:
        try:
            model = model_in(data)
        except BodyInvalidError as error:
            asker.refuse(error)
        else:
            asker.asked(model, data, b"")

    body.collect(limit_bytes, whole, lambda error: _broken(error, asker))


def ask_form(body: Body, content_type: bytes, limits: BodyLimits, asker: Asker) -> None:
    """Read a form up to its field `model`. Raises AimsError for what the head already tells."""
    if body.length is not None and body.length > limits.multipart_bytes:
        raise TooLargeError(f"The body is larger than {limits.multipart_bytes} bytes.")
    finder = FieldFinder(boundary_of(content_type), b"model", limits.multipart_search_bytes)
    body.limit = min(body.limit, limits.multipart_bytes)
    body.pipe(_FormReader(body, finder, asker))


class _FormReader:
    __slots__ = ("_asker", "_body", "_done", "_finder")

    def __init__(self, body: Body, finder: FieldFinder, asker: Asker) -> None:
        self._body = body
        self._finder = finder
        self._asker = asker
        self._done = False

    def feed(self, data: bytes) -> None:
        if self._done:
            return  # refused; what still comes is thrown away
        try:
            self._finder.feed(data)
        except BodyInvalidError as error:
            self._done = True
            self._asker.refuse(error)
            return
        if self._finder.value is not None or self._finder.over:
            self._tell()

    def end(self) -> None:
        if not self._done:
            self._tell()

    def lost(self, error: WireError) -> None:
        if not self._done:
            self._done = True
            _broken(error, self._asker)

    def _tell(self) -> None:
        self._done = True
        finder = self._finder
        if self._body.complete:
            self._asker.asked(finder.value, finder.seen, b"")
        else:
            self._body.detach()
            self._asker.asked(finder.value, None, finder.seen)


def _broken(error: WireError, asker: Asker) -> None:
    if isinstance(error, BodyTooLargeError):
        asker.refuse(TooLargeError(f"The body is larger than {error.limit} bytes."))
    # else the connection is lost, or answers for itself
