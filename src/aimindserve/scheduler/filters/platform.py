"""Refuses workers whose system, processor or devices a shape cannot use."""

from aimindserve.core.reason import Reason
from aimindserve.core.shape import Requirement, Shape
from aimindserve.scheduler.base import Ask, WorkerView


class Platform:
    """Compares what the shape requires with what the worker is."""

    name = "platform"

    def reject(self, ask: Ask, shape: Shape, worker: WorkerView) -> Reason | None:
        """Says what the worker is and what is needed."""
        need = shape.requirement
        missing = _missing(need, worker)
        if not missing:
            return None
        kinds = sorted({device.type for device in worker.devices})
        have = f"{worker.os}/{worker.arch}, " + (", ".join(kinds) or "no accelerator")
        return Reason(
            "platform_unsupported",
            {
                "backend": ask.backend or "The backend",
                "worker": worker.name,
                "have": have,
                "need": missing,
            },
        )


def _missing(need: Requirement, worker: WorkerView) -> str:
    if need.os and worker.os not in need.os:
        return " or ".join(need.os)
    if need.arch and worker.arch not in need.arch:
        return " or ".join(need.arch)
    if not need.device_types and need.compute_capability_min is None:
        return ""
    devices = [
        device
        for device in worker.devices
        if not need.device_types or device.type in need.device_types
    ]
    if not devices:
        return "a device of type " + " or ".join(need.device_types)
    wanted = need.compute_capability_min
    if wanted is None:
        return ""
    best = max(_capability(device.compute_capability) for device in devices)
    return "" if best >= _capability(wanted) else f"compute capability {wanted}"


def _capability(text: str | None) -> tuple[int, ...]:
    """`8.9` as (8, 9); what is not known is below everything."""
    parts = (text or "").split(".")
    return tuple(int(part) for part in parts if part.isdecimal())


PLUGIN = Platform()
