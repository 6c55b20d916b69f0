"""What decides over llama.cpp's memory besides the model, and how llama.cpp rounds it.

Names and defaults are llama.cpp's (`common/arg.cpp`), rounding is that of the constructors in
`src/llama-context.cpp` and `src/llama-kv-cache-iswa.cpp`.
"""

from dataclasses import dataclass

from aimindserve.core.facts import ModelFacts
from aimindserve.formats.gguf import ENCODERS

PAD_CELLS = 256
"""Contexts and windows are rounded up to this many cells."""


@dataclass(frozen=True, slots=True)
class Settings:
    """What decides over memory besides the model."""

    context: int
    """Tokens of all slots together (`--ctx-size`)."""
    parallel: int = 1
    batch: int = 2048
    ubatch: int = 512
    type_k: str = "f16"
    type_v: str = "f16"
    flash_attention: bool = True
    kv_unified: bool = False
    swa_full: bool = False
    mmap: bool = False
    embedding: bool = False
    """Texts become vectors or scores: every token of a batch may give an output."""
    cache_ram_bytes: int = 0
    """The server's prompt cache beside the KV cache (`--cache-ram`)."""
    checkpoints: int = 0
    """Saved states per slot of models that cannot rewind (`--ctx-checkpoints`)."""
    repack: bool = True
    """Weights are rearranged for the processor (`--no-repack` says no)."""
    kv_offload: bool = True
    """The cache lies where the layer lies (`--no-kv-offload` keeps it on the host)."""
    draft_type_k: str = "f16"
    draft_type_v: str = "f16"
    """Cache types of a model that drafts."""
    draft_tokens: int = 3
    """Tokens that are proposed and checked at once (`--draft-max`)."""


def cells(settings: Settings) -> tuple[int, int]:
    """(cells of one stream, streams): each slot has a stream of its own unless they share one."""
    total = pad(settings.context)
    if settings.kv_unified:
        return total, 1
    return pad(max(total // settings.parallel, 1)), settings.parallel


def window_cells(facts: ModelFacts, settings: Settings) -> int:
    """Cells of one stream of a layer that sees only a window: the window and one ubatch."""
    full, _ = cells(settings)
    if settings.swa_full:
        return full
    sequences = settings.parallel if settings.kv_unified else 1
    return min(full, pad(facts.sliding_window * sequences + ubatch(settings)))


def ubatch(settings: Settings) -> int:
    """Most tokens that one step computes."""
    return min(settings.batch, settings.ubatch)


def tokens(facts: ModelFacts, settings: Settings) -> int:
    """Tokens of the step for which memory is reserved: as many for each slot (`graph_reserve`)."""
    each, streams = cells(settings)
    most = each * streams if is_encoder(facts) else settings.context
    count = min(ubatch(settings), most)
    return -(-count // settings.parallel) * settings.parallel


def slides(facts: ModelFacts, layer: int) -> bool:
    """Whether a layer sees only a window."""
    return layer < len(facts.sliding_layers) and facts.sliding_layers[layer]


def kv_heads(facts: ModelFacts, layer: int) -> int:
    """Heads whose keys and values a layer keeps."""
    heads = facts.head_count_kv
    if len(heads) > 1:
        return heads[layer] if layer < len(heads) else max(heads)
    return max(heads, default=facts.head_count)


def recurrent_layers(facts: ModelFacts) -> tuple[bool, ...]:
    """Which layers keep a state: those without a cache where there are such, else all of them."""
    if not facts.recurrent_bytes:
        return (False,) * facts.layer_count
    heads = [kv_heads(facts, layer) for layer in range(facts.layer_count)]
    mixed = any(heads) and not all(heads)
    return tuple(not count if mixed else True for count in heads)


def is_encoder(facts: ModelFacts) -> bool:
    """Whether there is no cache at all."""
    return facts.architecture in ENCODERS


def pad(count: int) -> int:
    """`GGML_PAD(count, 256)`."""
    return -(-count // PAD_CELLS) * PAD_CELLS
