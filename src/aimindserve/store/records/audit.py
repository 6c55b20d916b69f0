"""Who did what through the API, and how it ended. Never what they sent: that may hold secrets."""

from dataclasses import dataclass

from aimindserve.kit.clock import Clock
from aimindserve.store.records._record import RecordKeeper, RecordKind, Records


@dataclass(frozen=True, slots=True)
class AuditEntry:
    """One request that changed something, or tried to."""

    time: float
    """Seconds since the epoch."""
    actor: str
    """The user or worker; empty when nobody had signed in."""
    client: str
    """The address it came from."""
    action: str
    """create, replace, delete, login, …"""
    kind: str
    name: str
    outcome: str
    """`ok`, or the code of the error."""
    id: str = ""


AUDIT = RecordKind(table="audit", record=AuditEntry, kept=200_000)


def audit(keeper: RecordKeeper, clock: Clock) -> Records[AuditEntry]:
    """The audit entries kept by a backing."""
    return Records(AUDIT, keeper, clock)
