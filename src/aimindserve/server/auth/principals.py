"""Who is asking: one extractor for every carrier of a credential, one answer for every process.

    Authorization: Bearer X     API key, worker credential, join token, the gateway's credential,
                                the operator's, from a file of the server's own directory
    x-api-key: X                API key
    cookie aims_session         a person's session
    (nothing, from loopback)    trusted localhost, if the settings allow it

More than one credential in a request is refused: two parties that each read another one are how
restrictions get lost. Nothing is ever read from the query string.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum

from aimindserve.core.errors import InvalidError, UnauthenticatedError
from aimindserve.kit.clock import Clock
from aimindserve.kit.secrets import keyed_hash, same
from aimindserve.resources.user import Role
from aimindserve.server.objects import (
    ApiKey,
    User,
    api_keys,
    find_api_key,
    find_user,
    find_worker,
    is_active_admin,
    users,
)
from aimindserve.server.parts import ServerConfig
from aimindserve.store.base import Store

COOKIE = "aims_session"
WORKER_PREFIX = "aims-worker"
CREDENTIAL_MAX = 512


class PrincipalKind(str, Enum):
    """What kind of party a principal is."""

    USER = "user"
    KEY = "key"
    LOCALHOST = "localhost"
    WORKER = "worker"
    GATEWAY = "gateway"
    JOIN = "join"


@dataclass(frozen=True, slots=True)
class Principal:
    """A party that proved who it is."""

    kind: PrincipalKind
    name: str
    """The user's name (also for keys and localhost), the worker's, or the kind again."""
    role: Role | None = None
    """None for parties that are no people."""
    key: str = ""
    """Name of the API key used."""
    session: str = ""
    """Name of the session used."""
    must_change_password: bool = False
    inference_only: bool = False
    """A key that is limited to certain models reaches no management."""
    key_expires_at: float | None = None

    @property
    def is_admin(self) -> bool:
        """Whether it may do what administrators may."""
        return self.role is Role.ADMIN

    @property
    def is_person(self) -> bool:
        """Whether it stands for a user."""
        return self.role is not None

    def __str__(self) -> str:
        return f"{self.kind.value}:{self.key or self.name}"


class Carrier(Enum):
    """Where in a request a credential was."""

    BEARER = "bearer"
    API_KEY = "x-api-key"
    COOKIE = "cookie"


@dataclass(frozen=True, slots=True)
class Credential:
    """A credential as it came, not believed yet."""

    carrier: Carrier
    secret: str


def extract(headers: Sequence[tuple[bytes, bytes]]) -> Credential | None:
    """The one credential of a request; raises InvalidError when there are several, and
    UnauthenticatedError for an Authorization header that is not Bearer."""
    found: list[Credential] = []
    for name, value in headers:
        lower = name.lower()
        if lower == b"authorization":
            found.append(Credential(Carrier.BEARER, _bearer(value.decode("latin-1"))))
        elif lower == b"x-api-key":
            found.append(Credential(Carrier.API_KEY, value.decode("latin-1").strip()))
        elif lower == b"cookie":
            found.extend(
                Credential(Carrier.COOKIE, secret) for secret in cookies(value.decode("latin-1"))
            )
    if len(found) > 1:
        raise InvalidError(
            "The request carries more than one credential.",
            hint="Send one of: Authorization: Bearer, x-api-key, or the session cookie.",
            params={"carriers": [each.carrier.value for each in found]},
        )
    if found and not 0 < len(found[0].secret) <= CREDENTIAL_MAX:
        raise refused()
    return found[0] if found else None


def cookies(header: str) -> list[str]:
    """The session cookies in a Cookie header: none, one, or a reason for suspicion."""
    pairs = (part.strip().partition("=") for part in header.split(";"))
    return [value.strip('"') for name, _, value in pairs if name == COOKIE and value]


def refused(message: str = "The credential is not valid.") -> UnauthenticatedError:
    """One answer for every wrong credential, so that it tells nothing."""
    return UnauthenticatedError(
        message, hint="Sign in with: aimindserve login, or send Authorization: Bearer KEY."
    )


def worker_credential(worker: str, secret: str) -> str:
    """What a worker presents: its name, so that it is found without a search, and a secret."""
    return f"{WORKER_PREFIX}.{worker}.{secret}"


class Verifier:
    """Turns credentials other than sessions into principals. Reads the store's memory only."""

    def __init__(self, store: Store, config: ServerConfig, clock: Clock) -> None:
        self.store = store
        self.config = config
        self.clock = clock
        self._keys: dict[str, str] = {}
        self._keys_revision = -1

    def bearer(self, secret: str) -> Principal:
        """Who presents `secret` as a bearer; raises UnauthenticatedError."""
        if self.config.gateway_credential and same(secret, self.config.gateway_credential):
            return Principal(PrincipalKind.GATEWAY, "gateway")
        if self.config.operator_credential and same(secret, self.config.operator_credential):
            return self.localhost()
        if self.config.join_token and same(secret, self.config.join_token):
            return Principal(PrincipalKind.JOIN, "join")
        if secret.startswith(f"{WORKER_PREFIX}."):
            return self._worker(secret)
        return self.api_key(secret)

    def api_key(self, secret: str) -> Principal:
        """Who presents the API key `secret`; raises UnauthenticatedError."""
        presented = keyed_hash(self.config.pepper, secret)
        key = self._find_key(presented)
        if key is None or not same(presented, key.spec.key_hash):
            raise refused("The API key is not valid.")
        if key.spec.expires_at is not None and key.spec.expires_at <= self.clock.now():
            raise refused("The API key has expired.")
        user = self.user(key.spec.user)
        return Principal(
            PrincipalKind.KEY,
            user.name,
            role=user.spec.role,
            key=key.name,
            inference_only=bool(key.spec.allowed_models),
            key_expires_at=key.spec.expires_at,
        )

    def user(self, name: str) -> User:
        """The user, if it exists and may sign in; raises UnauthenticatedError."""
        user = find_user(self.store, name)
        if user is None or user.spec.disabled:
            raise refused()
        return user

    def localhost(self) -> Principal:
        """The trusted operator of this machine, acting as the first administrator."""
        admins = [each.name for each in users(self.store) if is_active_admin(each.spec)]
        name = "admin" if "admin" in admins or not admins else admins[0]
        return Principal(PrincipalKind.LOCALHOST, name, role=Role.ADMIN)

    def _find_key(self, key_hash: str) -> ApiKey | None:
        """By a dictionary that is made anew when the store has changed and a key is not in it."""
        if key_hash not in self._keys and self._keys_revision != self.store.revision:
            self._keys = {key.spec.key_hash: key.name for key in api_keys(self.store)}
            self._keys_revision = self.store.revision
        name = self._keys.get(key_hash)
        return None if name is None else find_api_key(self.store, name)

    def _worker(self, secret: str) -> Principal:
        name = secret.removeprefix(f"{WORKER_PREFIX}.").rpartition(".")[0]
        worker = find_worker(self.store, name)
        presented = keyed_hash(self.config.pepper, secret)
        if worker is None or not same(presented, worker.spec.credential_hash):
            raise refused("The worker's credential is not valid.")
        return Principal(PrincipalKind.WORKER, name)


def _bearer(value: str) -> str:
    scheme, _, secret = value.strip().partition(" ")
    if scheme.lower() != "bearer":
        raise refused("Only Authorization: Bearer is understood.")
    return secret.strip()


def headers_of(raw: Sequence[tuple[bytes, bytes]]) -> Mapping[str, str]:
    """The first value of every header, names in lower case."""
    read: dict[str, str] = {}
    for name, value in raw:
        read.setdefault(name.decode("latin-1").lower(), value.decode("latin-1"))
    return read
