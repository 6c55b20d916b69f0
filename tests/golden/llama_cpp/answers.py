"""What llama.cpp said it would take, stored: `answers.json`, made by `tests/bench/memory_oracle.py
--write`. The models of `tests/golden/models` that llama.cpp runs, over a grid of settings."""

import json
from pathlib import Path

from aimindserve.formats.gguf import read_facts
from aimindserve.formats.llama_cpp.settings import Settings
from golden.llama_cpp.headers import header
from unit.formats.gguf_files import header as packed

FILE = Path(__file__).with_name("answers.json")
MIX = "Q4_K_M"
CLASSES = ("cache", "compute", "output")
OFF = {"flash_attention": False}
Q8 = {"type_k": "q8_0", "type_v": "q8_0"}
Q4 = {"type_k": "q4_0", "type_v": "q4_0"}

GRID = tuple(
    Settings(**each)
    for each in (
        {"context": 512},
        {"context": 4096},
        {"context": 8192, "parallel": 2},
        {"context": 8192, "parallel": 8},
        {"context": 32768, "parallel": 4},
        {"context": 131072},
        {"context": 131072, "parallel": 8},
        {"context": 1000, "parallel": 3},
        {"context": 512, **OFF},
        {"context": 8192, **OFF},
        {"context": 32768, "parallel": 4, **OFF},
        {"context": 131072, **OFF},
        {"context": 8192, "parallel": 4, "ubatch": 128, **OFF},
        {"context": 8192, "parallel": 4, "kv_unified": True, **OFF},
        {"context": 8192, "parallel": 4, "kv_unified": True},
        {"context": 32768, "parallel": 8, "kv_unified": True},
        {"context": 8192, "parallel": 2, **Q8},
        {"context": 8192, "parallel": 2, **Q4},
        {"context": 131072, **Q8},
        {"context": 8192, "ubatch": 64},
        {"context": 8192, "parallel": 8, "ubatch": 256},
        {"context": 8192, "ubatch": 2048},
        {"context": 65536, "parallel": 2, "ubatch": 1024, "batch": 1024},
        {"context": 8192, "parallel": 2, "swa_full": True},
    )
)

TEXTS = tuple(
    Settings(
        context=context, parallel=slots, batch=size, ubatch=size, embedding=True, flash_attention=on
    )
    for context in (512, 8192)
    for slots in (1, 4)
    for size in (512, 2048)
    for on in (True, False)
)
"""For models that turn texts into vectors or scores."""


def facts(slug, mix=MIX):
    """What our reader says of a model's header."""
    return facts_in(*header(slug, mix))


def facts_in(metadata, tensors):
    """What our reader says of a header."""
    head, size = packed(metadata, tensors)
    return read_facts(lambda offset, length: head[offset : offset + length], size)


def grid(found):
    """The settings to ask a model about."""
    if not found.pooling:
        return GRID
    return TEXTS


def stored():
    """(engine, {slug: [answer per setting, or None where the engine refuses]})."""
    text = json.loads(FILE.read_text())
    return text["engine"], text["models"]


def write(engine, models):
    """One line per model."""
    lines = [f" {json.dumps(slug)}: {json.dumps(models[slug])}" for slug in sorted(models)]
    body = ",\n".join(lines)
    FILE.write_text(f'{{"engine": {json.dumps(engine)}, "models": {{\n{body}\n}}}}\n')
