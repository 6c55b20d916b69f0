"""Everything that is not inference goes through to the control plane, as it came.

We tell it what only we can know (peer address, scheme, whether a proxy stands before us) in
`x-aims-*` fields, after removing every such field that came from outside.
"""

from aimindserve.core.errors import AimsError, TooLargeError, UnavailableError, UpstreamError
from aimindserve.gateway.admit import is_forwarded
from aimindserve.gateway.replies import error_reply
from aimindserve.kit.log import get_logger
from aimindserve.wire.errors import BodyTooLargeError, Failure, UpstreamFailedError
from aimindserve.wire.headers import Field, without_hop_by_hop
from aimindserve.wire.server import Request
from aimindserve.wire.upstream import Onward, Origin, Pool, RelayRules, forward

log = get_logger("gateway")

RULES = RelayRules(frozenset({b"server", b"x-request-id"}))
_OURS = (b"x-aims-", b"x_aims_")
_REPLACED = frozenset({b"content-length", b"expect", b"x-request-id"})
RETRY_AFTER_S = 2


class Portal:
    """The way to the control plane."""

    def __init__(self, pool: Pool, control: Origin) -> None:
        self._pool = pool
        self._control = control

    async def carry(self, request: Request, request_id: bytes) -> None:
        """Send `request` to the control plane and its answer back; 503 when it is away."""
        onward = Onward(onward_fields(request, request_id), rules=RULES)
        try:
            await forward(request, self._pool, self._control, onward)
        except UpstreamFailedError as error:
            log.warning("control.away", kind=error.kind.value, detail=error.detail)
            _answer(request, _away(error), request_id)
        except BodyTooLargeError as error:
            why = TooLargeError(f"The body is larger than {error.limit} bytes.")
            _answer(request, why, request_id)


def onward_fields(request: Request, request_id: bytes) -> list[Field]:
    """The fields that go to the control plane."""
    fields = [
        field
        for field in without_hop_by_hop(request.headers, _REPLACED)
        if not field[0].startswith(_OURS)
    ]
    fields.append((b"x-request-id", request_id))
    fields.append((b"x-aims-client", request.peer.encode()))
    fields.append((b"x-aims-scheme", request.scheme.encode()))
    if is_forwarded(request):
        fields.append((b"x-aims-forwarded", b"1"))
    return fields


def _away(error: UpstreamFailedError) -> AimsError:
    if error.kind in (Failure.CONNECT, Failure.BUSY):
        return UnavailableError(
            "The control plane is not there at the moment; inference goes on.",
            hint="It is usually being restarted: try again in a few seconds.",
            params={"retry_after_s": RETRY_AFTER_S},
        )
    return UpstreamError(
        f"The control plane did not complete its answer: {error.detail}.",
        hint="Look whether the change was made before you try again.",
    )


def _answer(request: Request, error: AimsError, request_id: bytes) -> None:
    if not request.started:
        request.reply(error_reply(error, request.path, request_id))
