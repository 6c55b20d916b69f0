"""What each scorer prefers."""

from dataclasses import replace

from aimindserve.core.device import Device, MemoryParts, Need
from aimindserve.core.shape import Requirement, Shape
from aimindserve.scheduler.base import Ask, WorkerView
from aimindserve.scheduler.scorers.failure_history import FailureHistory
from aimindserve.scheduler.scorers.fragmentation import Fragmentation
from aimindserve.scheduler.scorers.speed import UNKNOWN, Speed, speed

CUDA = Requirement(device_types=("cuda",))


def worker(name, free, device="H100"):
    devices = tuple(
        Device(f"{name}:cuda:{index}", index, "cuda", "", device, 80) for index in range(len(free))
    )
    return WorkerView(
        name,
        ready=True,
        cordoned=False,
        os="linux",
        arch="amd64",
        labels={},
        ram_bytes=100,
        ram_free_bytes=100,
        devices=devices,
        device_free_bytes=dict(zip((each.id for each in devices), free, strict=True)),
    )


def ask(count=1, size=20, strategy="spread"):
    need = Need(devices=(MemoryParts(weights=size),) * count)
    shape = Shape("s", (need,), CUDA)
    return Ask("i", "d", "p", (shape,), strategy=strategy)


def kept(free, **wanted):
    asked = ask(**wanted)
    return Fragmentation().score(asked, asked.shapes[0], worker("w", free))


def test_one_device_of_three_breaks_up_nothing_one_of_four_a_group():
    assert kept([80] * 3) == 1.0
    assert kept([80] * 4) < 1.0
    assert kept([80] * 8) < kept([80] * 4) < kept([80] * 5)


def test_taking_all_of_a_group_breaks_up_nothing():
    assert kept([80] * 4, count=4) == 1.0
    assert kept([80] * 8, count=4) == 1.0


def test_a_device_in_use_is_taken_first_under_binpack():
    assert kept([80] * 4 + [30], strategy="binpack") == 1.0
    assert kept([80] * 4 + [10], strategy="binpack") < 1.0


def test_speed_follows_names_then_capability_and_does_not_guess():
    def of(name, capability=None):
        device = Device("w:cuda:0", 0, "cuda", "", name, 80, compute_capability=capability)
        return speed(device)

    assert of("NVIDIA H200") > of("NVIDIA H100 80GB HBM3") > of("NVIDIA L40S") > of("Tesla T4")
    assert of("NVIDIA L4") < of("NVIDIA L40S")
    assert of("something new", "9.0") == of("NVIDIA H100 80GB HBM3")
    assert of("something new") == UNKNOWN
    asked = ask()
    score = Speed().score(asked, asked.shapes[0], worker("w", [80], "NVIDIA H200"))
    assert score == of("NVIDIA H200")


def test_a_worker_where_it_failed_is_worth_less():
    asked = replace(ask(), crashes={"bad": 2})
    shape = asked.shapes[0]
    assert FailureHistory().score(asked, shape, worker("good", [80])) == 1.0
    assert FailureHistory().score(asked, shape, worker("bad", [80])) < 0.5
