"""How much room a worker has left, as a share: what the strategies compare."""

from aimindserve.core.shape import Shape
from aimindserve.scheduler.base import WorkerView
from aimindserve.scheduler.pack import demand


def free_share(shape: Shape, worker: WorkerView) -> float:
    """0 (full) to 1 (empty): of the devices' memory for shapes that take devices, else of RAM."""
    if demand(shape).devices:
        share = worker.free_share
    else:
        share = worker.ram_free_bytes / worker.ram_bytes if worker.ram_bytes else 0.0
    return min(max(share, 0.0), 1.0)
