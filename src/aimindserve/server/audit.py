"""Who did what: one line in the log and, where records are kept, one entry in them.

Never what was sent: that may hold secrets.
"""

from fastapi import Request

from aimindserve.kit.clock import Clock
from aimindserve.kit.log import get_logger
from aimindserve.server.auth.principals import Principal
from aimindserve.server.parts import AuditRecords
from aimindserve.store.records.audit import AuditEntry

log = get_logger("audit")

NAME_MAX = 200


class Audit:
    """Writes audit entries."""

    def __init__(self, records: AuditRecords | None, clock: Clock) -> None:
        self._records = records
        self._clock = clock

    def note(
        self, request: Request, action: str, target: tuple[str, str], *, outcome: str = "ok"
    ) -> None:
        """Whoever sent `request` did `action` to `target`, a (kind, name)."""
        principal: Principal | None = request.scope.get("aims.principal")
        entry = AuditEntry(
            time=self._clock.now(),
            actor="" if principal is None else str(principal),
            client=client_of(request),
            action=action,
            kind=target[0],
            name=target[1][:NAME_MAX],
            outcome=outcome,
        )
        log.info(
            "audit",
            action=action,
            kind=entry.kind,
            actor=entry.actor,
            name=entry.name,
            outcome=outcome,
            client=entry.client,
            request_id=request.scope.get("aims.request_id", ""),
        )
        if self._records is not None:
            self._records.append(entry)


def client_of(request: Request) -> str:
    """The peer's address as the gateway saw it."""
    return request.headers.get("x-aims-client", "")[:64]
