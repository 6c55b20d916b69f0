"""Which version of an engine a worker would start, for shapes whose ranks must all have the same.

Processes of one instance on several workers speak a protocol of their own, which promises nothing
between two versions of it. A worker with several starts the one that is wanted, else the first that
it names (`backends._installations`).
"""

from collections import Counter
from collections.abc import Sequence

from aimindserve.core.reason import Reason
from aimindserve.core.shape import Shape
from aimindserve.scheduler.base import Ask, WorkerView


def version(ask: Ask, shape: Shape, worker: WorkerView) -> str | None:
    """What the worker would start; empty where versions do not matter or it does not say, None
    where it has none."""
    name = shape.requirement.installation
    if not name or worker.backends is None:
        return ""
    there = worker.backends.get(name)
    if there is None:
        return None
    if ask.backend_version:
        return ask.backend_version if ask.backend_version in there else None
    return there[0] if there else ""


def unlike(ask: Ask, shape: Shape, workers: Sequence[WorkerView]) -> dict[str, Reason]:
    """Worker -> why it cannot take part with most of the others, for a shape over several."""
    if shape.layers is None or not shape.layers.remote_max:
        return {}
    found = {worker.name: version(ask, shape, worker) for worker in workers}
    counts = Counter(each for each in found.values() if each)
    if len(counts) < 2:
        return {}
    usual = min(counts, key=lambda each: (-counts[each], each))
    name = shape.requirement.installation
    return {
        worker: Reason(
            "version_differs",
            {"worker": worker, "have": f"{name} {have}", "usual": f"{name} {usual}"},
        )
        for worker, have in found.items()
        if have and have != usual
    }
