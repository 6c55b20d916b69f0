"""Where a request ends, decided so that no other server could decide differently.

llhttp in strict mode already refuses: content-length with transfer-encoding, two content-lengths,
malformed chunks, folded lines, bare line feeds, spaces before the colon. The rest is refused here.
RFC 9112 sections 3, 6 and 11.
"""

from dataclasses import dataclass

from aimindserve.wire.headers import Field


class RefusedError(Exception):
    """A request that ends its connection, with the status and sentence that are sent."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.message = message


@dataclass(frozen=True, slots=True)
class Framing:
    """`length` is None for a chunked body; there is a body unless `length` is 0."""

    length: int | None
    expects_continue: bool = False

    @property
    def has_body(self) -> bool:
        """Whether body bytes follow the head."""
        return self.length != 0


EMPTY = Framing(0)
_DECISIVE = frozenset({b"host", b"content-length", b"transfer-encoding", b"expect"})


def framing_of(method: str, fields: list[Field], *, http_1_0: bool) -> Framing:
    """The framing of a request with these fields (lower-case names). Raises RefusedError."""
    found: dict[bytes, list[bytes]] = {}
    for name, value in fields:
        if name in _DECISIVE:
            found.setdefault(name, []).append(value)
    hosts = len(found.get(b"host", ()))
    if hosts != 1 and not (http_1_0 and hosts == 0):
        raise RefusedError(400, "The request must have exactly one Host field.")
    if method == "CONNECT":
        raise RefusedError(405, "This server is no proxy.")
    lengths = found.get(b"content-length", [])
    codings = found.get(b"transfer-encoding", [])
    if not lengths and not codings:
        return EMPTY
    if len(lengths) + len(codings) > 1 or (codings and http_1_0):
        raise RefusedError(400, "The length of the request's body is ambiguous.")
    expects = any(_expects_continue(value) for value in found.get(b"expect", ()))
    if codings:
        _check_coding(codings[0])
        return Framing(None, expects)
    return Framing(_length(lengths[0]), expects)


def _check_coding(value: bytes) -> None:
    if value.strip().lower() != b"chunked":
        raise RefusedError(400, "The only transfer-encoding understood is chunked.")


def _expects_continue(value: bytes) -> bool:
    if value.strip().lower() != b"100-continue":
        raise RefusedError(417, "The only expectation understood is 100-continue.")
    return True


def _length(value: bytes) -> int:
    text = value.strip()
    if not text.isdigit() or len(text) > 18:
        raise RefusedError(400, "Content-Length is not a number.")
    return int(text)


def clean_target(url: bytes) -> str:
    """The path and query of a request target. Raises RefusedError for what is not one."""
    try:
        target = url.decode("ascii")
    except UnicodeDecodeError:
        raise RefusedError(400, "The request's path must be ASCII; encode the rest.") from None
    if not target.startswith("/"):
        target = _from_absolute(target)
    if "#" in target:
        raise RefusedError(400, "The request's path may not have a fragment.")
    return target


def _from_absolute(target: str) -> str:
    if target == "*":
        return "/*"
    scheme, found, rest = target.partition("://")
    if not found or scheme.lower() not in ("http", "https"):
        raise RefusedError(400, "The request's target must be a path.")
    slash = rest.find("/")
    if slash < 0:
        return "/" + rest[rest.find("?") :] if "?" in rest else "/"
    return rest[slash:]
