"""Refuses workers that do not have the inference backend, or not the version that is wanted."""

from collections.abc import Hashable

from aimindserve.core.reason import Reason
from aimindserve.core.shape import Shape
from aimindserve.scheduler.base import Ask, Screen, WorkerView


class Backend:
    """Only of workers that say what they have."""

    name = "backend"

    def reject(self, ask: Ask, shape: Shape, worker: WorkerView) -> Reason | None:
        """Names the backend with the version, and what is there."""
        there = worker.backends
        name = shape.requirement.installation or ask.backend
        if not name or there is None:
            return None
        versions = there.get(name)
        if versions is not None and (not ask.backend_version or ask.backend_version in versions):
            return None
        wanted = f"{name} {ask.backend_version}".strip()
        have = ", ".join(f"{name} {version}".strip() for version in versions or ())
        params = {
            "worker": worker.name,
            "backend": wanted,
            "have": have or ", ".join(sorted(there)) or "-",
        }
        return Reason("backend_missing", params)

    def lasting(self, ask: Ask, shape: Shape) -> Hashable:
        """It looks at the backend and at what it must be installed as."""
        return ask.backend, ask.backend_version, shape.requirement.installation

    def screen(self, ask: Ask, shape: Shape) -> Screen | None:
        """The same without the reason."""
        if not ask.backend and not shape.requirement.installation:
            return None
        return lambda worker: worker.backends is None or self.reject(ask, shape, worker) is None


PLUGIN = Backend()
