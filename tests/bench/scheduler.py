"""How long the scheduler takes, and how much memory it needs.

    PYTHONPATH=src python tests/bench/scheduler.py

    small    1,000 devices and 500 asks, on workers of eight devices and of one       limit 1 s each
    large    10,000 devices on 1,250 workers, 2,000 asks of 200 kinds                 limit 5 s
    one more the same cluster, a few workers changed, one new ask (median and worst)  limit 20 ms

Prints processor seconds of one core, measured around `plan` alone, and the resident memory of the
process at its highest. One more is done three times over, from workers that nobody has seen: an
ask's time is the least of its three, and `once` the worst of all 600, whatever else the machine did
just then. Asserts nothing, since machines differ.
"""

import random
import resource
import sys
import time
from dataclasses import replace
from statistics import median

from aimindserve.core.device import Device, MemoryParts, Need
from aimindserve.core.shape import Layers, Requirement, Shape
from aimindserve.kit.pauses import shorten
from aimindserve.scheduler.base import Ask, Snapshot, WorkerView
from aimindserve.scheduler.explain import record
from aimindserve.scheduler.plan import plan

GIB = 1024**3
MIB = 1024**2
CUDA = Requirement(device_types=("cuda",))
TRIES = 3


def worker(index: int, devices: int, used: random.Random | None = None) -> WorkerView:
    """`used`: what other programs hold differs from device to device."""
    name = f"w{index:04d}"
    cards = tuple(
        Device(
            id=f"{name}:cuda:{number}",
            index=number,
            type="cuda",
            vendor="nvidia",
            name=("H200", "H100", "A100", "L40S", "RTX 4090")[index % 5],
            memory_bytes=(24 + 14 * (index % 5)) * GIB,
            compute_capability="9.0",
            driver_version="550.54.15",
        )
        for number in range(devices)
    )
    taken = [GIB if used is None else used.randrange(0, 8 * GIB, 256 * MIB) for _ in cards]
    return WorkerView(
        name=name,
        ready=index % 37 != 0,
        cordoned=index % 41 == 0,
        os="linux",
        arch="amd64",
        labels={"zone": f"z{index % 3}"},
        ram_bytes=512 * GIB,
        ram_free_bytes=400 * GIB,
        devices=cards,
        device_free_bytes={
            card.id: card.memory_bytes - size for card, size in zip(cards, taken, strict=True)
        },
        ports_free=64,
        disk_free_bytes=2000 * GIB,
        python="3.12",
        backends={"vllm": ("0.10.1",), "llama.cpp": ("b6500",)},
    )


def ask(index: int, deployments: int) -> Ask:
    """Fixed devices: one, two, four or eight of a worker."""
    deployment = index % deployments
    count = (1, 1, 2, 4, 8)[deployment % 5]
    device = MemoryParts(weights=(4 + deployment % 40) * GIB)
    need = Need(devices=(device,) * count, ram=MemoryParts(runtime=GIB))
    shapes = (
        Shape(f"{count} devices", (need,), CUDA),
        Shape("cpu", (Need(ram=MemoryParts(weights=(8 + deployment % 40) * GIB)),)),
    )
    return _ask(index, deployment, shapes)


def mixed(index: int, deployments: int) -> Ask:
    """Every way of packing, in turn."""
    deployment = index % deployments
    way = deployment % 10
    if way < 6:
        return ask(index, deployments)
    if way < 8:
        shapes = _layered(deployment)
    elif way == 8:
        shapes = tuple(_share(count, deployment) for count in (1, 2, 4, 8))
    else:
        part = Need(devices=(MemoryParts(weights=(10 + deployment % 10) * GIB),) * 8)
        shapes = (_share(8, 99), Shape("2 workers", (part, part), CUDA, None, True, True, 0.5))
    return replace(_ask(index, deployment, shapes), backend="vllm" if way > 7 else "llama.cpp")


def _layered(deployment: int) -> tuple[Shape, ...]:
    count = 33 + deployment % 48
    layer = MemoryParts(weights=(300 + 10 * (deployment % 60)) * MIB)
    full = Layers(
        device=(layer,) * count,
        host=(layer,) * count,
        overhead=MemoryParts(compute=700 * MIB),
        overhead_last=MemoryParts(compute=300 * MIB),
        least=count,
        devices_max=8,
    )
    base = (Need(ram=MemoryParts(runtime=GIB)),)
    return (
        Shape("full", base, CUDA, full),
        Shape("remote", base, CUDA, replace(full, remote_max=8)),
        Shape("partial", base, CUDA, replace(full, least=1)),
    )


