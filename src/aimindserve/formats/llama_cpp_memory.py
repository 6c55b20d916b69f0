"""How much memory llama.cpp will take for a model: pure arithmetic from facts and settings.

Every part mirrors what llama.cpp allocates, and names the file it was read from (llama.cpp as
vendored by xllamacpp 2026.10). `tests/bench/memory_llama_cpp.py` compares each with the engine's
own report. Where llama.cpp's number depends on something that facts do not hold, the larger one
counts: an estimate may be too high, never too low. Must not know devices, workers or backends.
"""

from dataclasses import dataclass

from aimindserve.core.device import MemoryParts, Need
from aimindserve.core.facts import ModelFacts
from aimindserve.formats.ggml_types import BY_NAME, GgmlType
from aimindserve.formats.gguf import ENCODERS

MIB = 1024**2
PAD_CELLS = 256
"""`GGML_PAD(n_ctx, 256)` in llama-context.cpp, and the padding of sliding-window caches."""

PROCESS_BYTES = 48 * MIB
"""The process itself: interpreter, library pages, HTTP threads. Measured: 33 to 40 MiB."""
TOKEN_BYTES = 512
"""Per entry of the vocabulary: token, piece cache, merges. Measured: 390 to 440 bytes."""
DEVICE_RUNTIME_BYTES = 500 * MIB
"""Driver context of an accelerator; the footprint GPUStack reserved for llama-box. Not measured."""

_REPACKED = ("Q4_0", "Q4_K", "Q2_K", "Q5_K", "Q6_K", "Q8_0", "IQ4_NL", "MXFP4", "Q1_0")
"""Types that `ggml_repack_get_optimal_repack_type` (ggml-cpu/repack.cpp) rearranges on some CPU:
the rearranged copy lives beside whatever must keep the original."""


@dataclass(frozen=True, slots=True)
class Settings:
    """What decides over memory besides the model; llama.cpp's own names and defaults."""

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
    """Every token of a batch gives an output."""
    cache_ram_bytes: int = 0
    """The server's prompt cache beside the KV cache (`--cache-ram`)."""
    checkpoints: int = 0
    """Saved states per slot of models that cannot rewind (`--ctx-checkpoints`)."""


