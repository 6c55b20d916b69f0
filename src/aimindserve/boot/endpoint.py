"""Where the control plane listens: a socket file that only this user reaches, or a loopback port
where there are no such files (Windows)."""

import socket
import sys

from aimindserve.boot.places import Places

BACKLOG = 1024


def listen_control(places: Places) -> socket.socket:
    """Listen for gateways and the embedded worker. Raises OSError."""
    if sys.platform == "win32" or places.control_port:
        return socket.create_server(("127.0.0.1", places.control_port), backlog=BACKLOG)
    path = places.control_socket
    staging = path.with_name(path.name + ".new")
    staging.unlink(missing_ok=True)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    listener.bind(str(staging))
    staging.chmod(0o600)
    listener.listen(BACKLOG)
    # Renamed into place: whoever finds the name finds somebody listening.
    staging.replace(path)
    return listener
