"""The demo's control plane: the real one over a store in memory, with a simulated fleet beside it.

`python -m aimindserve.cli._demo_control HANDOVER WORKERS DEVICES SEED`
"""

import sys

from aimindserve.boot.child import Child, main
from aimindserve.boot.endpoint import listen_control


async def work(child: Child) -> None:
    """Serve until ordered to end."""
    listener = listen_control(child.places)
    from aimindserve.boot.control_plane import control_plane, serve
    from aimindserve.kit.tasks import TaskSupervisor
    from aimindserve.server.app import create_app
    from aimindserve.sim.demo import run_fleet
    from aimindserve.sim.talk import Talk
    from aimindserve.store.memory import MemoryBacking

    workers, devices, seed = (int(word) for word in sys.argv[2:5])
    tasks, talk = TaskSupervisor(child.clock), Talk()
    async with control_plane(child, MemoryBacking()) as parts:
        fleet = run_fleet(
            parts.store, parts.leases, parts.clock,
            workers=workers, devices=devices, seed=seed, talk=talk,
        )  # fmt: skip
        talk.start()
        tasks.spawn(fleet, name="fleet")
        try:
            await serve(create_app(parts), listener, child)
        finally:
            await tasks.aclose()
            talk.stop()


if __name__ == "__main__":
    main("server", work)
