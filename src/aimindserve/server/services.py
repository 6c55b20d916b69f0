"""What the routes share: made once per application from its parts."""

from dataclasses import dataclass

from fastapi import Request

from aimindserve.server.audit import Audit
from aimindserve.server.auth.passwords import Passwords
from aimindserve.server.auth.principals import Principal, PrincipalKind, Verifier
from aimindserve.server.auth.sessions import Sessions
from aimindserve.server.auth.throttle import LoginThrottle
from aimindserve.server.desired import DesiredHub
from aimindserve.server.objects import find_api_key, find_session, find_user, find_worker
from aimindserve.server.parts import ServerParts
from aimindserve.server.render import Renderer
from aimindserve.server.streams import Streams
from aimindserve.server.telemetry import Telemetry


@dataclass(frozen=True, slots=True)
class Services:
    """The parts, and what the server itself adds to them."""

    parts: ServerParts
    verifier: Verifier
    passwords: Passwords
    sessions: Sessions
    throttle: LoginThrottle
    telemetry: Telemetry
    renderer: Renderer
    streams: Streams
    audit: Audit
    desired: DesiredHub

    @classmethod
    def of(cls, parts: ServerParts) -> "Services":
        """Everything, joined."""
        telemetry = Telemetry()
        return cls(
            parts=parts,
            verifier=Verifier(parts.store, parts.config, parts.clock),
            passwords=Passwords(),
            sessions=Sessions(parts.store, parts.clock, parts.config.pepper),
            throttle=LoginThrottle(parts.clock),
            telemetry=telemetry,
            renderer=Renderer(parts.store, telemetry, parts.clock),
            streams=Streams(parts.config.streams_per_principal),
            audit=Audit(parts.records, parts.clock),
            desired=DesiredHub(parts.store),
        )

    def still_valid(self, principal: Principal) -> bool:
        """Whether what `principal` proved to be at the start of a stream is still so."""
        store = self.parts.store
        if principal.kind is PrincipalKind.WORKER:
            return find_worker(store, principal.name) is not None
        if principal.key:
            key = find_api_key(store, principal.key)
            if key is None or (key.spec.expires_at or self.parts.clock.now() + 1) <= (
                self.parts.clock.now()
            ):
                return False
        if principal.session:
            session = find_session(store, principal.session)
            if session is None or not self.sessions.is_live(session):
                return False
        if principal.kind in {PrincipalKind.USER, PrincipalKind.KEY}:
            user = find_user(store, principal.name)
            return user is not None and not user.spec.disabled and user.spec.role is principal.role
        return True


def principal_of(request: Request) -> Principal:
    """Who sent `request`; the guard has put it there."""
    return request.scope["aims.principal"]
