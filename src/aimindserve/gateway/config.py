"""What a gateway needs to know; boot fills it from the settings."""

import ssl
from dataclasses import dataclass, field
from pathlib import Path

from aimindserve.core.errors import SettingsError
from aimindserve.kit.units import KIB, MIB
from aimindserve.wire.limits import Limits
from aimindserve.wire.upstream import Origin

METRICS_PORT = 10161


@dataclass(frozen=True, slots=True)
class CorsConfig:
    """Which pages of other origins may call us. `*` stands for any."""

    enabled: bool = False
    origins: tuple[str, ...] = ("*",)
    methods: tuple[str, ...] = ("*",)
    headers: tuple[str, ...] = ("*",)
    credentials: bool = False

    def __post_init__(self) -> None:
        if self.enabled and self.credentials and "*" in self.origins:
            raise SettingsError(
                "CORS with credentials for any origin would let every web page act as its visitor.",
                hint="List the origins in cors_allow_origins, or turn cors_allow_credentials off.",
            )


@dataclass(frozen=True, slots=True)
class BodyLimits:
    """The largest request bodies, in bytes."""

    json_bytes: int = 20 * MIB
    multipart_bytes: int = 512 * MIB
    multipart_search_bytes: int = 32 * MIB
    """How far into a form the field `model` is looked for; so much is held in memory."""
    held_answer_bytes: int = 256 * KIB
    """Answers that are not streams are held back up to this size, so that one that breaks off can
    still become a proper error."""


@dataclass(frozen=True, slots=True)
class GatewayConfig:
    """One gateway process."""

    control: Origin
    """Where the control plane listens: `Origin.unix(path)` or host and port."""
    credential: str
    """What we present to the control plane."""
    pepper: bytes
    """The key of the keyed hashes under which secrets are compared."""
    host: str = "0.0.0.0"  # noqa: S104 - the front door is there to be reached
    port: int = 80
    reuse_port: bool = False
    trust_localhost: bool = True
    """Whether a request without credential from this machine acts as admin."""
    tls_cert: Path | None = None
    tls_key: Path | None = None
    table_path: Path | None = None
    """Where the last good documents are kept, for a start without control plane."""
    cors: CorsConfig = field(default_factory=CorsConfig)
    limits: Limits = field(default_factory=Limits)
    bodies: BodyLimits = field(default_factory=BodyLimits)
    metrics_host: str = "0.0.0.0"  # noqa: S104 - scraped from elsewhere; shows no secrets
    metrics_port: int | None = METRICS_PORT
    """None: off."""
    retry_window_s: float = 5.0
    """How long a request waits for the only worker that could serve it and refuses connections
    (its agent is being restarted)."""

    def tls_context(self) -> ssl.SSLContext | None:
        """The server side of TLS; None without a certificate. Raises SettingsError."""
        if self.tls_cert is None:
            return None
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.set_alpn_protocols(["http/1.1"])
        try:
            context.load_cert_chain(self.tls_cert, self.tls_key)
        except (OSError, ssl.SSLError) as error:
            raise SettingsError(
                f"The TLS certificate {self.tls_cert} cannot be used: {error}.",
                hint="Give PEM files with ssl_certfile and ssl_keyfile that belong together.",
            ) from error
        return context
