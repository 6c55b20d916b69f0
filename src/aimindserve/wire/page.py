"""Whose page made a request: our own, somebody else's, or no page at all.

Two kinds of authority are ambient, a browser adds them without being asked: the session cookie and
being on the server's own machine. Both count only when no foreign web page can have made the
request. Works on header fields alone; what follows from the answer is its caller's business.
"""

import ipaddress
from collections.abc import Mapping, Sequence
from urllib.parse import urlsplit

SAFE = frozenset({"GET", "HEAD", "OPTIONS"})
"""Methods that change nothing."""


def from_own_pages(headers: Mapping[str, str], trusted_origins: Sequence[str] = ()) -> bool:
    """Whether our own pages, or a program, made the request.

    A page is known by `Sec-Fetch-Site: same-origin` or by an `Origin` equal to the host asked for.
    With neither, which no present browser does, it is a program if it does not call itself a
    browser, or carries `x-requested-with`, which a foreign page cannot send without asking first.
    """
    origin = headers.get("origin")
    if origin is not None and origin in trusted_origins:
        return True
    site = headers.get("sec-fetch-site")
    if site is not None:
        return site == "same-origin"
    if origin is not None:
        return _authority(origin) == headers.get("host", "").lower() != ""
    return "x-requested-with" in headers or not _is_browser(headers)


def is_local(method: str, headers: Mapping[str, str]) -> bool:
    """Whether no foreign page can have made a request that came over loopback.

    A name that an attacker points to 127.0.0.1 gains nothing: only local host names count.
    """
    if not _is_local_name(headers.get("host", "")):
        return False
    if headers.get("sec-fetch-site", "none") not in {"none", "same-origin"}:
        return False
    return method in SAFE or "origin" not in headers or from_own_pages(headers)


def is_loopback(address: str) -> bool:
    """Whether an address, as a socket gives it, is this machine's own loopback."""
    try:
        parsed = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return False
    mapped = getattr(parsed, "ipv4_mapped", None)
    return (mapped or parsed).is_loopback


def _is_browser(headers: Mapping[str, str]) -> bool:
    return headers.get("user-agent", "").startswith(("Mozilla/", "Opera/"))


def _authority(origin: str) -> str | None:
    parts = urlsplit(origin)
    return parts.netloc.lower() if parts.scheme in {"http", "https"} else None


def _is_local_name(host: str) -> bool:
    name = host.lower()
    if name.startswith("["):
        name = name[1:].partition("]")[0]
    elif name.count(":") == 1:
        name = name.partition(":")[0]
    return name == "localhost" or is_loopback(name)
