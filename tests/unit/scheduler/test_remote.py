"""Devices of several workers for one model: what a search of everything finds is found."""

import itertools
from random import Random

from aimindserve.core.device import Device, MemoryParts, Need
from aimindserve.core.shape import Layers, Requirement, Shape
from aimindserve.scheduler.base import Ask, Snapshot
from aimindserve.scheduler.packing.layers import Model
from aimindserve.scheduler.plan import plan
from unit.scheduler import worlds

ONCE_MISSED = (305, 1029, 1239, 1357, 1583)
"""Mains whose own devices are full, and devices that share the RAM with the process before them."""


def worker(name, types, ram, one):
    devices = []
    for index, kind in enumerate(types):
        size = one.randint(4, 32)
        shared = kind == "mps"
        devices.append(
            Device(f"{name}:{kind}:{index}", index, kind, "", "A", size, unified_memory=shared)
        )
    free = {each.id: one.randint(0, each.memory_bytes) for each in devices}
    for device, size in free.items():
        free[device] = min(size, ram) if ":mps:" in device else size
    return worlds.plain_worker(name, devices, free, ram, ports=one.randint(0, 4))


def cluster(one):
    types = [one.choice((["cuda"] * one.randint(1, 3), ["mps"])) for _ in range(one.randint(2, 4))]
    return [worker(f"w{at}", each, one.randint(0, 64), one) for at, each in enumerate(types)]


def model(one):
    count = one.randint(2, 12)
    layers = Layers(
        device=tuple(MemoryParts(weights=one.randint(1, 6)) for _ in range(count)),
        host=tuple(MemoryParts(weights=one.randint(0, 6)) for _ in range(count)),
        overhead=MemoryParts(compute=one.randint(0, 3)),
        overhead_last=MemoryParts(compute=one.randint(0, 3)),
        least=one.choice((1, count, count)),
        devices_max=one.randint(2, 5),
        remote_max=one.randint(1, 4),
        remote_ram=MemoryParts(runtime=one.randint(0, 4)),
    )
    ram = MemoryParts(runtime=one.randint(0, 6))
    kinds = Requirement(device_types=one.choice(((), ("cuda",))))
    return Shape("layers", (Need(ram=ram),), kinds, layers)


def exists(workers, shape):
    """Whether any devices, of one type on the main worker, hold all of it beside the processes."""
    return any(holds(main, workers, shape) for main in workers)


def holds(main, workers, shape):
    layers, base = shape.layers, shape.ranks[0].ram.total
    process = layers.remote_ram.total
    far = [(w, d) for w in workers if w is not main for d in w.devices if allowed(d, shape)]
    own = [(main, device) for device in main.devices if allowed(device, shape)]
    if not own or main.ram_free_bytes < base or main.ports_free < 1:
        return False
    for count in range(layers.remote_max + 1):
        for chosen in itertools.combinations(far, count):
            for held in range(min(len(own), layers.devices_max - count) + 1):
                for mine in itertools.combinations(own, held):
                    if fits((*chosen, *mine), main, base, process, layers):
                        return True
    return False


def allowed(device, shape):
    return device.type in (shape.requirement.device_types or (device.type,))


def fits(spots, main, base, process, layers):
    left = {main.name: main.ram_free_bytes - base}
    ports: dict[str, int] = {}
    for home, _ in spots:
        if home is not main:
            left[home.name] = left.get(home.name, home.ram_free_bytes) - process
            ports[home.name] = ports.get(home.name, home.ports_free) - 1
    if min(left.values()) < 0 or any(each < 0 for each in ports.values()):
        return False
    rooms = []
    for home, device in spots:
        free = home.device_free_bytes[device.id]
        rooms.append(min(free, left[home.name]) if device.unified_memory else free)
    cut = Model(layers).cut(rooms)
    if cut.held < layers.least or cut.used < len(spots):
        return False
    for place, parts in Model(layers).parts(cut).items():
        home, device = spots[place]
        left[home.name] -= parts.total if device.unified_memory else 0
    left[main.name] -= sum(each.total for each in layers.host[: cut.starts[0]])
    return min(left.values()) >= 0


def test_a_placement_over_several_workers_that_exists_is_found():
    there = missed = 0
    for seed in (*ONCE_MISSED, *range(2000, 2150)):
        one = Random(seed)
        workers, shape = cluster(one), model(one)
        ask = Ask("d-1", "d", "p", (shape,), backend="llama.cpp", created_at=0.0)
        if exists(workers, shape):
            there += 1
            missed += not plan(Snapshot(1, tuple(workers)), [ask]).placements
    assert there > 30
    assert not missed
