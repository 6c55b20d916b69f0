"""The size of llama.cpp's compute buffer: the intermediate tensors that are alive at once.

`sched_reserve` (llama-context.cpp) builds the graph of one full ubatch and asks ggml-alloc for the
room it takes. The allocator frees what is not read any more and puts new tensors into the first
hole that is large enough, so the peak is the largest of a few places in one layer, each a sum of
widths times tokens. The sums here were read from the graphs in llama.cpp's `src/models/*.cpp` and
`src/llama-graph.cpp` and agree with the engine's own report over all models of
`tests/golden/models`; `tests/bench/memory_oracle.py` prints by how much.

Widths count elements per token, four bytes each. `_INPUTS` widths of the embedding are there all
the time: the batch's embeddings, those of a batch that mixes text and images, and the residual.
"""

from aimindserve.core.facts import ModelFacts
from aimindserve.formats.llama_cpp.settings import (
    Settings,
    cells,
    is_encoder,
    kv_heads,
    tokens,
    window_cells,
)

_INPUTS = 5
_NUMBERS = 16
"""Positions, cell numbers, token numbers: 5 to 15 elements per token in every graph."""
_SMALL = 1024
"""Factors of rotary positions, alignment."""
_ROTATION = 64
"""Least side of the matrices that rotate keys and values before they are quantised."""
_RESIDUAL_COPIES = ("granitehybrid",)
"""Keep a second residual, scaled."""
_DELTA_NETS = ("qwen3next", "qwen35", "qwen35moe")
"""Recurrent layers are gated delta nets, and those that attend bring a gate as wide as the
queries along."""
_FUSED_ATTENTION = ("chatglm", "falcon", "gpt2", "gptneox", "phi2", "phi3", "qwen", "starcoder")
"""Queries, keys and values come out of one matrix, into room that is free by then."""
_BOTH_IN_A_LAYER = ("falcon-h1",)
"""Attend and scan in the same layer."""
_KERNEL_LESS_ONE = 3
"""Every model known convolves over four tokens and keeps three."""
_FIRST_SCANS = ("mamba", "jamba")
"""Recurrent layers of the first Mamba, which reads its states in place."""


def compute_buffer(facts: ModelFacts, settings: Settings) -> int:
    """Bytes of the compute buffer of a device that computes whole layers."""
    count = tokens(facts, settings)
    places = (
        _feed_forward(facts, settings) * count,
        _attention(facts, settings) * count,
        _recurrence(facts, settings, count),
        _output(facts, settings, count),
    )
    fixed = _numbers(facts, settings) * count + _rotations(facts, settings) + _SMALL
    return 4 * (max(places) + fixed) + masks(facts, settings) * count


def output_buffer(facts: ModelFacts, settings: Settings) -> int:
    """Bytes of the results on the host: logits, or vectors where asked (`output_reserve` in
    llama-context.cpp). Grows from one per slot to one per token when a batch asks for all."""
    outputs = settings.parallel
    if not settings.embedding:
        return 4 * outputs * facts.vocabulary_size
    if facts.pooling in ("", "none"):
        outputs = max(tokens(facts, settings), outputs)
    return 4 * outputs * (facts.vocabulary_size + facts.embedding_length)


def _feed_forward(facts: ModelFacts, settings: Settings) -> int:
    embd, wide = facts.embedding_length, facts.feed_forward_length
    dense = (3 if facts.gated else 1) * wide + _INPUTS * embd
    if not facts.expert_count:
        return dense + _residual_copy(facts, settings)
    used = max(facts.expert_used_count, 1)
    each = facts.expert_feed_forward_length or wide
    # The experts' results take the room of two hidden vectors where they fit into it.
    results = used * embd if embd > 2 * each else 0
    if facts.architecture in _DELTA_NETS and not settings.flash_attention:
        results += embd
    experts = 3 * used * each + results + _INPUTS * embd
    shared = 3 * facts.shared_expert_feed_forward_length + (_INPUTS + 1) * embd
    return max(experts, shared, dense if facts.expert_feed_forward_length else 0)


def _residual_copy(facts: ModelFacts, settings: Settings) -> int:
    """Seen, not derived: one width more, and a third again where states are small beside the
    batch, as the holes then lie otherwise."""
    if facts.architecture not in _RESIDUAL_COPIES or _rotations(facts, settings):
        return 0
    state = facts.recurrent_state_elements // max(facts.recurrent_layer_count, 1)
    small = state * settings.parallel <= 256 * tokens(facts, settings)
    return facts.embedding_length * (7 if small else 3) // 3


def _attention(facts: ModelFacts, settings: Settings) -> int:
    embd, heads = facts.embedding_length, facts.head_count
    if not heads:
        return 0
    if is_encoder(facts):
        return _encoder_attention(facts, settings)
    if facts.latent_head_length:
        return _latent_attention(facts, settings)
    q = heads * facts.key_length
    # Of the inputs' room one width of the embedding is free by now; queries take it if they fit.
    if q > embd or settings.flash_attention:
        queries = 2 * q
    else:
        queries = 0 if _reuses_room(facts, q) else embd
    if facts.architecture in _DELTA_NETS:
        queries += 2 * q if _rotations(facts, settings) else q
    scores = 0 if settings.flash_attention else heads * cells(settings)[0]
    return _INPUTS * embd + queries + scores


