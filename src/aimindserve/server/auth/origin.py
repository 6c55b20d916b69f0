"""Where a request comes from: the machine itself, our own pages, or somebody else's page.

Two kinds of authority are ambient, a browser adds them without being asked: the session cookie and
being on the server's own machine. Both count only when no foreign web page can have made the
request:

* a request that changes something must come from our own pages: `Sec-Fetch-Site: same-origin`, or
  an `Origin` equal to the host asked for. With neither, which no present browser does, it must come
  from a program: not call itself a browser, or carry `x-requested-with`, which a foreign page
  cannot send without asking first;
* localhost is believed only under a local host name, so that a name that an attacker points to
  127.0.0.1 gains nothing.
"""

import ipaddress
from collections.abc import Mapping, Sequence
from urllib.parse import urlsplit

from aimindserve.core.errors import ForbiddenError

SAFE = frozenset({"GET", "HEAD", "OPTIONS"})


def require_own_pages(
    method: str, headers: Mapping[str, str], trusted_origins: Sequence[str] = ()
) -> None:
    """Raise ForbiddenError when a cookie may have been sent by somebody else's page."""
    if method in SAFE or _from_own_pages(headers, trusted_origins):
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
    if told and not _from_own_pages(headers, trusted_origins):
        raise ForbiddenError("Signing in from another web site's page is refused.")


def is_trusted_localhost(method: str, headers: Mapping[str, str]) -> bool:
    """Whether the gateway saw a direct loopback connection that no foreign page can have made."""
    if "x-aims-forwarded" in headers or not _is_loopback(headers.get("x-aims-client", "")):
        return False
    if not _is_local_name(headers.get("host", "")):
        return False
    site = headers.get("sec-fetch-site", "none")
    if site not in {"none", "same-origin"}:
        return False
    return method in SAFE or "origin" not in headers or _from_own_pages(headers, ())


def _from_own_pages(headers: Mapping[str, str], trusted_origins: Sequence[str]) -> bool:
    origin = headers.get("origin")
    if origin is not None and origin in trusted_origins:
        return True
    site = headers.get("sec-fetch-site")
    if site is not None:
        return site == "same-origin"
    if origin is not None:
        return _authority(origin) == headers.get("host", "").lower() != ""
    return "x-requested-with" in headers or not _is_browser(headers)


def _is_browser(headers: Mapping[str, str]) -> bool:
    return headers.get("user-agent", "").startswith(("Mozilla/", "Opera/"))


def _authority(origin: str) -> str | None:
    parts = urlsplit(origin)
    return parts.netloc.lower() if parts.scheme in {"http", "https"} else None


def _is_loopback(address: str) -> bool:
    try:
        parsed = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return False
    mapped = getattr(parsed, "ipv4_mapped", None)
    return (mapped or parsed).is_loopback


def _is_local_name(host: str) -> bool:
    name = host.lower()
    if name.startswith("["):
        name = name[1:].partition("]")[0]
    elif name.count(":") == 1:
        name = name.partition(":")[0]
    return name == "localhost" or _is_loopback(name)
