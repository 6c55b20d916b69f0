"""What was decided can be decided again, to the byte, from what was kept of the question."""

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings

from aimindserve.core.device import Device, MemoryParts, Need
from aimindserve.core.errors import FormatError
from aimindserve.core.shape import Shape
from aimindserve.scheduler.base import Ask, Snapshot, WorkerView
from aimindserve.scheduler.explain import record
from aimindserve.scheduler.plan import plan
from aimindserve.scheduler.replay import Writer, digest, encode, read, replay
from unit.scheduler import worlds

GIB = 1024**3
SRC = Path(__file__).parents[3] / "src"


@given(worlds.snapshots(), worlds.ask_lists())
@settings(max_examples=20, deadline=None)
def test_a_replay_gives_the_same_bytes(snapshot, asks):
    question = Writer().write(snapshot, asks)
    made = {name: encode(record(each)) for name, each in plan(snapshot, asks).decisions.items()}
    assert replay(question) == made


@given(worlds.snapshots(), worlds.ask_lists())
@settings(max_examples=20, deadline=None)
def test_a_question_is_read_as_it_was_written_in_any_order(snapshot, asks):
    writer = Writer()
    question = writer.write(snapshot, asks)
    again, asked = read(question)
    assert (again.workers, sorted(asked, key=lambda each: each.instance)) == (
        tuple(sorted(snapshot.workers, key=lambda each: each.name)),
        sorted(asks, key=lambda each: each.instance),
    )
    turned = replace(snapshot, workers=snapshot.workers[::-1])
    assert Writer().write(turned, asks[::-1]) == question == writer.write(snapshot, asks)


@given(worlds.snapshots().filter(lambda snapshot: snapshot.workers), worlds.ask_lists())
@settings(max_examples=20, deadline=None)
def test_a_changed_worker_is_written_anew(snapshot, asks):
    writer = Writer()
    before = writer.write(snapshot, asks)
    first = replace(snapshot.workers[0], ram_bytes=snapshot.workers[0].ram_bytes + 1)
    changed = replace(snapshot, workers=(first, *snapshot.workers[1:]))
    after = writer.write(changed, asks)
    assert after == Writer().write(changed, asks)
    assert digest(after) != digest(before)


@pytest.mark.parametrize("damaged", [b"", b"{}", b"[1]", b'{"asks":[],"revision":1,"workers":3}'])
def test_bytes_that_are_no_question_are_refused(damaged):
    with pytest.raises(FormatError, match="no question"):
        read(damaged)


def test_another_process_with_another_hash_seed_agrees(tmp_path):
    devices = tuple(
        Device(f"{name}:cuda:{at}", at, "cuda", "nvidia", "H100", 80 * GIB)
        for name in ("a", "b")
        for at in range(4)
    )
    workers = tuple(
        WorkerView(
            name=name,
            ready=True,
            cordoned=False,
            os="linux",
            arch="amd64",
            labels={"zone": name, "rack": "1"},
            ram_bytes=64 * GIB,
            ram_free_bytes=60 * GIB,
            devices=tuple(each for each in devices if each.id.startswith(name)),
            device_free_bytes={each.id: (70 - each.index) * GIB for each in devices},
        )
        for name in ("b", "a")
    )
    asks = [
        Ask(f"chat-{at}", "chat", f"p{at}", (Shape("1 device", (need(20 * at * GIB),)),))
        for at in range(1, 6)
    ]
    question = Writer().write(Snapshot(7, workers), asks)
    (tmp_path / "question").write_bytes(question)
    program = (
        "import sys; from aimindserve.scheduler.replay import replay;"
        "made = replay(open(sys.argv[1], 'rb').read());"
        "sys.stdout.buffer.write(b'\\n'.join(made[name] for name in sorted(made)))"
    )
    made = replay(question)
    told = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path / "question")],
        capture_output=True,
        check=True,
        env={**os.environ, "PYTHONHASHSEED": "4242", "PYTHONPATH": str(SRC)},
    )
    assert told.stdout == b"\n".join(made[name] for name in sorted(made))
    assert b"no_fit" in told.stdout  # the largest does not fit: refusals are replayed as well


def need(size):
    return Need(devices=(MemoryParts(weights=size),), ram=MemoryParts(runtime=GIB))
