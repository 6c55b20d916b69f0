"""API key: a credential for programs. The secret is shown once and stored as a keyed hash."""

from pydantic import Field

from aimindserve.resources._kind import Access, Kind, Part, secret


class ApiKeySpec(Part):
    """Whose key, and until when."""

    user: str
    description: str = Field(default="", max_length=200)
    prefix: str = ""
    """The part of the key that may be shown, to recognise it."""
    expires_at: float | None = None
    """Seconds since the epoch; None: never."""
    allowed_models: tuple[str, ...] = ()
    """Routes it may use; empty means all."""
    key_hash: str = secret()


class ApiKeyStatus(Part):
    """Nothing is observed of keys yet."""


PLUGIN = Kind(
    name="api-key",
    plural="api-keys",
    spec=ApiKeySpec,
    status=ApiKeyStatus,
    title="A credential for programs.",
    access=Access(read="owner", write="owner"),
    columns=(
        ("NAME", "metadata.name"),
        ("USER", "spec.user"),
        ("PREFIX", "spec.prefix"),
        ("EXPIRES", "spec.expires_at"),
        ("AGE", "metadata.created_at"),
    ),
    creatable=False,
    owned=("user", "prefix", "expires_at", "allowed_models"),
    gateway=(
        "spec.user",
        "spec.expires_at",
        "spec.allowed_models",
        "spec.key_hash",
    ),
)
