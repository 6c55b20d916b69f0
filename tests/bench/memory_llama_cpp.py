"""What we say llama.cpp takes against what it takes.

    PYTHONPATH=src:tests python tests/bench/memory_llama_cpp.py [MODEL.gguf] [--full]

Without a model, the sample that `make run` fetches. Starts the embedded engine as a worker would,
also with a model that drafts (the same file again) and an adapter (of zeros) beside the model,
reads its own report of buffers, sends a prompt that fills one ubatch (the whole slot without flash
attention) and short ones to all slots at once, and reads the resident memory at its highest (the
cache is touched whole at load). Prints one line per setting, ours/theirs; `--full` tries the whole
grid. Linux only (reads /proc). Sizes in MiB.
"""

import argparse
import asyncio
import json
import os
import re
import subprocess
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.request
from dataclasses import replace
from itertools import product
from pathlib import Path

from aimindserve.backends.llama_cpp import PLUGIN, _fields, _settings
from aimindserve.core.facts import CompanionKind, ModelRef, Options, SourceName
from aimindserve.core.launch import Assignment, LaunchContext
from aimindserve.core.placement import Placement, Rank
from aimindserve.formats.llama_cpp.cache import kv_cache
from aimindserve.formats.llama_cpp.compute import compute_buffer
from aimindserve.formats.llama_cpp.memory import _drafting, _drafts, on_host
from aimindserve.sources import pypi
from aimindserve.worker import gguf_model
from unit.formats import gguf_files

MIB = 1024**2
PORT = 40990
SOME = (
    "--ctx-size=512 --parallel=1",
    "--ctx-size=4096 --parallel=1",
    "--ctx-size=8192 --parallel=4",
    "--ctx-size=8192 --parallel=8",
    "--ctx-size=8192 --parallel=1 --flash-attn=off",
    "--ctx-size=4096 --parallel=2 --cache-type-k=q8_0 --cache-type-v=q8_0",
    "--ctx-size=4096 --parallel=1 --ubatch-size=1024",
    "--ctx-size=4096 --parallel=1 --mmap",
    "--ctx-size=512 --parallel=1 --embedding --pooling=mean --ubatch-size=512",
    "--ctx-size=4096 --parallel=4 --lora=adapter.gguf",
    "--ctx-size=4096 --parallel=4 --model-draft=draft.gguf",
    "--ctx-size=8192 --parallel=2 -md draft.gguf -ctkd q8_0 -ctvd q8_0",
)


def grid():
    contexts, slots = (512, 2048, 8192), (1, 2, 4, 8)
    kinds = (
        "",
        " --cache-type-k=q8_0 --cache-type-v=q8_0",
        " --cache-type-k=q4_0 --cache-type-v=q4_0",
        " --flash-attn=off",
        " --flash-attn=off --cache-type-k=q8_0",
    )
    return [
        f"--ctx-size={context} --parallel={count}{kind}"
        for context, count, kind in product(contexts, slots, kinds)
    ]


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model", type=Path, nargs="?")
    parser.add_argument("--full", action="store_true")
    arguments = parser.parse_args()
    model_file = arguments.model or sample()
    with tempfile.TemporaryDirectory() as folder:
        model = Path(folder) / "model.gguf"
        for name in (model.name, "draft.gguf"):
            (Path(folder) / name).symlink_to(model_file.resolve())
        facts = gguf_model.facts(gguf_model.listing(str(model)))
        adapter(Path(folder) / "adapter.gguf", facts)
        facts = gguf_model.facts(gguf_model.listing(str(model)))
        kind = f"{facts.architecture}, {facts.quantization}, {facts.layer_count} layers"
        print(f"{facts.name}: {kind}")
        print(f"{'':66} {'weights':>15} {'KV':>15} {'compute':>15} {'RSS total':>15}   error")
        for line in grid() if arguments.full else SOME:
            show(line, facts, model)


def adapter(path, facts):
    """An adapter of rank 64 for the queries of all layers, of zeros: it changes no answer."""
    width = facts.head_count * facts.key_length
    halves = [
        (f"blk.{layer}.attn_q.weight.lora_{half}", shape, "F16")
        for layer in range(facts.layer_count)
        for half, shape in (("a", (facts.embedding_length, 64)), ("b", (64, width)))
    ]
    metadata = {
        "general.architecture": facts.architecture,
        "general.type": "adapter",
        "adapter.type": "lora",
        "adapter.lora.alpha": 16.0,
    }
    gguf_files.sparse(path, metadata, halves)


def sample():
    """SmolLM2-135M-Instruct, kept outside of the tests' own directories."""

    async def quiet(_done, _total):
        return

    cache = Path(os.environ.get("AIMS_TEST_CACHE", Path.home() / ".cache/aimindserve-tests"))
    cache.mkdir(parents=True, exist_ok=True)
    return Path(asyncio.run(pypi.PLUGIN.fetch(pypi.SAMPLE, str(cache), quiet)))


