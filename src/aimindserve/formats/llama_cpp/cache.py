"""The size of llama.cpp's caches: keys and values of each layer, states of recurrent ones.

Sources: `src/llama-kv-cache.cpp`, `src/llama-kv-cache-iswa.cpp`, `src/llama-memory-recurrent.cpp`
and `n_embd_r`, `n_embd_s` of `src/llama-hparams.cpp`.
"""

from aimindserve.core.facts import ModelFacts
from aimindserve.formats.ggml_types import BY_NAME, GgmlType
from aimindserve.formats.llama_cpp.settings import (
    Settings,
    cells,
    is_encoder,
    kv_heads,
    recurrent_layers,
    slides,
    window_cells,
)


def kv_cache(facts: ModelFacts, settings: Settings) -> int:
    """Bytes of all layers together."""
    return sum(layer_cache(facts, settings))


def layer_cache(facts: ModelFacts, settings: Settings) -> tuple[int, ...]:
    """Bytes of each layer: K and V for every cell of every stream, a state for every slot."""
    if is_encoder(facts):
        return (0,) * facts.layer_count
    full, streams = cells(settings)
    window = window_cells(facts, settings) if any(facts.sliding_layers) else full
    keeps = recurrent_layers(facts)
    state = -(-facts.recurrent_bytes * settings.parallel // max(sum(keeps), 1))
    heads = [kv_heads(facts, layer) for layer in range(facts.layer_count)]
    sizes = {count: _cell_bytes(facts, settings, count) * streams for count in set(heads)}
    return tuple(
        sizes[count] * (window if slides(facts, layer) else full) + (state if keeps[layer] else 0)
        for layer, count in enumerate(heads)
    )


def saved_states(facts: ModelFacts, settings: Settings) -> int:
    """What the server keeps beside the cache: whole prompts up to its limit, and, for models that
    cannot rewind (windows, recurrent state), checkpoints of each slot (server-context.cpp)."""
    window = min(facts.sliding_window, window_cells(facts, settings))
    row = sum(
        _cell_bytes(facts, settings, kv_heads(facts, layer))
        for layer in range(facts.layer_count)
        if slides(facts, layer)
    )
    one = row * window + facts.recurrent_bytes
    return settings.cache_ram_bytes + one * settings.checkpoints * settings.parallel


def _cell_bytes(facts: ModelFacts, settings: Settings, heads: int) -> int:
    key = row_bytes(BY_NAME[settings.type_k], heads * facts.key_length)
    return key + row_bytes(BY_NAME[settings.type_v], heads * facts.value_length)


def row_bytes(kind: GgmlType, elements: int) -> int:
    """Bytes of a row, whole blocks."""
    return -(-elements // kind.block) * kind.block_bytes
