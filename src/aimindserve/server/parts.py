"""What the control plane is made of, handed in by the composition root.

The server builds no store, reads no environment and no settings: it is a function of these parts.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, TypeVar

from aimindserve.kit.clock import Clock
from aimindserve.resources.deployment import DeploymentSpec
from aimindserve.scheduler.whatif import WhatIf
from aimindserve.store.base import Store
from aimindserve.store.leases import Leases
from aimindserve.store.records.audit import AuditEntry
from aimindserve.store.records.events import Event

R_co = TypeVar("R_co", covariant=True)


class RecordsRead(Protocol[R_co]):
    """Facts on record, as `store.records` keeps them."""

    async def query(
        self,
        *,
        since: float | None = None,
        before: float | None = None,
        limit: int = 100,
        offset: int = 0,
        **where: str | None,
    ) -> Sequence[R_co]:
        """The newest that match, newest first; raises the store's errors."""
        ...

    async def count(
        self, *, since: float | None = None, before: float | None = None, **where: str | None
    ) -> int:
        """How many match."""
        ...


class AuditRecords(RecordsRead[AuditEntry], Protocol):
    """Where audit entries are kept: `store.records.audit.audit(backing, clock)`."""

    def append(self, record: AuditEntry) -> None:
        """Queue an entry; never waits and never fails."""
        ...


class DecisionsRead(Protocol):
    """The newest scheduling decision of each instance, as `store.decisions` keeps them."""

    async def find(self, instance: str) -> Mapping[str, Any] | None:
        """Why `instance` is where it is, or why it is nowhere yet; None when that is not kept."""
        ...

    async def question(self, digest: str) -> bytes | None:
        """The question of a decision, to be asked again; None when it is not kept any more."""
        ...


class FitsRead(Protocol):
    """Answers what would fit, as the scheduler would decide now: `controllers.fits.Fits`."""

    async def answer(
        self,
        spec: DeploymentSpec | None,
        *,
        name: str,
        replicas: int,
        explain: bool,
        what_if: WhatIf,
    ) -> dict[str, Any]:
        """The document for one deployment, or for a changed cluster; `at` in seconds."""
        ...

    async def changes(self, name: str) -> Sequence[Mapping[str, Any]]:
        """What would make the waiting instance `name` fit."""
        ...


@dataclass(frozen=True, slots=True)
class ServerConfig:
    """Settings of the control plane, already checked."""

    version: str
    data_dir: Path
    pepper: bytes
    """Key of every stored hash of a secret."""
    join_token: str
    gateway_credential: str
    operator_credential: str = ""
    """Whoever can read it from the server's own directory is trusted like localhost; empty: nobody.
    """
    trust_localhost: bool = True
    openapi_docs: bool = True
    secure_cookies: bool = False
    """True behind something that ends TLS for us; under our own TLS it follows from the request."""
    bootstrap_password: str | None = None
    trusted_origins: tuple[str, ...] = ()
    """Origins of other people's pages that may use the session cookie. The CORS fields themselves
    are the gateway's: two parts that add them would make a browser refuse the answer."""
    report_interval_s: float = 10.0
    streams_per_principal: int = 64
    web_dir: Path | None = None
    """The built console; None: a small page that says where everything is."""


@dataclass(frozen=True, slots=True)
class ServerParts:
    """Everything `app.create_app` needs."""

    store: Store
    leases: Leases
    clock: Clock
    decisions: DecisionsRead
    config: ServerConfig
    records: AuditRecords | None = None
    events: RecordsRead[Event] | None = None
    fits: FitsRead | None = None
    is_ready: Callable[[], bool] = lambda: True
    """Whether the rest of this process is up; must not touch the database."""
