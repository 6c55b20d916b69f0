"""The control plane's process, behind a socket of this machine.

`python -m aimindserve.boot.control HANDOVER`
"""

from aimindserve.boot.child import Child, main
from aimindserve.boot.endpoint import listen_control


async def work(child: Child) -> None:
    """Serve until ordered to end."""
    # Before the long imports: who connects meanwhile waits for an answer instead of being refused.
    listener = listen_control(child.places)
    from aimindserve.boot.control_plane import control_plane, serve
    from aimindserve.server.app import create_app
    from aimindserve.store.urls import backing_for

    async with control_plane(child, backing_for(child.settings.server.database_url)) as parts:
        await serve(create_app(parts), listener, child)


if __name__ == "__main__":
    main("server", work)
