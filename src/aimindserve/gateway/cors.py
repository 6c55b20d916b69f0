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

    def answer(self, request: Request) -> bool:
        """Put the fields for the page's origin into whatever answer `request` gets; answer it here
        and return True when it is a preflight."""
        origin = request.index[b"origin"]
        request.extra += self._fields(origin)
        if request.method != "OPTIONS" or b"access-control-request-method" not in request.index:
            return False
        request.reply(self._preflight(request, origin))
        return True

    def _fields(self, origin: bytes) -> bytes:
        if self._any:
            return b"access-control-allow-origin: *\r\n"
        if origin not in self._origins:
            return b"vary: Origin\r\n"
        lines = b"access-control-allow-origin: %b\r\nvary: Origin\r\n" % origin
        if self._credentials:
            lines += b"access-control-allow-credentials: true\r\n"
        return lines

    def _preflight(self, request: Request, origin: bytes) -> Reply:
        if not self._any and origin not in self._origins:
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