def _reuses_room(facts: ModelFacts, q: int) -> bool:
    both = facts.architecture in _BOTH_IN_A_LAYER and 2 * q <= facts.embedding_length
    return both or facts.architecture in _FUSED_ATTENTION


def _latent_attention(facts: ModelFacts, settings: Settings) -> int:
    """Absorbed: each head's query in the latent space, beside what it was made from."""
    heads, embd = facts.head_count, facts.embedding_length
    rank = facts.key_length - facts.rope_length
    rotated = heads * facts.rope_length
    queries = heads * (facts.latent_head_length + rank + facts.key_length)
    total = _INPUTS * embd + queries + (rotated if rotated > embd else 0)
    total += facts.key_length + facts.latent_head_length  # one key, on its way into the cache
    if settings.flash_attention:
        return total
    # Scores fit where the absorbed queries were, or the values do: a part of the keys, turned
    # over once more, 16-bit, of all streams.
    each, streams = cells(settings)
    turned = -(-rank * each * streams // (2 * tokens(facts, settings)))
    scores = heads * each if each > rank else 0
    return total + scores + (turned if turned > heads * rank else 0)


def _encoder_attention(facts: ModelFacts, settings: Settings) -> int:
    """Queries, keys and values of the whole text; 16-bit copies with flash attention."""
    embd = facts.embedding_length
    if settings.flash_attention:
        return 9 * embd
    copies = 7 if facts.architecture == "bert" else 9
    return copies * embd + facts.head_count * tokens(facts, settings)


def _recurrence(facts: ModelFacts, settings: Settings, count: int) -> int:
    """Elements, not per token: a step of the recurrent layer and the states it reads and writes."""
    if not facts.recurrent_width:
        return 0
    step = (_INPUTS * facts.embedding_length + facts.recurrent_width) * count
    layers, slots = max(facts.recurrent_layer_count, 1), settings.parallel
    conv = facts.recurrent_conv_elements // layers
    state = facts.recurrent_state_elements // layers
    convolved = conv // _KERNEL_LESS_ONE
    if facts.architecture in _DELTA_NETS:
        # A convolution narrower than four widths does not fit where those of the inputs were.
        apart = 0 if convolved >= 4 * facts.embedding_length else 3 * facts.embedding_length
        return step + apart * count + (conv + 2 * state) * slots
    # States of all other slots are copied, into room that is free if it is large enough.
    copied = state * (slots - 1)
    copies = 1 if facts.architecture in _FIRST_SCANS else 2
    return step + (copies * conv + state) * slots + (copied if copied > convolved * count else 0)


def recurrent_layers(facts: ModelFacts) -> tuple[bool, ...]:
    """Which layers keep a state: those without a cache where there are such, else all of them."""
    if not facts.recurrent_bytes:
        return (False,) * facts.layer_count
    heads = [kv_heads(facts, layer) for layer in range(facts.layer_count)]
    mixed = any(heads) and not all(heads)
    return tuple(not count if mixed else True for count in heads)


def _output(facts: ModelFacts, settings: Settings, count: int) -> int:
    outputs = count if settings.embedding else min(settings.parallel, count)
    vocabulary = 0 if is_encoder(facts) else facts.vocabulary_size
    return _INPUTS * facts.embedding_length * count + vocabulary * outputs


def _numbers(facts: ModelFacts, settings: Settings) -> int:
    """Without flash attention V lies transposed, and every element of it has a cell number."""
    if settings.flash_attention or is_encoder(facts) or facts.latent_head_length:
        return _NUMBERS
    widest = max((kv_heads(facts, layer) for layer in range(facts.layer_count)), default=0)
    caches = 2 if any(facts.sliding_layers) else 1
    return _NUMBERS + 2 * caches * widest * (facts.value_length or facts.key_length)


def masks(facts: ModelFacts, settings: Settings) -> int:
    """Bytes per token of the attention masks: a column per visible cell, of full caches and of
    windows."""
    each = 2 if settings.flash_attention else 4
    if is_encoder(facts):
        return each * tokens(facts, settings) * (2 if facts.sliding_window else 1)
    if not facts.head_count:
        return 0
    full, _ = cells(settings)
    windows = window_cells(facts, settings) if any(facts.sliding_layers) else 0
    return each * (full + windows)


def _rotations(facts: ModelFacts, settings: Settings) -> int:
    """`llama_kv_cache` rotates quantised keys by the largest power of two that divides a head,
    values by the smallest allowed."""
    total = 0
    if settings.type_k not in _PLAIN and _rotates(facts.key_length):
        total += _largest_square(facts.key_length)
    if settings.type_v not in _PLAIN and _rotates(facts.value_length):
        total += _ROTATION**2
    return total * (2 if any(facts.sliding_layers) else 1)


_PLAIN = ("f32", "f16", "bf16")


def _rotates(length: int) -> bool:
    return length > 0 and length % _ROTATION == 0


def _largest_square(length: int) -> int:
    side = _ROTATION
    while length % (2 * side) == 0:
        side *= 2
    return side * side
