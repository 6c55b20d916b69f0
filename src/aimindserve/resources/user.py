"""User: somebody who signs in."""

from enum import Enum

from pydantic import Field

from aimindserve.resources._kind import Access, Kind, Part, secret


class Role(str, Enum):
    """Admins manage everything, users infer and manage their own keys."""

    ADMIN = "admin"
    USER = "user"


class UserSpec(Part):
    """Who somebody is."""

    role: Role = Role.USER
    full_name: str = Field(default="", max_length=200)
    disabled: bool = False
    must_change_password: bool = False
    password_hash: str = secret()


class UserStatus(Part):
    """Nothing is observed of users yet."""


PLUGIN = Kind(
    name="user",
    plural="users",
    spec=UserSpec,
    status=UserStatus,
    title="Somebody who signs in.",
    access=Access(read="admin", write="admin"),
    columns=(
        ("NAME", "metadata.name"),
        ("ROLE", "spec.role"),
        ("FULL NAME", "spec.full_name"),
        ("AGE", "metadata.created_at"),
    ),
    creatable=False,
    gateway=(
        "spec.role",
        "spec.disabled",
    ),
)
