"""How long the scheduler takes: `PYTHONPATH=src python tests/bench/scheduler.py`.

Limit: 1,000 devices and 500 asks in under one second on one core. Prints processor seconds; asserts
nothing, since machines differ.
"""

import time

from aimindserve.core.device import Device, MemoryParts, Need
from aimindserve.core.shape import Requirement, Shape
from aimindserve.scheduler.base import Ask, Snapshot, WorkerView
from aimindserve.scheduler.explain import record
from aimindserve.scheduler.plan import plan

GIB = 1024**3
LIMIT_S = 1.0


def worker(index: int, devices: int) -> WorkerView:
    name = f"w{index:04d}"
    cards = tuple(
        Device(
            id=f"{name}:cuda:{number}",
            index=number,
            type="cuda",
            vendor="nvidia",
            name="H200",
            memory_bytes=(24 + 8 * (index % 5)) * GIB,
            compute_capability="9.0",
        )
        for number in range(devices)
    )
    return WorkerView(
        name=name,
        ready=index % 37 != 0,
        cordoned=index % 41 == 0,
        os="linux",
        arch="amd64",
        labels={"zone": f"z{index % 3}"},
        ram_bytes=256 * GIB,
        ram_free_bytes=200 * GIB,
        devices=cards,
        device_free_bytes={card.id: card.memory_bytes - GIB for card in cards},
        ports_free=64,
    )


def ask(index: int, deployments: int) -> Ask:
    deployment = index % deployments
    ranks = (1, 1, 2, 4, 8)[deployment % 5]
    need = Need(
        device=MemoryParts(weights=(4 + deployment % 40) * GIB), ram=MemoryParts(runtime=GIB)
    )
    shapes = (
        Shape(f"{ranks} devices", (need,) * ranks, Requirement(device_types=("cuda",))),
        Shape("cpu", (Need(ram=MemoryParts(weights=(8 + deployment % 40) * GIB)),)),
    )
    return Ask(
        instance=f"d{deployment:03d}-{index:05d}",
        deployment=f"d{deployment:03d}",
        placement_id=f"p{index}",
        shapes=shapes,
        selector={"zone": f"z{deployment % 3}"} if deployment % 4 == 0 else {},
        strategy="binpack" if deployment % 2 else "spread",
        created_at=float(index),
    )


def main() -> None:
    print(
        f"{'workers':>8} {'devices':>8} {'asks':>6} {'kinds':>6} {'placed':>7} {'CPU s':>8}  limit"
    )
    for workers, devices, kinds in ((125, 8, 50), (125, 8, 500), (1000, 1, 50), (1000, 1, 500)):
        snapshot = Snapshot(1, tuple(worker(index, devices) for index in range(workers)))
        asks = [ask(index, kinds) for index in range(500)]
        started = time.process_time()
        result = plan(snapshot, asks)
        took = time.process_time() - started
        print(
            f"{workers:8} {workers * devices:8} {500:6} {kinds:6} {len(result.placements):7} "
            f"{took:8.3f}  {LIMIT_S:.1f} s"
        )
    started = time.perf_counter()
    for decision in result.decisions.values():
        record(decision)
    print(f"500 decision records: {time.perf_counter() - started:.3f} s")


if __name__ == "__main__":
    main()
