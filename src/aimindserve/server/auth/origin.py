"""What ambient authority is worth, given whose page made the request (`wire.page`)."""

from collections.abc import Mapping, Sequence

from aimindserve.core.errors import ForbiddenError
from aimindserve.wire.page import SAFE, from_own_pages, is_local, is_loopback


def require_own_pages(
    method: str, headers: Mapping[str, str], trusted_origins: Sequence[str] = ()
) -> None:
    """Raise ForbiddenError when a cookie may have been sent by somebody else's page."""
    if method in SAFE or from_own_pages(headers, trusted_origins):
        return
    raise ForbiddenError(
        "This request may come from another web site, so the session cookie does not count.",
        hint="Programs: send x-requested-with: aimindserve, or better use an API key.",
    )


def require_no_foreign_page(
    headers: Mapping[str, str], trusted_origins: Sequence[str] = ()
) -> None:
    """Raise ForbiddenError when a browser says that another site's page sent this (sign-in)."""
    told = "origin" in headers or "sec-fetch-site" in headers
    if told and not from_own_pages(headers, trusted_origins):
        raise ForbiddenError("Signing in from another web site's page is refused.")


def is_trusted_localhost(method: str, headers: Mapping[str, str]) -> bool:
    """Whether the gateway saw a direct loopback connection that no foreign page can have made."""
    if "x-aims-forwarded" in headers or not is_loopback(headers.get("x-aims-client", "")):
        return False
    return is_local(method, headers)
