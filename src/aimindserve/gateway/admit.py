"""Who asks, and may they: decided from memory, without a database.

One extractor for all credentials. More than one in a request is refused: two servers that choose
differently would see two different people.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass

from aimindserve.core.errors import ForbiddenError, InvalidError, UnauthenticatedError
from aimindserve.gateway.table import Principal, RoutingTable
from aimindserve.kit.clock import Clock
from aimindserve.wire.page import SAFE, from_own_pages, is_local, is_loopback
from aimindserve.wire.request import Channel, Request

SESSION_COOKIE = b"aims_session"
_LOCAL = Principal("local", "localhost", "admin", "admin")
_HOW = (
    "Send an API key as 'Authorization: Bearer sk-aims_…'; "
    "make one with: aimindserve keys create NAME"
)
_CARRIERS = frozenset({b"authorization", b"x-api-key", b"cookie"})
_FORWARDING = frozenset(
    {b"forwarded", b"x-real-ip", b"via", b"cf-connecting-ip", b"true-client-ip"}
)
_BLOCK = 64
"""Of SHA-256, in bytes."""


@dataclass(frozen=True, slots=True)
class _Seen:
    bearer: bytes
    hash: str


class Doorkeeper:
    """Admits requests. `trust_localhost`: see `GatewayConfig`."""

    def __init__(self, pepper: bytes, *, trust_localhost: bool) -> None:
        self._trust_localhost = trust_localhost
        # HMAC (RFC 2104) with the key's two blocks hashed once and copied: a third of the time.
        key = (pepper if len(pepper) <= _BLOCK else hashlib.sha256(pepper).digest()).ljust(
            _BLOCK, b"\0"
        )
        self._inner = hashlib.sha256(bytes(byte ^ 0x36 for byte in key))
        self._outer = hashlib.sha256(bytes(byte ^ 0x5C for byte in key))

    def admit(self, request: Request, table: RoutingTable, clock: Clock) -> Principal:
        """Who asks. Raises UnauthenticatedError, InvalidError."""
        index = request.index
        bearer = index.get(b"authorization")
        if (
            bearer is None
            or b"x-api-key" in index
            or b"cookie" in index
            or len(index) != len(request.headers)
        ):
            principal = self._admit_odd(request, table)
        else:
            principal = table.keys.get(self._hash_of(bearer, request.channel))
        if principal is None:
            raise UnauthenticatedError("The credential is not known, or was revoked.", hint=_HOW)
        if principal.expires_at is not None and principal.expires_at <= clock.now():
            raise UnauthenticatedError("The credential has expired.", hint=_HOW)
        return principal

    def knows(self, request: Request, table: RoutingTable, clock: Clock) -> bool:
        """Whether `admit` would let `request` in."""
        try:
            self.admit(request, table, clock)
        except UnauthenticatedError:
            return False
        return True

    def key_hash(self, request: Request) -> str:
        """The hash of the bearer key that `request`'s connection presented last; empty if none."""
        note = request.channel.note
        return note.hash if isinstance(note, _Seen) else ""

    def _hash_of(self, bearer: bytes, channel: Channel) -> str:
        """The hash of the key in `bearer`; a connection's last one is remembered with it, since a
        kept-alive client sends the same field every time. What the hash opens is not."""
        note = channel.note
        if isinstance(note, _Seen) and note.bearer == bearer:
            return note.hash
        seen = channel.note = _Seen(bearer, self.keyed_hash(_secret_of(bearer)))
        return seen.hash

    def keyed_hash(self, secret: bytes) -> str:
        """The same as `kit.secrets.keyed_hash`."""
        inner, outer = self._inner.copy(), self._outer.copy()
        inner.update(secret)
        outer.update(inner.digest())
        return outer.hexdigest()

    def _admit_odd(self, request: Request, table: RoutingTable) -> Principal | None:
        """Anything but one bearer key: look at every field."""
        found: list[tuple[Mapping[str, Principal], bytes]] = []
        for name, value in request.headers:
            if name not in _CARRIERS:
                continue
            if name == b"cookie":
                found += [(table.sessions, cookie) for cookie in _session_cookies(value)]
            else:
                found.append((table.keys, _secret_of(value) if name == b"authorization" else value))
        if len(found) > 1:
            raise InvalidError(
                "The request carries more than one credential.",
                hint="Send one: a bearer key, x-api-key, or the session cookie.",
            )
        if found:
            where, secret = found[0]
            if where is table.sessions:
                _require_own_page(request)
            return where.get(self.keyed_hash(secret))
        if self._trust_localhost and _is_trusted_localhost(request):
            return _LOCAL
        raise UnauthenticatedError("This needs a credential.", hint=_HOW)


def carries_credential(request: Request) -> bool:
    """Whether there is anything that could be a credential."""
    return not _CARRIERS.isdisjoint(request.index)


def is_forwarded(request: Request) -> bool:
    """Whether a proxy stands between the client and us, so that the peer is not the client."""
    return any(name in _FORWARDING or name.startswith(b"x-forwarded-") for name in request.index)


def check_model(principal: Principal, model: str) -> None:
    """Raises ForbiddenError when `principal` may not use `model`."""
    if principal.allowed_models and model not in principal.allowed_models:
        raise ForbiddenError(
            f"The key {principal.name!r} may not use the model {model!r}.",
            hint="Allow it on the key, or use another key.",
            params={"param": "model", "model": model},
        )


def _is_trusted_localhost(request: Request) -> bool:
    """The same rule as the control plane's: direct, over loopback, and from no foreign page."""
    if not is_loopback(request.peer) or is_forwarded(request):
        return False
    return is_local(request.method, _texts(request))


def _require_own_page(request: Request) -> None:
    """Raises ForbiddenError when a session cookie may have been sent by somebody else's page."""
    if request.method not in SAFE and not from_own_pages(_texts(request)):
        raise ForbiddenError(
            "This request may come from another web site, so the session cookie does not count.",
            hint="Programs: use an API key.",
        )


def _texts(request: Request) -> dict[str, str]:
    return {
        name.decode("latin-1"): value.decode("latin-1") for name, value in request.index.items()
    }


def _secret_of(authorization: bytes) -> bytes:
    scheme, _, secret = authorization.partition(b" ")
    return secret.strip() if scheme.lower() == b"bearer" else b""


def _session_cookies(value: bytes) -> list[bytes]:
    pairs = (pair.strip().partition(b"=") for pair in value.split(b";"))
    return [content for name, _, content in pairs if name == SESSION_COOKIE]
