"""What of a machine's measured memory our own engines hold. Pure.

    board ─▶ engines(…) ─▶ machine.usage ─▶ engines(…) ─▶ joined(…) ─▶ Usage.engines

An engine is in it that lived when the measurement ended, with what it held and was before that
began: what starts or grows meanwhile is seen too small, never too large, and never overlooked.

Whoever reads the report sees the whole and our part of it as they were at one moment. An engine
that is not in it holds nothing any more: the agent measures anew after each stop (`agent`).
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from aimindserve.core.device import EngineUsage, Usage
from aimindserve.core.ids import DeviceId
from aimindserve.worker.observed import Health, Process

PROCESSES_TOLD_MAX = 64
REQUESTS_COUNTED_MAX = 10
"""More say nothing more about how much memory an engine takes; and a number that stops growing
makes no news."""


@dataclass(frozen=True, slots=True)
class Engine:
    """An engine of ours before its devices were looked at."""

    usage: EngineUsage
    pids: frozenset[int]


def engines(processes: Iterable[Process], requests: Callable[[str], int]) -> Sequence[Engine]:
    """All that live or may live; `requests` says how many each (by token) has been handed."""
    found: list[Engine] = []
    for process in sorted(processes, key=lambda one: (one.handle.instance, one.token)):
        handle = process.handle
        usage = EngineUsage(
            instance=handle.instance,
            placement_id=handle.placement_id,
            run=handle.run,
            ready=process.health is Health.READY,
            ram_bytes=process.private_bytes,
            peak_bytes=process.peak_bytes,
            reported=process.reported or (),
            requests=min(requests(process.token), REQUESTS_COUNTED_MAX),
        )
        found.append(Engine(usage, frozenset((handle.pid, *process.pids))))
    return found


def joined(usage: Usage, before: Sequence[Engine], after: Sequence[Engine]) -> Usage:
    """`usage` with our engines' part of it, from what was known of them before and after it."""
    told = {
        device.id: dict(device.processes)
        for device in usage.devices
        if device.processes is not None
    }
    devices = tuple(
        device
        if device.processes is None
        else replace(device, processes=device.processes[:PROCESSES_TOLD_MAX])
        for device in usage.devices
    )
    known = {(one.usage.placement_id, one.usage.run): one.usage for one in before}
    ours = tuple(
        replace(
            one.usage,
            devices=_held(one.pids, told),
            ram_bytes=0 if was is None else was.ram_bytes,
            ready=was is not None and was.ready,
        )
        for one in after
        for was in (known.get((one.usage.placement_id, one.usage.run)),)
    )
    return replace(usage, devices=devices, engines=ours)


def _held(
    pids: frozenset[int], told: Mapping[DeviceId, Mapping[int, int]]
) -> tuple[tuple[DeviceId, int], ...]:
    """Nothing on a device of which the driver tells nothing about these processes: some drivers
    hide those inside containers, and a missing line is no proof of zero bytes."""
    sums = {
        device: sum(held for pid, held in processes.items() if pid in pids)
        for device, processes in told.items()
    }
    return tuple((device, held) for device, held in sums.items() if held > 0)
