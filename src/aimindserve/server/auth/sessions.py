"""Sessions of people: an opaque 256-bit cookie, kept as a hash, revocable, gone after a while.

The object is named after the first half of the hash, so finding it needs no search. Idle time is
known exactly in memory and coarsely in the store: a restart forgets minutes, not sign-ins.
"""

from aimindserve.core.errors import AimsError, NotFoundError
from aimindserve.kit.clock import Clock
from aimindserve.kit.log import get_logger
from aimindserve.kit.secrets import keyed_hash, new_secret, same
from aimindserve.resources._kind import AnyResource
from aimindserve.resources.session import SessionSpec, SessionStatus
from aimindserve.server.objects import Session, find_session, sessions
from aimindserve.store.base import Draft, Store

log = get_logger("sessions")

IDLE_S = 12 * 3600.0
ABSOLUTE_S = 7 * 86400.0
SEEN_STEP_S = 600.0
PER_USER_MAX = 50
SWEEP_S = 600.0


class Sessions:
    """Starts, recognises and ends sessions."""

    def __init__(self, store: Store, clock: Clock, pepper: bytes) -> None:
        self._store = store
        self._clock = clock
        self._pepper = pepper
        self._seen: dict[str, float] = {}

    async def start(self, user: str) -> str:
        """A new session of `user`; returns the cookie's value, which is kept nowhere."""
        await self._make_room(user)
        token = new_secret()
        hashed = keyed_hash(self._pepper, token)
        now = self._clock.now()
        spec = SessionSpec(user=user, expires_at=now + ABSOLUTE_S, token_hash=hashed)
        status = SessionStatus(seen_at=now)
        await self._store.create(Draft("session", _name(hashed), spec, status))
        return token

    def find(self, token: str) -> Session | None:
        """The live session of a cookie's value, or None."""
        hashed = keyed_hash(self._pepper, token)
        session = find_session(self._store, _name(hashed))
        if session is None or not same(session.spec.token_hash, hashed):
            return None
        return session if self.is_live(session) else None

    def is_live(self, session: Session) -> bool:
        """Whether it has neither ended nor been idle too long."""
        now = self._clock.now()
        return now < session.spec.expires_at and now - self._last_seen(session) < IDLE_S

    async def touch(self, session: Session) -> None:
        """It was used now. Written down only every few minutes; never fails."""
        now = self._clock.now()
        self._seen[session.name] = now
        if now - session.status.seen_at < SEEN_STEP_S:
            return

        def seen(current: AnyResource) -> AnyResource:
            return current.with_status(SessionStatus(seen_at=now))

        try:
            await self._store.update("session", session.name, seen)
        except AimsError as error:
            log.info("session.touch_failed", code=error.code)

    async def end(self, name: str) -> None:
        """Revoke one session; fine if it is gone."""
        self._seen.pop(name, None)
        try:
            await self._store.delete("session", name)
        except NotFoundError:
            return

    async def end_all(self, user: str, *, keep: str = "") -> int:
        """Revoke every session of `user` but `keep`; returns how many."""
        names = [each.name for each in self._of(user) if each.name != keep]
        for name in names:
            await self.end(name)
        return len(names)

    async def sweep(self) -> None:
        """Remove, for ever, what is no longer live."""
        while True:
            for session in list(sessions(self._store)):
                if not self.is_live(session):
                    await self.end(session.name)
            await self._clock.sleep(SWEEP_S)

    async def _make_room(self, user: str) -> None:
        own = sorted(self._of(user), key=self._last_seen)
        for session in own[: max(0, len(own) - PER_USER_MAX + 1)]:
            await self.end(session.name)

    def _of(self, user: str) -> list[Session]:
        return [each for each in sessions(self._store) if each.spec.user == user]

    def _last_seen(self, session: Session) -> float:
        stored = session.status.seen_at or session.metadata.created_at
        return max(stored, self._seen.get(session.name, 0.0))


def _name(hashed: str) -> str:
    return hashed[:32]
