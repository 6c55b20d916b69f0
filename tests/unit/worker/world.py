"""Values for tests of the worker's pure parts."""

import struct
from dataclasses import replace
from pathlib import Path

from aimindserve.core.facts import ModelFacts, ModelRef, Options, SourceName
from aimindserve.core.launch import Assignment, DesiredSet, FileAssignment, LaunchSpec, Probe
from aimindserve.core.placement import Placement, Rank
from aimindserve.core.report import FileObservation, FileState
from aimindserve.runtimes.base import Handle
from aimindserve.worker.observed import FileSeen, Observed, Process

MODEL = ModelRef(SourceName.LOCAL, path="/models/m.gguf")
FACTS = ModelFacts("gguf", "llama", 1000)
PROBE = Probe(startup_timeout_s=100.0)
PRESENT = FileSeen(
    FileObservation(FileState.READY, path="/models/m.gguf", size_bytes=1000, facts=FACTS),
    signature=(1, 1000),
    looked=0.0,
)


def wanted(instance: str = "i1", placement: str = "p1", **changes) -> Assignment:
    plain = Assignment(
        instance=instance,
        instance_id=f"id-{instance}",
        deployment="dep",
        model=MODEL,
        backend="b",
        options=Options(),
        placement=Placement(placement, "cpu", (Rank("w1"),)),
    )
    return replace(plain, **changes)


def desired(*assignments: Assignment, revision: int = 1) -> DesiredSet:
    return DesiredSet(revision, "w1", assignments, (FileAssignment("file-1", MODEL),))


def handle(instance: str = "i1", placement: str = "p1", **changes) -> Handle:
    plain = Handle(
        instance=instance,
        instance_id=f"id-{instance}",
        placement_id=placement,
        rank=0,
        run=1,
        token=f"token-{instance}-{placement}",
        pid=100,
        started_at=5.0,
        port=40000,
        secret="engine-secret",
        log_path="/log",
    )
    return replace(plain, **changes)


def process(instance: str = "i1", placement: str = "p1", **changes) -> Process:
    names = {"token", "port", "run", "instance_id", "started_at"}
    own = {name: value for name, value in changes.items() if name in names}
    rest = {name: value for name, value in changes.items() if name not in names}
    return Process(
        **{"handle": handle(instance, placement, **own), "probe": PROBE, "started": 0.0, **rest}
    )


def observed(*processes: Process, **changes) -> Observed:
    return Observed(
        **{
            "processes": {one.token: one for one in processes},
            "files": {MODEL: PRESENT},
            "ports": (40000, 40003),
            **changes,
        }
    )


class PlainBackend:
    """Launches a program called engine."""

    name = "b"
    aliases = ("bee",)
    title = "For tests."

    def serves(self, model, options):
        return None

    def shapes(self, model, options):
        return []

    def launch(self, context):
        return LaunchSpec(argv=("engine", "--model", context.model_path), stop_grace_s=3.0)

    def probe(self, context):
        return PROBE


def header_only_gguf(path: Path) -> Path:
    """The smallest file that reads as a model: a llama of one layer without weights."""

    def text(value):
        data = value.encode()
        return struct.pack("<Q", len(data)) + data

    def pair(key, kind, value):
        return text(key) + struct.pack("<I", kind) + value

    pairs = [pair("general.architecture", 8, text("llama"))]
    for key, number in {
        "block_count": 1, "context_length": 128, "embedding_length": 32,
        "feed_forward_length": 64, "attention.head_count": 4,
    }.items():  # fmt: skip
        pairs.append(pair(f"llama.{key}", 4, struct.pack("<I", number)))
    tensor = text("token_embd.weight") + struct.pack("<IQQIQ", 2, 32, 16, 0, 0)
    head = b"GGUF" + struct.pack("<IQQ", 3, 1, len(pairs)) + b"".join(pairs) + tensor
    head += b"\0" * (-len(head) % 32)
    path.write_bytes(head + b"\0" * (32 * 16 * 4))
    return path
