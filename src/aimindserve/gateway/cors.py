"""Which pages of other origins may call us: the header fields and the preflight answer."""

from aimindserve.gateway.config import CorsConfig
from aimindserve.wire.server import Reply, Request

_METHODS = ("DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT")
MAX_AGE_S = 600


class Cors:
    """The rules of one gateway."""

    def __init__(self, config: CorsConfig) -> None:
        self.enabled = config.enabled
        self._any = "*" in config.origins
        self._origins = frozenset(origin.encode() for origin in config.origins)
        self._credentials = config.credentials
        methods = _METHODS if "*" in config.methods else config.methods
        self._methods = ", ".join(methods).encode()
        self._any_header = "*" in config.headers
        self._headers = ", ".join(config.headers).encode()

    def fields(self, origin: bytes) -> bytes:
        """Encoded header lines for any answer to a page of `origin`; empty if it may not read."""
        if not self._allowed(origin):
            return b"vary: Origin\r\n"
        if self._any:
            return b"access-control-allow-origin: *\r\n"
        lines = b"access-control-allow-origin: %b\r\nvary: Origin\r\n" % origin
        if self._credentials:
            lines += b"access-control-allow-credentials: true\r\n"
        return lines

    def preflight(self, request: Request, origin: bytes) -> Reply | None:
        """The answer to a preflight; None when `request` is none."""
        if request.method != "OPTIONS":
            return None
        if request.header(b"access-control-request-method") is None:
            return None
        if not self._allowed(origin):
            return Reply(400, b"Pages of this origin may not call this server.\n")
        wanted = request.header(b"access-control-request-headers") or b""
        return Reply(
            204,
            headers=(
                (b"access-control-allow-methods", self._methods),
                (b"access-control-allow-headers", wanted if self._any_header else self._headers),
                (b"access-control-max-age", b"%d" % MAX_AGE_S),
            ),
        )

    def _allowed(self, origin: bytes) -> bool:
        return self._any or origin in self._origins
