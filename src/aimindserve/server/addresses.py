"""Which addresses the server may be sent to by what a worker says of itself.

A worker names its own host, and the server opens connections to it with a credential. Addresses
that can never be a worker's but often are something secret (cloud metadata) are refused.
"""

import ipaddress
import re

from aimindserve.core.errors import InvalidError

_NAME = re.compile(
    r"^(?=.{1,253}$)[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?"
    r"(\.[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?)*\Z"
)
_FORBIDDEN_NAMES = ("metadata", "metadata.google.internal", "instance-data")


def check_host(host: str) -> None:
    """Raise InvalidError unless `host` may be a worker's address or name."""
    try:
        address = ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        good = _NAME.match(host) is not None and not _is_number(host)
        if good and host.lower() not in _FORBIDDEN_NAMES:
            return
        raise _refused(host) from None
    plain = getattr(address, "ipv4_mapped", None) or address
    if plain.is_loopback:
        return  # the embedded worker's; `is_reserved` would call ::1 forbidden
    if plain.is_link_local or plain.is_multicast or plain.is_unspecified or plain.is_reserved:
        raise _refused(host)


def authority(host: str, port: int) -> str:
    """`host:port` for a URL, with brackets around an IPv6 address."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _is_number(host: str) -> bool:
    """`2130706433`, `0x7f.1`: spellings of addresses that resolvers accept and nobody needs."""
    last = host.rsplit(".", 1)[-1].lower()
    return last.isdigit() or last.startswith("0x")


def _refused(host: str) -> InvalidError:
    return InvalidError(
        f"{host[:80]!r} cannot be a worker's address.",
        hint="Start the worker with --worker-ip and an address the server reaches.",
        params={"fields": ["worker.host"]},
    )
