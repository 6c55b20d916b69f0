"""Generated clusters and asks for the properties of the scheduler."""

from hypothesis import strategies as st

from aimindserve.core.device import Device, MemoryParts, Need
from aimindserve.core.shape import Requirement, Shape
from aimindserve.scheduler.base import Ask, Snapshot, WorkerView

TYPES = ("cuda", "rocm", "mps")
sizes = st.integers(0, 32)


@st.composite
def workers(draw, index):
    name = f"w{index}"
    kinds = draw(st.lists(st.sampled_from(TYPES), max_size=4))
    if kinds.count("mps") > 1:
        kinds = ["mps"]  # a machine has one memory, so one device that shares it
    devices, free = [], {}
    for number, kind in enumerate(kinds):
        total = draw(st.integers(1, 32))
        devices.append(
            Device(
                id=f"{name}:{kind}:{number}",
                index=number,
                type=kind,
                vendor="",
                name="",
                memory_bytes=total,
                unified_memory=kind == "mps",
            )
        )
        free[devices[-1].id] = draw(st.integers(0, total))
    ram = draw(st.integers(1, 64))
    return WorkerView(
        name=name,
        ready=draw(st.booleans()) or draw(st.booleans()),
        cordoned=draw(st.integers(0, 5)) == 0,
        os="linux",
        arch="amd64",
        labels={"zone": draw(st.sampled_from(("a", "b")))},
        ram_bytes=ram,
        ram_free_bytes=draw(st.integers(0, ram)),
        devices=tuple(devices),
        device_free_bytes=free,
        ports_free=draw(st.integers(0, 4)),
    )


@st.composite
def snapshots(draw):
    count = draw(st.integers(0, 5))
    return Snapshot(1, tuple(draw(workers(index)) for index in range(count)))


@st.composite
def shapes(draw, max_ranks=3):
    ranks = tuple(
        Need(device=MemoryParts(weights=draw(sizes)), ram=MemoryParts(runtime=draw(sizes)))
        for _ in range(draw(st.integers(1, max_ranks)))
    )
    return Shape(
        label="s",
        ranks=ranks,
        requirement=Requirement(device_types=draw(st.sampled_from(((), ("cuda",), ("mps",))))),
        device_fraction=draw(st.sampled_from((0.0, 0.0, 0.5, 0.9))),
    )


@st.composite
def asks(draw, index, max_ranks=3):
    return Ask(
        instance=f"i{index}",
        deployment=f"d{index % 3}",
        placement_id=f"p{index}",
        shapes=tuple(draw(st.lists(shapes(max_ranks), min_size=1, max_size=2))),
        selector=draw(st.sampled_from(({}, {"zone": "a"}))),
        strategy=draw(st.sampled_from(("spread", "binpack"))),
        created_at=float(draw(st.integers(0, 3))),
    )


@st.composite
def ask_lists(draw):
    count = draw(st.integers(0, 8))
    return [draw(asks(index)) for index in range(count)]
