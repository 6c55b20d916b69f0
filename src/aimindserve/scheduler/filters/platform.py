"""Refuses workers whose system, processor or devices a shape cannot use."""

from collections.abc import Hashable

from aimindserve.core.reason import Reason
from aimindserve.core.shape import Requirement, Shape
from aimindserve.scheduler.base import Ask, Screen, WorkerView
from aimindserve.scheduler.pack import way
from aimindserve.scheduler.room import Rule, pools, unfit


class Platform:
    """Compares what the shape requires with what the worker is."""

    name = "platform"

    def reject(self, ask: Ask, shape: Shape, worker: WorkerView) -> Reason | None:
        """Says what the worker is and what is needed."""
        missing = _missing(shape.requirement, worker, devices=way(ask, shape).count > 0)
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

    def lasting(self, ask: Ask, shape: Shape) -> Hashable:
        """It looks at the requirement only, and whether devices are needed at all."""
        return ask.backend, shape.requirement, way(ask, shape).count > 0

    def screen(self, ask: Ask, shape: Shape) -> Screen | None:
        """The same without the reason."""
        need = shape.requirement
        allowed = _rule(need) if way(ask, shape).count or _names_devices(need) else None
        if allowed is None and not need.os and not need.arch:
            return None
        return lambda worker: (
            (not need.os or worker.os in need.os)
            and (not need.arch or worker.arch in need.arch)
            and (allowed is None or bool(pools(worker, allowed)))
        )


def _missing(need: Requirement, worker: WorkerView, *, devices: bool) -> str:
    if need.os and worker.os not in need.os:
        return " or ".join(need.os)
    if need.arch and worker.arch not in need.arch:
        return " or ".join(need.arch)
    if not devices and not _names_devices(need):
        return ""
    allowed = _rule(need)
    found = [unfit(device, allowed) for device in worker.devices]
    if "" in found:
        return ""
    kind = " or ".join(need.device_types)
    # Of several things that are missing, the one that is missing where the type is right.
    best = [each for each in found if not each.startswith("a device")]
    return best[0] if best else f"a device of type {kind}" if kind else "a device"


def _names_devices(need: Requirement) -> bool:
    return bool(need.device_types or need.compute_capability_min or need.driver_min)


def _rule(need: Requirement) -> Rule:
    return Rule(
        need.device_types,
        need.compute_capability_min,
        need.driver_min,
        need.device_addresses,
    )


PLUGIN = Platform()
