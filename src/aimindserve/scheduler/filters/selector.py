"""Refuses workers whose labels do not match the deployment's worker_selector."""

from collections.abc import Hashable

from aimindserve.core.reason import Reason
from aimindserve.core.shape import Shape
from aimindserve.scheduler.base import Ask, Screen, WorkerView


class Selector:
    """Every label of the selector must be there with the same value."""

    name = "selector"

    def reject(self, ask: Ask, shape: Shape, worker: WorkerView) -> Reason | None:  # noqa: ARG002
        """Names the rules that do not match."""
        if not ask.selector:
            return None
        unmet = [
            f"{key}={value}"
            for key, value in sorted(ask.selector.items())
            if worker.labels.get(key) != value
        ]
        if not unmet:
            return None
        return Reason("selector_empty", {"rule": ", ".join(unmet), "worker": worker.name})

    def lasting(self, ask: Ask, shape: Shape) -> Hashable:  # noqa: ARG002
        """It looks at the labels only."""
        return tuple(sorted(ask.selector.items()))

    def screen(self, ask: Ask, shape: Shape) -> Screen | None:  # noqa: ARG002
        """The same without the reason."""
        if not ask.selector:
            return None
        rules = tuple(ask.selector.items())
        return lambda worker: all(worker.labels.get(key) == value for key, value in rules)


PLUGIN = Selector()
