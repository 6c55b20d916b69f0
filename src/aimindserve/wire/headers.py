"""Header fields as bytes: which end at one hop, and how a response head is written."""

from collections.abc import Iterable
from http import HTTPStatus

Field = tuple[bytes, bytes]

HOP_BY_HOP = frozenset(
    {
        b"connection",
        b"keep-alive",
        b"proxy-authenticate",
        b"proxy-authorization",
        b"proxy-connection",
        b"te",
        b"trailer",
        b"transfer-encoding",
        b"upgrade",
    }
)
"""RFC 9110 section 7.6.1; `Connection` may name more."""

_LINES = {
    status.value: b"HTTP/1.1 %d %b\r\n" % (status.value, status.phrase.encode())
    for status in HTTPStatus
}
_FORBIDDEN = (b"\r", b"\n", b"\0")


def status_line(status: int, reason: bytes | None = None) -> bytes:
    """The first line of a response; `reason` as the upstream wrote it, or the usual one."""
    if reason is None:
        return _LINES.get(status) or b"HTTP/1.1 %d Unknown\r\n" % status
    return b"HTTP/1.1 %d %b\r\n" % (status, reason)


def encode_fields(fields: Iterable[Field]) -> bytes:
    """Header lines. Raises ValueError where a value would begin another line."""
    lines = bytearray()
    for name, value in fields:
        if any(bad in name or bad in value for bad in _FORBIDDEN):
            raise ValueError(f"a header field may not hold line ends: {name!r}")
        lines += b"%b: %b\r\n" % (name, value)
    return bytes(lines)


def named_by_connection(fields: Iterable[Field]) -> frozenset[bytes]:
    """Lower-case names of the fields that a `Connection` field declares to end at this hop."""
    named: set[bytes] = set()
    for name, value in fields:
        if name.lower() == b"connection":
            named.update(token.strip().lower() for token in value.split(b","))
    return frozenset(named)


def without_hop_by_hop(
    fields: Iterable[Field], also: frozenset[bytes] = frozenset()
) -> list[Field]:
    """`fields` (lower-case names) without those that end at this hop and those in `also`."""
    fields = list(fields)
    dropped = HOP_BY_HOP | named_by_connection(fields) | also
    return [field for field in fields if field[0] not in dropped]