def cells(settings: Settings) -> tuple[int, int]:
    """(cells of one stream, streams), as llama-context.cpp rounds them."""
    total = _pad(settings.context)
    if settings.kv_unified:
        return total, 1
    return _pad(max(total // settings.parallel, 1)), settings.parallel


def need(facts: ModelFacts, settings: Settings, gpu_layers: int = 0) -> Need:
    """Memory of the device and of the host when `gpu_layers` layers, counted from the last, are on
    the device; more than there are layers takes the output layer along (`--n-gpu-layers`)."""
    on_device = range(max(facts.layer_count - gpu_layers, 0), facts.layer_count)
    on_host = range(on_device.start)
    compute = compute_buffer(facts, settings)
    host = MemoryParts(
        weights=_host_weights(facts, settings, gpu_layers),
        kv_cache=_kv_bytes(facts, settings, on_host) + _saved_states(facts, settings),
        compute=(compute if on_host or not gpu_layers else _input_bytes(facts, settings))
        + output_buffer(facts, settings)
        + _work_buffer(facts, settings),
        runtime=PROCESS_BYTES + TOKEN_BYTES * facts.vocabulary_size,
    )
    if not gpu_layers:
        return Need(ram=host)
    device = MemoryParts(
        weights=_device_weights(facts, gpu_layers),
        kv_cache=_kv_bytes(facts, settings, on_device),
        compute=compute,
        runtime=DEVICE_RUNTIME_BYTES,
    )
    return Need(device=device, ram=host)


def kv_cache(facts: ModelFacts, settings: Settings) -> int:
    """Bytes of the KV cache and recurrent state of all layers, as llama.cpp reports them."""
    return _kv_bytes(facts, settings, range(facts.layer_count))


def compute_buffer(facts: ModelFacts, settings: Settings) -> int:
    """Bytes of the compute buffer: the largest set of intermediate tensors alive at once in the
    graph that `sched_reserve` (llama-context.cpp) builds for one ubatch.

    Elements per token at the three places where it can be largest (found by comparing with the
    engine's report over widths, heads and experts; exact for Llama-like graphs):
    feed-forward 3 ff + 5 embd, attention 4 embd + 2 q (+ k + v and every score without flash
    attention), output 5 embd + vocabulary per output.
    """
    tokens = _ubatch(settings)
    embd = facts.embedding_length
    q, k, v = _widths(facts)
    columns = _visible_cells(facts, settings)
    mask = columns * (2 if settings.flash_attention else 4) * tokens
    feed_forward = 3 * facts.feed_forward_length + 5 * embd
    if facts.expert_count:
        used = max(facts.expert_used_count, 1)
        wide = facts.expert_feed_forward_length or facts.feed_forward_length
        experts = used * (3 * wide + embd) + 5 * embd + 2 * facts.expert_count
        feed_forward = max(feed_forward, experts)
    attention = 4 * embd + 2 * q
    if not settings.flash_attention:
        attention += k + v + facts.head_count * _longest_cells(facts, settings)
    outputs = tokens if settings.embedding else min(settings.parallel, tokens)
    vocabulary = 0 if _is_encoder(facts) else facts.vocabulary_size
    peak = max(feed_forward * tokens, attention * tokens, 5 * embd * tokens + vocabulary * outputs)
    return 4 * (peak + 16 * tokens) + mask + (mask + 4 * peak) // 32


def output_buffer(facts: ModelFacts, settings: Settings) -> int:
    """Bytes of the results: logits, and embeddings where asked, of every output of a batch
    (`output_reserve` in llama-context.cpp; it grows to this size when such a batch comes)."""
    if not settings.embedding:
        return 4 * settings.parallel * facts.vocabulary_size
    outputs = max(_ubatch(settings), settings.parallel)
    return 4 * outputs * (facts.vocabulary_size + facts.embedding_length)


def _kv_bytes(facts: ModelFacts, settings: Settings, layers: range) -> int:
    """llama-kv-cache.cpp and llama-kv-cache-iswa.cpp: K and V of each layer, for every cell of
    every stream; layers with a window keep only the window and one ubatch."""
    if _is_encoder(facts) or not layers:
        return 0
    full, streams = cells(settings)
    window = _window_cells(facts, settings)
    total = 0
    for layer in layers:
        held = window if _slides(facts, layer) else full
        total += _cell_bytes(facts, settings, layer) * held * streams
    state = facts.recurrent_bytes * len(layers) // max(facts.layer_count, 1)
    return total + state * settings.parallel


def _cell_bytes(facts: ModelFacts, settings: Settings, layer: int) -> int:
    heads = _kv_heads(facts, layer)
    key = _row(BY_NAME[settings.type_k], heads * facts.key_length)
    return key + _row(BY_NAME[settings.type_v], heads * facts.value_length)


def _saved_states(facts: ModelFacts, settings: Settings) -> int:
    """What the server keeps beside the cache: whole prompts up to its limit, and, for models that
    cannot rewind (windows, recurrent state), checkpoints of each slot (server-context.cpp)."""
    window = min(facts.sliding_window, _window_cells(facts, settings))
    row = sum(
        _cell_bytes(facts, settings, layer)
        for layer in range(facts.layer_count)
        if _slides(facts, layer)
    )
    one = row * window + facts.recurrent_bytes
    return settings.cache_ram_bytes + one * settings.checkpoints * settings.parallel


def _host_weights(facts: ModelFacts, settings: Settings, gpu_layers: int) -> int:
    moved = _device_weights(facts, gpu_layers)
    if gpu_layers > facts.layer_count and not facts.output_bytes:
        moved -= facts.token_embedding_bytes  # tied: the device has a copy, the host its own
    kept = facts.size_bytes - moved
    if not facts.quantization.startswith(_REPACKED):
        return kept
    if settings.mmap:
        return 2 * kept  # the mapped file stays resident beside the rearranged copy
    tied = 0 if facts.output_bytes else facts.token_embedding_bytes
    return kept + tied


def _device_weights(facts: ModelFacts, gpu_layers: int) -> int:
    if not gpu_layers:
        return 0
    layers = sum(facts.layer_bytes[-gpu_layers:])
    output = facts.output_bytes or facts.token_embedding_bytes
    return layers + (output if gpu_layers > facts.layer_count else 0)


def _work_buffer(facts: ModelFacts, settings: Settings) -> int:
    """The CPU's scratch for matrix products: one operand as 8-bit blocks (`ggml_graph_plan`)."""
    widest = max(
        facts.feed_forward_length,
        facts.embedding_length,
        facts.expert_used_count * max(facts.expert_feed_forward_length, facts.embedding_length),
    )
    return _row(BY_NAME["q8_0"], widest) * _ubatch(settings)


def _input_bytes(facts: ModelFacts, settings: Settings) -> int:
    return 4 * facts.embedding_length * _ubatch(settings)


def _ubatch(settings: Settings) -> int:
    batch = settings.batch if settings.embedding else min(settings.batch, _pad(settings.context))
    return min(batch, settings.ubatch)


def _widths(facts: ModelFacts) -> tuple[int, int, int]:
    heads = max((_kv_heads(facts, layer) for layer in range(facts.layer_count)), default=0)
    value = facts.value_length or facts.key_length
    return facts.head_count * facts.key_length, heads * facts.key_length, heads * value


def _visible_cells(facts: ModelFacts, settings: Settings) -> int:
    """Columns of all attention masks: one for full caches, one more for windows."""
    if _is_encoder(facts):
        return _ubatch(settings) * (2 if facts.sliding_window else 1)
    full, _ = cells(settings)
    if not any(facts.sliding_layers):
        return full
    return full + _window_cells(facts, settings) * (1 if settings.flash_attention else 2)


def _longest_cells(facts: ModelFacts, settings: Settings) -> int:
    if _is_encoder(facts):
        return _ubatch(settings)
    return cells(settings)[0]


def _window_cells(facts: ModelFacts, settings: Settings) -> int:
    full, _ = cells(settings)
    if settings.swa_full:
        return full
    sequences = settings.parallel if settings.kv_unified else 1
    return _pad(min(full, facts.sliding_window * sequences + _ubatch(settings)))


def _slides(facts: ModelFacts, layer: int) -> bool:
    return layer < len(facts.sliding_layers) and facts.sliding_layers[layer]


def _kv_heads(facts: ModelFacts, layer: int) -> int:
    heads = facts.head_count_kv
    if len(heads) > 1:
        return heads[layer] if layer < len(heads) else max(heads)
    return max(heads, default=facts.head_count)


def _is_encoder(facts: ModelFacts) -> bool:
    return facts.architecture in ENCODERS


def _row(kind: GgmlType, elements: int) -> int:
    return -(-elements // kind.block) * kind.block_bytes


def _pad(count: int) -> int:
    return -(-count // PAD_CELLS) * PAD_CELLS
