"""Where a request ends, decided so that no other server could decide differently.

llhttp in strict mode already refuses: content-length with transfer-encoding, two content-lengths,
malformed chunks, folded lines, bare line feeds, spaces before the colon. The rest is refused here.
RFC 9112 sections 3, 6 and 11.
"""

from collections.abc import Mapping

from aimindserve.wire.headers import Field


class RefusedError(Exception):
    """A request that ends its connection, with the status and sentence that are sent."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.message = message


_ONCE = (b"host", b"content-length", b"transfer-encoding", b"expect")


def body_length(fields: list[Field], index: Mapping[bytes, bytes], *, http_1_0: bool) -> int | None:
    """The length of the body that follows a head with these fields; None: chunked.

    `index` is `fields` (lower-case names) by name. Raises RefusedError.
    """
    if len(index) != len(fields):
        _check_repeated(fields)
    if b"host" not in index and not http_1_0:
        raise RefusedError(400, "The request must have exactly one Host field.")
    length = index.get(b"content-length")
    coding = index.get(b"transfer-encoding")
    if coding is not None:
        if length is not None or http_1_0:
            raise RefusedError(400, "The length of the request's body is ambiguous.")
        codings = [each.strip().lower() for each in coding.split(b",")]
        if codings != [b"chunked"]:
            # RFC 9112, 6.1: without chunked at the end nobody can know where the body ends.
            status = 501 if codings[-1] == b"chunked" else 400
            raise RefusedError(status, "The only transfer-encoding understood is chunked.")
        return None
    if length is None:
        return 0
    if not length.isdigit() or len(length) > 18:
        raise RefusedError(400, "Content-Length is not a number.")
    return int(length)


def expects_continue(index: Mapping[bytes, bytes]) -> bool:
    """Whether the client waits for 100 Continue. Raises RefusedError for other expectations."""
    value = index.get(b"expect")
    if value is None:
        return False
    if value.strip().lower() != b"100-continue":
        raise RefusedError(417, "The only expectation understood is 100-continue.")
    return True


def clean_target(url: bytes) -> str:
    """The path and query of a request target. Raises RefusedError for what is not one."""
    try:
        target = url.decode("ascii")
    except UnicodeDecodeError:
        raise RefusedError(400, "The request's path must be ASCII; encode the rest.") from None
    if target[:1] != "/":
        target = _from_absolute(target)
    if "#" in target:
        raise RefusedError(400, "The request's path may not have a fragment.")
    return target


def _check_repeated(fields: list[Field]) -> None:
    names = [name for name, _ in fields]
    for name in _ONCE:
        if names.count(name) > 1:
            raise RefusedError(400, f"The request has more than one {name.decode()} field.")


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
