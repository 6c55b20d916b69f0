"""Which workers can share one model, when it is cut over several of them.

All must have the same version of the engine: its processes speak a protocol of their own, which
promises nothing between two versions. A worker with several starts the one that is wanted, else the
first that it names (`backends._installations`). And whoever lends devices must be reached from the
worker that leads: one that is known by an address of its own machine only can lead, but not lend.
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


def can_lend(ask: Ask, shape: Shape, main: WorkerView, other: WorkerView) -> bool:
    """Whether `other` could lend devices to `main`, memory aside."""
    reached = not other.local or main.local
    return reached and version(ask, shape, main) == version(ask, shape, other)


def apart(ask: Ask, shape: Shape, workers: Sequence[WorkerView]) -> dict[str, Reason]:
    """Worker -> why it cannot take part with most of the others, for a shape over several."""
    if shape.layers is None or not shape.layers.remote_max:
        return {}
    found = {worker.name: version(ask, shape, worker) for worker in workers}
    counts = Counter(each for each in found.values() if each)
    usual = min(counts, key=lambda each: (-counts[each], each), default="")
    told: dict[str, Reason] = {}
    for worker in workers:
        have = found[worker.name]
        if have and have != usual:
            told[worker.name] = _differs(shape.requirement.installation, worker.name, have, usual)
        elif have and worker.local and not all(each.local for each in workers):
            told[worker.name] = Reason("lends_nothing", {"worker": worker.name})
    return told


def _differs(name: str, worker: str, have: str, usual: str) -> Reason:
    params = {"worker": worker, "have": f"{name} {have}", "usual": f"{name} {usual}"}
    return Reason("version_differs", params)
