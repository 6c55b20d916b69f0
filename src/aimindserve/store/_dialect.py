"""What differs between databases, and nothing else: how to connect, what an error means, who may
migrate. The statements are the same on all of them.
"""

from collections.abc import Callable
from enum import Enum
from typing import Protocol, TypeVar

from sqlalchemy import Connection, Engine
from sqlalchemy.engine.interfaces import IsolationLevel

T = TypeVar("T")

POOL = 10
CHECKOUT_S = 2.0
CONNECT_S = 5.0
STATEMENT_S = 5.0
LOCK_S = 2.0
IDLE_IN_TRANSACTION_S = 10.0
MIGRATION_S = 60.0
TRANSACTION_S = 10.0


class Trouble(Enum):
    """What an error of a driver means to us."""

    AGAIN = "again"
    """Nothing was written because others were in the way: the same may work now."""
    FULL = "full"
    """Nothing was written: there is no room."""
    AWAY = "away"
    """No answer, or the connection broke: it may or may not have been written."""
    REFUSED = "refused"
    """The database does not let us in: somebody has to change a setting."""
    DEFECT = "defect"
    """Our own mistake."""


class Dialect(Protocol):
    """One kind of database."""

    @property
    def shared(self) -> bool:
        """Whether several processes may use it at once."""
        ...

    @property
    def snapshot(self) -> IsolationLevel | None:
        """What to ask for so that all reads of a transaction see one moment."""
        ...

    @property
    def errors(self) -> tuple[type[Exception], ...]:
        """What its driver may raise."""
        ...

    def claim(self, *, create: bool) -> None:
        """Make it ours, where only one process may use it; without `create` it must be there.

        Raises SettingsError, NotFoundError.
        """
        ...

    def release(self) -> None:
        """Let others have it."""
        ...

    def engine(self, *, patient: bool = False) -> Engine:
        """An engine; a `patient` one has one connection and waits as long as migrations need."""
        ...

    def judge(self, error: BaseException) -> Trouble:
        """What `error`, one of `errors`, means."""
        ...

    def lock_schema(self, connection: Connection) -> None:
        """Be the only one that migrates, until the connection is closed."""
        ...

    async def run(self, work: Callable[[], T], *, timeout_s: float | None = TRANSACTION_S) -> T:
        """Run blocking `work` without blocking the event loop; raises asyncio.TimeoutError."""
        ...

    async def stop(self) -> None:
        """End what `run` needs."""
        ...
