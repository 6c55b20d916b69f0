"""Scenarios of the scheduler as text: `NAME.yaml` says what there is, `NAME.plan.txt` the plan.

    PYTHONPATH=src:tests python -m golden.scheduler.scenario

writes every plan anew; then read the diff.

Sizes are written as people write them (`24GiB`). An ask stands for `replicas` asks.
"""

from pathlib import Path

import yaml

from aimindserve.core.device import Device, MemoryParts, Need
from aimindserve.core.reason import Reason
from aimindserve.core.shape import Layers, Requirement, Shape
from aimindserve.kit.units import format_bytes, parse_bytes
from aimindserve.scheduler.base import Ask, Snapshot, WorkerView
from aimindserve.scheduler.plan import plan

HERE = Path(__file__).parent


def names():
    return sorted(path.stem for path in HERE.glob("*.yaml"))


def load(name):
    """(snapshot, asks) of the scenario `name`."""
    document = yaml.safe_load((HERE / f"{name}.yaml").read_text(encoding="utf-8"))
    workers = tuple(_worker(entry) for entry in document.get("workers", []))
    asks = [ask for index, entry in enumerate(document["asks"]) for ask in _asks(entry, index)]
    return Snapshot(7, workers), asks


def render(name):
    """The plan of the scenario `name` as text."""
    snapshot, asks = load(name)
    result = plan(snapshot, asks)
    lines = []
    for ask in sorted(asks, key=lambda ask: (ask.created_at, ask.instance)):
        placement = result.placements.get(ask.instance)
        if placement is not None:
            lines.append(f"{ask.instance} -> {placement.worker}: {placement.shape}")
            lines += [f"    {_where(placement, rank)}{_rank(rank)}" for rank in placement.ranks]
            lines += [f"    warning: {each.message}" for each in placement.warnings]
            continue
        refusal = result.refusals[ask.instance]
        lines.append(f"{ask.instance} -> nowhere: {refusal.summary.message}")
        lines += [f"    {worker}: {reason.message}" for worker, reason in refusal.workers]
    return "\n".join(lines) + "\n"


def _where(placement, rank):
    return "" if rank.worker == placement.worker else f"{rank.worker}: "


def _rank(rank):
    claims = [
        f"{claim.device} {format_bytes(claim.memory_bytes)}"
        + (f" ({claim.layers} layers)" if claim.layers else "")
        for claim in rank.claims
    ]
    return ", ".join([*claims, f"RAM {format_bytes(rank.ram.total)}"])


def _worker(entry):
    name = entry["name"]
    devices, free = [], {}
    for group in entry.get("devices", []):
        for _ in range(group.get("count", 1)):
            index = len(devices)
            kind = group["type"]
            total = parse_bytes(group["memory"])
            devices.append(
                Device(
                    id=f"{name}:{kind}:{index}",
                    index=index,
                    type=kind,
                    vendor="",
                    name=group.get("name", kind),
                    memory_bytes=total,
                    unified_memory=group.get("unified", False),
                    compute_capability=group.get("capability"),
                    driver_version=group.get("driver"),
                    address=f"10.0.0.{index}" if group.get("addresses") else None,
                )
            )
            free[devices[-1].id] = parse_bytes(group.get("free", group["memory"]))
    return WorkerView(
        name=name,
        ready=entry.get("ready", True),
        cordoned=entry.get("cordoned", False),
        os=entry.get("os", "linux"),
        arch=entry.get("arch", "amd64"),
        labels=entry.get("labels", {}),
        ram_bytes=parse_bytes(entry["ram"]),
        ram_free_bytes=parse_bytes(entry.get("free", entry["ram"])),
        devices=tuple(devices),
        device_free_bytes=free,
        ports_free=entry.get("ports", 64),
        instances=entry.get("instances", {}),
        disk_free_bytes=parse_bytes(entry["disk"]) if "disk" in entry else None,
        python=entry.get("python", ""),
        backends=entry.get("backends"),
        across=entry.get("across", {}),
    )


def _asks(entry, order):
    files = entry.get("files")
    shapes = tuple(_shape(shape) for shape in entry["shapes"])
    for number in range(entry.get("replicas", 1)):
        yield Ask(
            instance=f"{entry['deployment']}-{number + 1}",
            deployment=entry["deployment"],
            placement_id=f"p-{entry['deployment']}-{number + 1}",
            shapes=shapes,
            selector=entry.get("selector", {}),
            device_ids=tuple(entry.get("gpu_ids", [])),
            strategy=entry.get("strategy", "spread"),
            file_workers=None if files is None else _files(files),
            created_at=60.0 * order,
            backend=entry.get("backend", "llama.cpp"),
            backend_version=entry.get("backend_version", ""),
            devices_each=entry.get("devices_each"),
            file_at=frozenset(entry.get("file_at", ())),
            file_bytes=parse_bytes(entry.get("file", "0")),
            instances_per_worker_max=entry.get("per_worker"),
            failures={
                where: Reason("engine_oom", {"worker": where.split(":")[0]})
                for where in entry.get("failures", ())
            },
            crashes=entry.get("crashes", {}),
        )


def _files(files):
    return {
        worker: None if code == "ready" else Reason(code, {"worker": worker, "path": "/models/x"})
        for worker, code in files.items()
    }


def _shape(entry):
    ranks = tuple(
        Need(
            devices=tuple(
                MemoryParts(weights=parse_bytes(size)) for size in rank.get("devices", ())
            ),
            ram=MemoryParts(weights=parse_bytes(rank.get("ram", "0"))),
        )
        for rank in entry["ranks"]
    )
    return Shape(
        label=entry["label"],
        ranks=ranks,
        requirement=Requirement(
            os=tuple(entry.get("os", [])),
            arch=tuple(entry.get("arch", [])),
            device_types=tuple(entry.get("types", [])),
            compute_capability_min=entry.get("capability"),
            driver_min=entry.get("driver"),
            device_addresses=entry.get("addresses", False),
        ),
        device_fraction=entry.get("fraction", 0.0),
        across=entry.get("across", False),
        whole_workers=entry.get("whole", False),
        layers=_layers(entry["layers"]) if "layers" in entry else None,
    )


def _layers(entry):
    """`count` equal layers and the output: `device` and `host` are what each takes there."""
    count = entry["count"] + 1
    device = MemoryParts(weights=parse_bytes(entry["device"]))
    return Layers(
        device=(device,) * count,
        host=(MemoryParts(weights=parse_bytes(entry.get("host", entry["device"]))),) * count,
        overhead=MemoryParts(compute=parse_bytes(entry.get("overhead", "0"))),
        overhead_last=MemoryParts(compute=parse_bytes(entry.get("overhead_last", "0"))),
        least=count if entry.get("least", "all") == "all" else entry["least"],
        devices_max=entry.get("devices_max", 1),
        remote_max=entry.get("remote_max", 0),
        remote_ram=MemoryParts(runtime=parse_bytes(entry.get("remote_ram", "0"))),
    )


if __name__ == "__main__":
    for each in names():
        (HERE / f"{each}.plan.txt").write_text(render(each), encoding="utf-8")
        print(f"written: {each}.plan.txt")
