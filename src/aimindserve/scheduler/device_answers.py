"""What each device says to an ask: what it has free, what one device needs, what speaks against it.

What is said of one device holds for that device alone: it may be large enough by itself and still
be refused because too few others are.
"""

from dataclasses import dataclass
from typing import Any

from aimindserve.core.device import Device
from aimindserve.core.shape import Shape
from aimindserve.scheduler.base import Ask, WorkerView
from aimindserve.scheduler.room import rule, unfit


@dataclass(frozen=True, slots=True)
class _Wish:
    """The device memory of a shape. Bytes."""

    each: int
    """The least that one device must have free."""
    whole: int
    """Of all devices together."""
    fraction: float


def device_answers(ask: Ask, shape: Shape, worker: WorkerView) -> list[dict[str, Any]]:
    """For every device of `worker`: what it has free, what one device needs, and the code of what
    speaks against it; null when nothing does."""
    return [_answer(ask, shape.on(device.name), worker, device) for device in worker.devices]


def _answer(ask: Ask, shape: Shape, worker: WorkerView, device: Device) -> dict[str, Any]:
    wish = _wish(shape)
    free, need = worker.device_free_bytes.get(device.id, 0), _needed(wish, device)
    return {
        "device": device.id,
        "code": _against(ask, shape, wish, worker, device),
        "free_bytes": free,
        "need_bytes": need,
        "missing_bytes": max(need - free, 0),
    }


def _wish(shape: Shape) -> _Wish:
    if shape.layers is not None:
        cut = shape.layers
        whole = sum(parts.total for parts in cut.device)
        overhead = cut.overhead.total + cut.overhead_last.total
        least = sum(parts.total for parts in cut.device[-cut.least :]) if cut.least else 0
        each = least if cut.devices_max == 1 else min(parts.total for parts in cut.device)
        return _Wish(each + overhead, whole + overhead, 0.0)
    sizes = [parts.total for rank in shape.ranks for parts in rank.devices]
    return _Wish(min(sizes, default=0), sum(sizes), shape.device_fraction)


def _needed(wish: _Wish, device: Device) -> int:
    return max(wish.each, int(device.memory_bytes * wish.fraction))


def _against(ask: Ask, shape: Shape, wish: _Wish, worker: WorkerView, device: Device) -> str | None:
    if unfit(device, rule(ask, shape)):
        return "platform_unsupported"
    if ask.device_ids and device.id not in ask.device_ids:
        return "selector_empty"
    if device.id in rule(ask, shape).without:
        return ask.failures[device.id].code
    if worker.device_free_bytes.get(device.id, 0) < _needed(wish, device):
        return "no_fit_vram"
    return None
