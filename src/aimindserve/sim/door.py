"""What workers reach of a server, without HTTP: the same functions that its routes call.

Used by the simulated server and, on the real clock, by the demo's workers.
"""

from collections.abc import AsyncGenerator

from aimindserve.core.errors import UnauthenticatedError
from aimindserve.core.launch import DesiredSet
from aimindserve.core.report import Ack, Report
from aimindserve.kit.clock import Clock
from aimindserve.kit.secrets import keyed_hash, same
from aimindserve.server.desired import DesiredHub, desired_set
from aimindserve.server.registration import Registration, register
from aimindserve.server.reports import apply_report
from aimindserve.store.base import Store
from aimindserve.store.leases import Leases
from aimindserve.worker.link import Hello, Identity

PEPPER = b"simulated"
KEEP_ALIVE_S = 10.0
TOGETHER_S = 0.02


class Door:
    """Registration, desired sets and reports of one store."""

    def __init__(self, store: Store, leases: Leases, clock: Clock) -> None:
        self._store = store
        self._leases = leases
        self._clock = clock
        self._hub = DesiredHub(store)

    async def run(self) -> None:
        """Follow the store, so that `desired` hears of changes. For ever."""
        await self._hub.run()

    async def register(self, hello: Hello) -> Identity:
        """Take a machine in."""
        wish = Registration(
            name=hello.name,
            explicit_name=hello.explicit_name,
            machine_id=hello.machine_id,
            labels=dict(hello.labels),
            version=hello.version,
        )
        made = await register(self._store, PEPPER, wish)
        return Identity(made.name, made.credential, made.proxy_key)

    async def report(self, identity: Identity, report: Report) -> Ack:
        """Take in what a worker sees."""
        self.check(identity)
        return await apply_report(self._store, self._leases, identity.name, report)

    async def desired(self, identity: Identity) -> AsyncGenerator[DesiredSet | None, None]:
        """As the route does it: the whole set at once, then at each change, coalesced; None as a
        sign of life."""
        with self._hub.waiter(identity.name) as waiter:
            changed = True
            while True:
                self.check(identity)
                yield desired_set(self._store, identity.name) if changed else None
                changed = await waiter.changed(KEEP_ALIVE_S)
                if changed:
                    await self._clock.sleep(TOGETHER_S)

    def check(self, identity: Identity) -> None:
        """Raises UnauthenticatedError for a worker that was deleted or has registered anew."""
        worker = self._store.find("worker", identity.name)
        known = "" if worker is None else worker.spec.credential_hash
        if not same(known, keyed_hash(PEPPER, identity.credential)):
            raise UnauthenticatedError("The server does not know this worker's credential.")
