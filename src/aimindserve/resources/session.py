"""Session: a sign-in of a browser. Kept so that it survives a restart and can be revoked."""

from aimindserve.resources._kind import Access, Kind, Part, secret


class SessionSpec(Part):
    """Whose session, and until when; the name is a hash of the cookie, never the cookie."""

    user: str
    expires_at: float
    """Seconds since the epoch, at the latest."""
    token_hash: str = secret()


class SessionStatus(Part):
    """When it was last used, coarsely: written at most every few minutes."""

    seen_at: float = 0.0
    """Seconds since the epoch."""


PLUGIN = Kind(
    name="session",
    plural="sessions",
    spec=SessionSpec,
    status=SessionStatus,
    title="A sign-in of a browser.",
    access=Access(read="none", write="none"),
    creatable=False,
    gateway=(
        "spec.user",
        "spec.expires_at",
        "spec.token_hash",
    ),
)
