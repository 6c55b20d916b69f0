"""What a person needs to know once everything is up: addresses, first password, how to join."""

import socket
from collections.abc import Callable

from aimindserve.boot.places import join_token, places_of
from aimindserve.boot.settings import Settings

EVERYWHERE = ("0.0.0.0", "::")  # noqa: S104 - compared with, not listened on


def welcome(settings: Settings, tell: Callable[[str], None]) -> None:
    """Tell it, line by line."""
    if settings.worker_only:
        tell(f"this worker serves {settings.worker.server_url}; Ctrl-C ends it")
        return
    places = places_of(settings)
    tell(f"aiMindServe is ready at {local_url(settings)}")
    tell(f"  OpenAI clients  {local_url(settings)}/v1")
    if not settings.server.disable_openapi_docs:
        tell(f"  management API  {local_url(settings)}/api/v1, described at /docs")
    if places.admin_password.exists():
        tell(f"  first sign-in   {sign_in(settings)}")
    if is_reachable(settings):
        tell(f"  join a machine  {join_command(settings, show_token=False)}")
    else:
        tell(f"  other machines  cannot join: it listens on {settings.server.host} alone (--host)")
    if settings.general.token is None:
        tell(f"  token           in {places.token}")


def sign_in(settings: Settings) -> str:
    """How the first administrator signs in, and that the password is only good for that."""
    file = places_of(settings).admin_password
    return (
        f"aimindserve login {local_url(settings)}, as admin; asks to replace the password in {file}"
    )


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