def show(line, facts, model):
    options = Options(parameters=(*line.split(), "--verbosity=4"))
    shape = next(s for s in PLUGIN.shapes(facts, options) if not s.requirement.device_types)
    settings = _settings(facts, _fields((*shape.parameters, *options.parameters)), ())
    facts = PLUGIN.loads(facts, options)
    need = on_host(facts, settings)
    every = [(facts, settings), *((draft, _drafting(settings)) for draft in _drafts(facts))]
    predicted = (
        sum(on_host(replace(each, companions=()), own).weights for each, own in every)
        + sum(each.size_bytes for each in facts.beside(CompanionKind.ADAPTER)),
        sum(kv_cache(each, own) for each, own in every),
        sum(compute_buffer(each, own) for each, own in every),
        need.total,
    )
    log, rss = measure(options, shape, facts, model)
    if rss is None:
        print(f"{line[:66]:66} the engine did not start:\n{log[-800:]}")
        return
    measured = (
        reported(log, "model") + reported(log, "LoRA"),
        reported(log, "KV") + reported(log, "RS"),
        last_reported(log, "compute", len(every)),
        rss,
    )
    pairs = " ".join(
        f"{ours / MIB:7.1f}/{theirs / MIB:7.1f}"
        for ours, theirs in zip(predicted, measured, strict=True)
    )
    below = " BELOW" if predicted[-1] < rss else ""
    print(f"{line[:66]:66} {pairs}   {100 * (predicted[-1] / rss - 1):+.1f} %{below}", flush=True)


def reported(log, what):
    return sum(float(size) for size in re.findall(rf"{what} buffer size = +([\d.]+)", log)) * MIB


def last_reported(log, what, models):
    """A graph is planned anew once adapters are there: the last plan of each model counts."""
    sizes = re.findall(rf"{what} buffer size = +([\d.]+)", log)
    return sum(float(size) for size in (sizes if models > 1 else sizes[-1:])) * MIB


def measure(options, shape, facts, model):
    """(log, highest resident bytes) of one run; None instead of bytes when it did not start."""
    assignment = Assignment(
        instance="i",
        instance_id="i",
        deployment="bench",
        model=ModelRef(SourceName.LOCAL, path=str(model)),
        backend="llama.cpp",
        options=options,
        placement=Placement("p", shape.label, (Rank("w"),), shape.parameters),
    )
    with tempfile.TemporaryDirectory() as folder:
        context = LaunchContext(assignment, 0, str(model), facts, PORT, "key", folder, 2)
        spec = PLUGIN.launch(context)
        for name, text in spec.files:
            (Path(folder) / name).write_text(text)
        log_path = Path(folder) / "log"
        with log_path.open("wb") as log:
            process = subprocess.Popen(spec.argv, stdout=log, stderr=log)
        try:
            if not wait_ready(process):
                return log_path.read_text(errors="replace"), None
            fields = json.loads(spec.files[0][1])["fields"]
            load(fields["n_ctx"] // fields["n_parallel"], fields["n_parallel"], fields)
            status = Path(f"/proc/{process.pid}/status").read_text()
        finally:
            process.terminate()
            process.wait(20)
        rss = int(re.search(r"VmHWM:\s+(\d+)", status).group(1)) * 1024
        return log_path.read_text(errors="replace"), rss


def wait_ready(process):
    for _ in range(600):
        if process.poll() is not None:
            return False
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{PORT}/health", timeout=2):
                return True
        except (urllib.error.URLError, OSError):
            time.sleep(0.1)
    return False


def load(slot, slots, fields):
    """A prompt of one ubatch, and a short one in every other slot, all at once. Without flash
    attention the scores of a step grow with what is in the cache: there the prompt fills it."""
    embeds = bool(fields.get("embedding"))
    flash = "DISABLED" not in str(fields.get("flash_attn_type"))
    most = (min(slot, fields["n_ubatch"]) if flash else slot) - 16
    path = "/v1/embeddings" if embeds else "/v1/completions"
    threads = []
    for number in range(slots):
        prompt = "word " * (most if number == 0 else 20)
        body = {"input": prompt} if embeds else {"prompt": prompt, "max_tokens": 4}
        threads.append(threading.Thread(target=post, args=(path, body)))
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def post(path, body):
    request = urllib.request.Request(
        f"http://127.0.0.1:{PORT}{path}",
        data=json.dumps(body).encode(),
        headers={"authorization": "Bearer key", "content-type": "application/json"},
    )
    try:
        with urllib.request.urlopen(request, timeout=300) as answer:
            answer.read()
    except urllib.error.HTTPError as error:
        print(error.read()[:200], file=sys.stderr)
    except OSError as error:
        print(f"no answer: {error}", file=sys.stderr)


if __name__ == "__main__":
    main()
