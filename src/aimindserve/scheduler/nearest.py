"""How close an ask came: each device's answer, and the device, the worker and all workers together
that miss least. Only numbers; made for people who look at a decision, never while one is made.

What is said of one device holds for that device alone: it may be large enough by itself and still
be refused because too few others are.
"""

from collections.abc import Sequence
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


def nearest(ask: Ask, workers: Sequence[WorkerView]) -> dict[str, Any]:
    """What comes closest to the shape that needs least of its kind: `device` (one that would hold
    all of it), `worker` (its devices together), `cluster` (all of them), or `ram` where no shape
    takes a device. Empty without a worker that may be used."""
    usable = [worker for worker in workers if worker.ready and not worker.cordoned]
    kinds = {device.name for worker in usable for device in worker.devices}
    with_devices = [each.over(kinds) for each in ask.shapes if _wish(each).whole]
    if not usable or not ask.shapes:
        return {}
    if not with_devices:
        kinds = {worker.processor for worker in usable}
        shapes = [shape.over(kinds) for shape in ask.shapes]
        need = min(sum(rank.ram.total for rank in shape.ranks) for shape in shapes)
        best = max(usable, key=lambda worker: (worker.ram_free_bytes, worker.name))
        return {"ram": _told(best.name, need, best.ram_free_bytes)}
    shape = min(with_devices, key=lambda each: _wish(each).whole)
    wish = _wish(shape)
    kinds, chosen = shape.requirement.device_types, ask.device_ids
    failed = rule(ask, shape).without
    largest: tuple[str, int] = ("", -1)
    totals: dict[str, int] = {}
    for worker in usable:
        sizes = worker.device_free_bytes
        allowed = [
            (sizes.get(device.id, 0), device.id)
            for device in worker.devices
            if (not kinds or device.type in kinds)
            and (not chosen or device.id in chosen)
            and device.id not in failed
        ]
        if allowed:
            totals[worker.name] = sum(size for size, _ in allowed)
            most, device = max(allowed)
            largest = (device, most) if most > largest[1] else largest
    if not totals:
        return {}
    home = max(totals, key=lambda name: (totals[name], name))
    return {
        "device": _told(largest[0], wish.whole, largest[1]),
        "worker": _told(home, wish.whole, totals[home]),
        "cluster": _told(f"{len(totals)} workers", wish.whole, sum(totals.values())),
    }


def _told(name: str, need: int, free: int) -> dict[str, Any]:
    return {
        "name": name,
        "need_bytes": need,
        "free_bytes": free,
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
