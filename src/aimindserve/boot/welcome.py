"""Where a server is, for somebody on this machine and for others, and how they join it."""

import socket

from aimindserve.boot.places import join_token, places_of
from aimindserve.boot.settings import Settings

EVERYWHERE = ("0.0.0.0", "::")  # noqa: S104 - compared with, not listened on


def local_url(settings: Settings) -> str:
    """The server's address for somebody on this machine."""
    host = settings.server.host
    if host in EVERYWHERE:
        host = "127.0.0.1"
    return _url(settings, host)


def join_command(settings: Settings, *, show_token: bool) -> str:
    """What to run on another machine so that it joins this server."""
    token = join_token(places_of(settings), settings) if show_token else "TOKEN"
    host = settings.server.host
    address = _outward_address() if host in EVERYWHERE else host
    return f"aimindserve start --server-url {_url(settings, address)} --token {token}"


def is_reachable(settings: Settings) -> bool:
    """Whether other machines reach this server at all."""
    host = settings.server.host
    return host != "localhost" and not host.startswith("127.") and host != "::1"


def _url(settings: Settings, host: str) -> str:
    scheme, usual = ("https", 443) if settings.tls else ("http", 80)
    name = f"[{host}]" if ":" in host else host
    port = settings.server.port
    return f"{scheme}://{name}" + ("" if port == usual else f":{port}")


def _outward_address() -> str:
    """The address other machines most likely reach this one by; no packet is sent to find it."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))
            return str(probe.getsockname()[0])
        except OSError:
            return socket.gethostname()
