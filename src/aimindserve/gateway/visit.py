"""What follows from the head of a request, worked out once: kept-alive clients repeat their heads.

A visit is kept with the head (`RequestHead.note`) and believed only as far as the table of the
moment agrees: the key must still open to the same principal, the model's name still mean the same
route. So a revoked key is refused at once, and a changed route is seen at once.
"""

from aimindserve.gateway.endpoints import Endpoint
from aimindserve.gateway.meter import Meter, Tally
from aimindserve.gateway.refusals import find_route
from aimindserve.gateway.table import Principal, Route, RoutingTable, Target
from aimindserve.wire.server import RequestHead


class Visit:
    """Who asks for which endpoint, and what was asked for last."""

    __slots__ = (
        "_fields",
        "_key_hash",
        "_line",
        "_route",
        "_tally",
        "_target",
        "_to_target",
        "endpoint",
        "principal",
    )

    def __init__(
        self, head: RequestHead, endpoint: Endpoint, principal: Principal, key_hash: str
    ) -> None:
        """`key_hash` is empty when the credential was not one bearer key."""
        self.endpoint = endpoint
        self.principal = principal
        self._key_hash = key_hash
        self._line, self._fields = _line_of(head, endpoint), _fields_of(head)
        self._route: Route | None = None
        self._tally = Tally()
        self._target: Target | None = None
        self._to_target = b""

    def holds(self, table: RoutingTable) -> bool:
        """Whether the head would be admitted as the same principal now. Keys that expire are
        always looked at anew."""
        principal = self.principal
        return principal.expires_at is None and table.keys.get(self._key_hash) is principal

    def find(self, model: object, table: RoutingTable, meter: Meter) -> tuple[Route, Tally]:
        """The route that `model` names, and where its requests are counted. Raises AimsError."""
        route = self._route
        if route is None or model != route.name or table.routes.get(route.name) is not route:
            route = find_route(model, self.endpoint, table.routes, self.principal)
            self._tally = meter.tally(self.principal.name, route.name)
            self._route = route
        return route, self._tally

    def onward(self, target: Target, request_id: bytes, length: int | None) -> bytes:
        """The head of a request with a body of `length` bytes (None: chunked) to `target`. The
        caller's credential stays here."""
        if target is not self._target:
            self._target = target
            self._to_target = b"%b%b%bx-request-id: " % (self._line, target.head, self._fields)
        if length is None:
            return b"%b%b\r\ntransfer-encoding: chunked\r\n\r\n" % (self._to_target, request_id)
        return b"%b%b\r\ncontent-length: %d\r\n\r\n" % (self._to_target, request_id, length)


def _line_of(head: RequestHead, endpoint: Endpoint) -> bytes:
    if not head.query:
        return endpoint.line
    return f"POST {endpoint.path}?{head.query} HTTP/1.1\r\n".encode("ascii")


def _fields_of(head: RequestHead) -> bytes:
    index = head.index
    lines = b"content-type: %b\r\n" % index.get(b"content-type", b"application/json")
    accept = index.get(b"accept")
    return lines + b"accept: %b\r\n" % accept if accept else lines