def _share(count: int, deployment: int) -> Shape:
    device = MemoryParts(weights=(30 + deployment % 60) * GIB // count)
    return Shape(
        f"{count} devices", (Need(devices=(device,) * count),), CUDA, None, False, False, 0.85
    )


def _ask(index: int, deployment: int, shapes: tuple[Shape, ...]) -> Ask:
    return Ask(
        instance=f"d{deployment:03d}-{index:05d}",
        deployment=f"d{deployment:03d}",
        placement_id=f"p{index}",
        shapes=shapes,
        selector={"zone": f"z{deployment % 3}"} if deployment % 4 == 0 else {},
        strategy="binpack" if deployment % 2 else "spread",
        file_bytes=20 * GIB,
        created_at=1e9 + index / 100,
        backend="llama.cpp",
    )


def small() -> None:
    print(
        f"{'workers':>8} {'devices':>8} {'asks':>6} {'kinds':>6} {'placed':>7} {'CPU s':>8}  limit"
    )
    for workers, devices, kinds in ((125, 8, 50), (125, 8, 500), (1000, 1, 50), (1000, 1, 500)):
        snapshot = Snapshot(1, tuple(worker(index, devices) for index in range(workers)))
        _timed(snapshot, [ask(index, kinds) for index in range(500)], kinds, 1.0)


def _timed(snapshot: Snapshot, asks: list[Ask], kinds: int, limit_s: float):
    devices = sum(len(each.devices) for each in snapshot.workers)
    started = time.process_time()
    result = plan(snapshot, asks)
    refused = [refusal.summary.code for refusal in result.refusals.values()]
    took = time.process_time() - started
    print(
        f"{len(snapshot.workers):8} {devices:8} {len(asks):6} {kinds:6} "
        f"{len(asks) - len(refused):7} {took:8.3f}  {limit_s:.1f} s"
    )
    return result


def large() -> None:
    used = random.Random(1)
    workers = [worker(index, 8, used) for index in range(1250)]
    asks = [mixed(index, 200) for index in range(2000)]
    result = _timed(Snapshot(1, tuple(workers)), asks, 200, 5.0)
    _resident()
    print("with Python's collector as it comes:")
    one_more(list(workers), asks, used)
    print("as the processes of the product are:")
    shorten()
    one_more(workers, asks, used)
    started = time.process_time()
    for decision in list(result.decisions.values())[:200]:
        record(decision)
    print(f"a decision record: {(time.process_time() - started) / 200 * 1000:.1f} ms")


def one_more(workers: list[WorkerView], asks: list[Ask], used: random.Random) -> None:
    """One new ask at a time, of every kind, after three workers have changed; and with no room."""
    for title, room in (("one new ask", True), ("one new ask, no room", False)):
        if not room:
            workers = [replace(each, device_free_bytes={}, ram_free_bytes=0) for each in workers]
        seed = used.random()
        tries = [_one_by_one(workers, asks, random.Random(seed)) for _ in range(TRIES)]
        _told(title, [times for times, _ in tries])
        _told("  its record", [told for _, told in tries])


def _one_by_one(
    workers: list[WorkerView], asks: list[Ask], used: random.Random
) -> tuple[list[float], list[float]]:
    """Milliseconds of each plan, and of the first records."""
    workers = [replace(each) for each in workers]
    plan(Snapshot(1, tuple(workers)), asks[:10])
    times: list[float] = []
    told: list[float] = []
    for number, new in enumerate(asks[:200]):
        for _ in range(3):
            place = used.randrange(len(workers))
            workers[place] = replace(workers[place], ports_free=60 + number % 4)
        snapshot = Snapshot(number, tuple(workers))
        started = time.process_time()
        result = plan(snapshot, [new])
        assert bool(result.placements) == (not [each.summary for each in result.refusals.values()])
        times.append((time.process_time() - started) * 1000)
        if number < 50:
            record(result.decisions[new.instance])
            told.append((time.process_time() - started) * 1000 - times[-1])
    return times, told


def _told(title: str, tries: list[list[float]]) -> None:
    least = [min(each) for each in zip(*tries, strict=True)]
    worst = f"worst {max(least):.1f} ms (once {max(map(max, tries)):.1f})"
    print(f"{title}: {median(least):.1f} ms, {worst}  limit 20 ms")


def _resident() -> None:
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    size = peak / 1024 if sys.platform != "darwin" else peak / MIB
    print(f"resident memory at its highest: {size:.0f} MiB  limit 300 MiB")


if __name__ == "__main__":
    small()
    large()
