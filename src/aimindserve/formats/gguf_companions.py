"""What the other GGUF files in a model's directory are to it: a projector, an adapter, a model that
could draft for it, or nothing.

Kinds and keys are those of llama.cpp's `src/llama-adapter.cpp`, `tools/mtmd/clip-impl.h` and
`common/speculative.cpp`. Opens no file.
"""

import re
from collections import Counter

from aimindserve.core.errors import FormatError
from aimindserve.core.facts import Category, Companion, CompanionKind, ModelFacts
from aimindserve.formats.gguf import facts as facts_of
from aimindserve.formats.gguf_header import Header
from aimindserve.formats.gguf_projector import ARCHITECTURE as PROJECTOR
from aimindserve.formats.gguf_projector import projector

VOCABULARY_DIFFERENCE_MAX = 128
"""Tokens by which the vocabulary of a draft may differ: `SPEC_VOCAB_MAX_SIZE_DIFFERENCE`."""
_LAYER = re.compile(r"blk\.(\d{1,6})\.")
_HALF = re.compile(r"\.lora_[ab]$")


def companion(facts: ModelFacts, name: str, header: Header) -> Companion:
    """What the file called `name` is to the model that `facts` tell of. Raises FormatError when it
    is nothing to it, or makes no sense."""
    if header.metadata.get("general.architecture") == PROJECTOR:
        return projector(header, name, facts)
    if header.metadata.get("general.type") == "adapter":
        return _adapter(header, name, facts)
    return _draft(header, name, facts)


def _adapter(header: Header, name: str, facts: ModelFacts) -> Companion:
    kind = header.metadata.get("adapter.type")
    if kind != "lora":
        raise FormatError(f"it is an adapter of type {str(kind)[:40]!r}, not lora")
    architecture = header.metadata.get("general.architecture")
    if architecture != facts.architecture:
        made_for = str(architecture)[:40]
        raise FormatError(f"it was made for {made_for!r}, and the model is {facts.architecture}")
    layers: Counter[int] = Counter()
    for tensor in header.tensors:
        found = _LAYER.match(tensor.name)
        if not _HALF.search(tensor.name):
            raise FormatError(f"its tensor {tensor.name[:100]} is no half of a low-rank product")
        if found:
            layers[int(found[1])] += tensor.size_bytes
    if max(layers, default=0) >= max(facts.layer_count, 1):
        raise FormatError(
            f"it changes layer {max(layers)}, and the model has {facts.layer_count} layers"
        )
    return Companion(
        CompanionKind.ADAPTER,
        name,
        sum(tensor.size_bytes for tensor in header.tensors),
        layer_bytes=tuple(layers[layer] for layer in range(facts.layer_count)),
    )


def _draft(header: Header, name: str, facts: ModelFacts) -> Companion:
    """Which tokens there are is compared by their number only: the engine compares the rest."""
    found = facts_of(header)
    if found.categories != (Category.LLM,) or facts.categories != (Category.LLM,):
        raise FormatError("only models that write text draft for each other")
    difference = abs(found.vocabulary_size - facts.vocabulary_size)
    if difference > VOCABULARY_DIFFERENCE_MAX or found.size_bytes > facts.size_bytes:
        raise FormatError("it is larger than the model, or has another vocabulary")
    return Companion(CompanionKind.DRAFT, name, found.size_bytes, facts=found)
