"""How much the scheduler places of what could be placed at all.

    PYTHONPATH=src python tests/bench/scheduler_quality.py [clusters] [--write]

Generated clusters, small enough to be solved exactly by a mixed-integer solver (HiGHS). Both get
the same question, asks of one moment under binpack: which instances go on which devices so that as
many as possible run? Prints the sum over all clusters of what we place against the optimum, and
against that of another solution, the one with most memory in use. Fails below the limit. The solver
needs some minutes; `--write` keeps what it found for `tests/golden/scheduler/test_quality.py`.
"""

import json
import random
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import highspy

from aimindserve.core.device import Device, MemoryParts, Need
from aimindserve.core.shape import Requirement, Shape
from aimindserve.scheduler.base import Ask, Snapshot, WorkerView
from aimindserve.scheduler.plan import plan

CLUSTERS = 200
OPTIMUM = Path(__file__).parent.parent / "golden" / "scheduler" / "optimum.json"
LIMIT = 0.98
SOLVER_S = 10.0
SIZES = (24, 48, 80)


@dataclass(frozen=True)
class Score:
    """What was placed."""

    instances: float
    memory: float


def cluster(seed: int) -> tuple[Snapshot, list[Ask]]:
    """A cluster, and asks for 60 % to 120 % of its free device memory. Sizes in GiB."""
    chance = random.Random(seed)
    workers = tuple(_worker(chance, index) for index in range(chance.randint(2, 5)))
    free = sum(sum(worker.device_free_bytes.values()) for worker in workers)
    wanted = free * chance.uniform(0.6, 1.2)
    asks: list[Ask] = []
    while wanted > 0 and len(asks) < 24:
        ask = _ask(chance, len(asks), max(len(worker.devices) for worker in workers))
        wanted -= sum(memory(ask))
        asks.append(ask)
    return Snapshot(1, workers), asks


def _worker(chance: random.Random, index: int) -> WorkerView:
    name = f"w{index}"
    size = chance.choice(SIZES)
    devices = tuple(
        Device(f"{name}:cuda:{number}", number, "cuda", "", "", size)
        for number in range(chance.choice((1, 2, 4, 4, 8)))
    )
    return WorkerView(
        name=name,
        ready=True,
        cordoned=False,
        os="linux",
        arch="amd64",
        labels={},
        ram_bytes=256,
        ram_free_bytes=256,
        devices=devices,
        device_free_bytes={
            device.id: size - chance.choice((0, 0, 0, chance.randrange(size // 2)))
            for device in devices
        },
    )


def _ask(chance: random.Random, index: int, most: int) -> Ask:
    count = chance.choice([each for each in (1, 1, 1, 1, 2, 2, 4) if each <= most])
    size = chance.choice((6, 10, 16, 20, 30, 40, 60)) if count == 1 else chance.choice((16, 22, 40))
    need = Need((MemoryParts(weights=size),) * count, MemoryParts(runtime=chance.randint(1, 4)))
    shape = Shape(f"{count} devices", (need,), Requirement(device_types=("cuda",)))
    return Ask(f"i{index:02d}", f"d{index:02d}", f"p{index}", (shape,), strategy="binpack")


def memory(ask: Ask) -> list[int]:
    """What an ask needs on each of its devices."""
    return [parts.total for parts in ask.shapes[0].ranks[0].devices]


def ours(snapshot: Snapshot, asks: list[Ask]) -> Score:
    """What the scheduler places."""
    placed = plan(snapshot, asks).placements
    return Score(len(placed), sum(sum(memory(ask)) for ask in asks if ask.instance in placed))


def optimum(snapshot: Snapshot, asks: list[Ask], values: list[float]) -> float:
    """The largest sum of `values` of asks that can be placed together; where the solver gives up,
    what it proved that nobody can exceed.

    A variable for each ask and worker (it runs there) and for each ask and device (it holds it):
    an ask runs once at most, holds as many devices of the worker as it needs, and no device and no
    RAM holds more than is free.
    """
    solver = highspy.Highs()
    solver.silent()
    solver.setOptionValue("time_limit", SOLVER_S)
    runs = {
        (ask.instance, worker.name): solver.addBinary()
        for ask in asks
        for worker in snapshot.workers
    }
    holds = {
        (ask.instance, device.id): solver.addBinary()
        for ask in asks
        for worker in snapshot.workers
        for device in worker.devices
    }
    for ask in asks:
        name, count = ask.instance, len(memory(ask))
        solver.addConstr(sum(runs[name, worker.name] for worker in snapshot.workers) <= 1)
        for worker in snapshot.workers:
            held = sum(holds[name, device.id] for device in worker.devices)
            solver.addConstr(held - count * runs[name, worker.name] == 0)
    for worker in snapshot.workers:
        for device in worker.devices:
            used = sum(memory(ask)[0] * holds[ask.instance, device.id] for ask in asks)
            solver.addConstr(used <= worker.device_free_bytes[device.id])
        ram = [ask.shapes[0].ranks[0].ram.total for ask in asks]
        used = sum(
            size * runs[ask.instance, worker.name] for ask, size in zip(asks, ram, strict=True)
        )
        solver.addConstr(used <= worker.ram_free_bytes)
    total = sum(
        value * runs[ask.instance, worker.name]
        for ask, value in zip(asks, values, strict=True)
        for worker in snapshot.workers
    )
    solver.maximize(total)
    return solver.getInfo().mip_dual_bound


def solved(seed: int) -> tuple[float, float]:
    """The most instances, and the most memory, that the cluster of `seed` can take."""
    snapshot, asks = cluster(seed)
    by_memory = [float(sum(memory(ask))) for ask in asks]
    return (
        round(optimum(snapshot, asks, [1.0] * len(asks)), 6),
        round(optimum(snapshot, asks, by_memory), 6),
    )


def main() -> int:
    numbers = [each for each in sys.argv[1:] if each.isdecimal()]
    clusters = int(numbers[0]) if numbers else CLUSTERS
    started = time.perf_counter()
    best = {str(seed): solved(seed) for seed in range(clusters)}
    took = time.perf_counter() - started
    found = [ours(*cluster(seed)) for seed in range(clusters)]
    if "--write" in sys.argv:
        lines = ",\n".join(f'"{seed}": {json.dumps(each)}' for seed, each in best.items())
        OPTIMUM.write_text("{\n" + lines + "\n}\n", encoding="utf-8")
    ratio = [
        sum(getattr(each, name) for each in found) / sum(each[place] for each in best.values())
        for place, name in enumerate(("instances", "memory"))
    ]
    print(f"{clusters} clusters, the solver took {took:.0f} s")
    print(f"instances: {ratio[0]:.2%} of the optimum  limit {LIMIT:.0%}")
    print(f"memory:    {ratio[1]:.2%} of the optimum")
    return 0 if ratio[0] >= LIMIT else 1


if __name__ == "__main__":
    sys.exit(main())
