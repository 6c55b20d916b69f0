"""Who asks, and may they: decided from memory, without a database.

One extractor for all credentials. More than one in a request is refused: two servers that choose
differently would see two different people.
"""

import hmac
from dataclasses import dataclass

from aimindserve.core.errors import ForbiddenError, InvalidError, UnauthenticatedError
from aimindserve.gateway.table import Principal, RoutingTable
from aimindserve.wire.headers import Field

SESSION_COOKIE = b"aims_session"
FORWARDING = frozenset({b"forwarded", b"x-real-ip", b"via", b"cf-connecting-ip", b"true-client-ip"})
_LOCAL = Principal("local", "localhost", "admin", "admin")
_HOW = (
    "Send an API key as 'Authorization: Bearer sk-aims_…'; make one with: aimindserve keys create"
)


@dataclass(slots=True)
class Card:
    """What of a request's header fields the gateway itself looks at; gathered in one pass."""

    bearer: bytes | None = None
    session: bytes | None = None
    credentials: int = 0
    forwarded: bool = False
    content_type: bytes = b""
    accept: bytes = b""
    request_id: bytes = b""
    origin: bytes = b""


def read_card(headers: list[Field]) -> Card:
    """The card of a request with these fields (lower-case names)."""
    card = Card()
    for name, value in headers:
        read = _READERS.get(name)
        if read is not None:
            read(card, value)
        elif name.startswith(b"x-forwarded-") or name in FORWARDING:
            card.forwarded = True
    return card


@dataclass(frozen=True, slots=True)
class Doorkeeper:
    """Admits requests. `trust_localhost`: see `GatewayConfig`."""

    pepper: bytes
    trust_localhost: bool

    def admit(self, card: Card, peer: str, table: RoutingTable, now: float) -> Principal:
        """Who asks. `now` in seconds since the epoch. Raises UnauthenticatedError, InvalidError."""
        if card.credentials != 1:
            if card.credentials:
                raise InvalidError(
                    "The request carries more than one credential.",
                    hint="Send one: a bearer key, x-api-key, or the session cookie.",
                )
            if self.trust_localhost and not card.forwarded and is_loopback(peer):
                return _LOCAL
            raise UnauthenticatedError("This needs a credential.", hint=_HOW)
        if card.bearer is not None:
            principal = table.keys.get(self._hash(card.bearer))
        else:
            principal = table.sessions.get(self._hash(card.session or b""))
        if principal is None:
            raise UnauthenticatedError("The credential is not known, or was revoked.", hint=_HOW)
        if principal.expires_at is not None and principal.expires_at <= now:
            raise UnauthenticatedError("The credential has expired.", hint=_HOW)
        return principal

    def _hash(self, secret: bytes) -> str:
        """As `kit.secrets.keyed_hash`, from bytes and in one call of the C library."""
        return hmac.digest(self.pepper, secret, "sha256").hex()


def check_model(principal: Principal, model: str) -> None:
    """Raises ForbiddenError when `principal` may not use `model`."""
    if principal.allowed_models and model not in principal.allowed_models:
        raise ForbiddenError(
            f"The key {principal.name!r} may not use the model {model!r}.",
            hint="Allow it on the key, or use another key.",
            params={"param": "model", "model": model},
        )


def is_loopback(peer: str) -> bool:
    """Whether an address as the socket gives it is this machine's own loopback."""
    return peer.startswith(("127.", "::ffff:127.")) or peer == "::1"


def _authorization(card: Card, value: bytes) -> None:
    card.credentials += 1
    scheme, _, secret = value.partition(b" ")
    card.bearer = secret.strip() if scheme.lower() == b"bearer" else b""


def _api_key(card: Card, value: bytes) -> None:
    card.credentials += 1
    card.bearer = value


def _cookie(card: Card, value: bytes) -> None:
    for pair in value.split(b";"):
        name, _, content = pair.strip().partition(b"=")
        if name == SESSION_COOKIE:
            card.credentials += 1
            card.session = content


def _content_type(card: Card, value: bytes) -> None:
    card.content_type = value


def _accept(card: Card, value: bytes) -> None:
    card.accept = value


def _request_id(card: Card, value: bytes) -> None:
    card.request_id = value


def _origin(card: Card, value: bytes) -> None:
    card.origin = value


_READERS = {
    b"authorization": _authorization,
    b"x-api-key": _api_key,
    b"cookie": _cookie,
    b"content-type": _content_type,
    b"accept": _accept,
    b"x-request-id": _request_id,
    b"origin": _origin,
}
