"""Generated clusters and asks for the properties of the scheduler."""

from dataclasses import replace

from hypothesis import strategies as st

from aimindserve.core.device import Device, MemoryParts, Need
from aimindserve.core.shape import Layers, OnKind, Requirement, Shape
from aimindserve.scheduler.base import Ask, Snapshot, WorkerView

TYPES = ("cuda", "rocm", "mps")
NAMES = ("A", "A", "B")
"""Of devices, and of processors."""
_BUILDS = (("1",), ("1", "2"), ("2",), ())
BACKENDS = (None, {"engine": ()}, *({"engine": (), "build": each} for each in _BUILDS))
"""What a worker says it has installed."""
sizes = st.integers(0, 32)


def plain_worker(name, devices, free, ram, ports=4):
    """A worker that is ready, with so much free of each device, of its RAM and its ports."""
    return WorkerView(
        name=name,
        ready=True,
        cordoned=False,
        os="linux",
        arch="amd64",
        labels={},
        ram_bytes=64,
        ram_free_bytes=ram,
        devices=tuple(devices),
        device_free_bytes=free,
        ports_free=ports,
        python="3.12",
    )


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
                name=draw(st.sampled_from(NAMES)),
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
        python=draw(st.sampled_from(("3.11", "3.12", "3.12"))),
        processor=draw(st.sampled_from(NAMES)),
        backends=draw(st.sampled_from(BACKENDS)),
        local=draw(st.integers(0, 7)) == 0,
    )


@st.composite
def snapshots(draw):
    count = draw(st.integers(0, 5))
    return Snapshot(1, tuple(draw(workers(index)) for index in range(count)))


def parts(draw, most=32):
    return MemoryParts(weights=draw(st.integers(0, most)))


def a_type(draw, installation=""):
    kinds = draw(st.sampled_from(((), ("cuda",), ("mps",))))
    return Requirement(device_types=kinds, installation=installation)


@st.composite
def shapes(draw, max_ranks=3):
    ranks = tuple(
        Need(
            devices=tuple(parts(draw) for _ in range(draw(st.integers(0, 2)))),
            ram=MemoryParts(runtime=draw(sizes)),
        )
        for _ in range(draw(st.integers(1, max_ranks)))
    )
    return Shape(
        label="s",
        ranks=ranks,
        requirement=a_type(draw),
        device_fraction=draw(st.sampled_from((0.0, 0.0, 0.5, 0.9))),
    )


@st.composite
def layered(draw):
    count = draw(st.integers(1, 12))
    least = draw(st.sampled_from((1, count, count)))
    return Shape(
        label="layers",
        ranks=(Need(ram=MemoryParts(runtime=draw(st.integers(0, 8)))),),
        requirement=a_type(draw, draw(st.sampled_from(("", "", "build")))),
        layers=Layers(
            device=tuple(parts(draw, 6) for _ in range(count)),
            host=tuple(parts(draw, 6) for _ in range(count)),
            overhead=parts(draw, 3),
            overhead_last=parts(draw, 3),
            least=least,
            most=draw(st.sampled_from((0, max(count - 1, 1)))) if least == 1 else 0,
            devices_max=draw(st.integers(1, 4)),
            remote_max=draw(st.sampled_from((0, 0, 2))),
            remote_ram=parts(draw, 4),
        ),
    )


@st.composite
def across(draw):
    devices = tuple(parts(draw, 16) for _ in range(draw(st.integers(1, 2))))
    return Shape(
        label="across",
        ranks=(Need(devices=devices, ram=parts(draw, 8)),) * draw(st.integers(2, 3)),
        requirement=a_type(draw),
        device_fraction=draw(st.sampled_from((0.0, 0.5))),
        across=True,
        whole_workers=draw(st.booleans()),
    )


@st.composite
def measured(draw, kinds):
    """A shape that is known to need something else on some kinds of device."""
    shape = draw(kinds)

    def another(parts):
        return replace(parts, weights=draw(st.integers(0, 16)))

    found = tuple(
        OnKind(
            kind,
            tuple(
                Need(tuple(another(each) for each in rank.devices), another(rank.ram))
                for rank in shape.ranks
            ),
            shape.layers and replace(shape.layers, overhead=another(shape.layers.overhead)),
        )
        for kind in draw(st.lists(st.sampled_from(("A", "B", "A, B")), unique=True))
    )
    return replace(shape, kinds=found)


def any_shape():
    plain = st.one_of(shapes(), layered(), across())
    return st.one_of(plain, measured(plain))


@st.composite
def asks(draw, index, max_ranks=3, kinds=None):
    chosen = shapes(max_ranks) if kinds is None else kinds
    return Ask(
        instance=f"i{index}",
        deployment=f"d{index % 3}",
        placement_id=f"p{index}",
        shapes=tuple(draw(st.lists(chosen, min_size=1, max_size=2))),
        selector=draw(st.sampled_from(({}, {"zone": "a"}))),
        strategy=draw(st.sampled_from(("spread", "binpack"))),
        created_at=float(draw(st.integers(0, 3))),
        backend="engine",
    )


@st.composite
def ask_lists(draw):
    """Asks with shapes of every way of packing; some share their shapes, as replicas do."""
    count = draw(st.integers(0, 8))
    made = [draw(asks(index, kinds=any_shape())) for index in range(count)]
    if len(made) > 1 and draw(st.booleans()):
        made[-1] = replace(made[-1], shapes=made[0].shapes, deployment=made[0].deployment)
    return made


@st.composite
def chosen(draw, snapshot, index):
    """An ask for devices of `snapshot` that somebody chose by hand."""
    ids = [device.id for worker in snapshot.workers for device in worker.devices]
    picked = draw(st.lists(st.sampled_from(ids), min_size=1, max_size=4, unique=True))
    return replace(
        draw(asks(index, kinds=any_shape())),
        device_ids=tuple(picked),
        devices_each=draw(st.sampled_from((None, 1, 2, len(picked)))),
    )
