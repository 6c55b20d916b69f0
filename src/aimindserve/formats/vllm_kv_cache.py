"""How much KV cache vLLM needs for sequences of a length: pure arithmetic on its block pool.

vLLM keeps one pool of blocks. Layers of one kind form groups of equal size, each group takes blocks
of its own for a sequence, and a block is as wide as one group's layers. Read from
`vllm/v1/kv_cache_interface.py` and `vllm/v1/core/kv_cache_utils.py` of vLLM 0.32.0. Must not know
devices, workers or backends.
"""

from dataclasses import dataclass

from aimindserve.core.facts import ModelFacts

BLOCK_TOKENS = 16
"""Block of most attention backends for CUDA (`cache_config.block_size`). Others take more (64 for
MLA, 128 on processors) and round a sequence up a little more; `Pool.block` says which counts."""
STATE_BYTES = 4
"""Recurrent state is at most float32 (`mamba_ssm_cache_dtype`)."""


@dataclass(frozen=True, slots=True)
class Pool:
    """What decides over the cache of one rank besides the model."""

    context: int
    """Longest sequence in tokens (`--max-model-len`)."""
    tensor_parallel: int = 1
    pipeline_parallel: int = 1
    element_bytes: int = 2
    """Of a key or value: 2, or 1 for fp8 (`--kv-cache-dtype`)."""
    batched_tokens: int = 2048
    block: int = BLOCK_TOKENS


def has_pool(facts: ModelFacts) -> bool:
    """Whether vLLM keeps a cache for this model and so takes its whole share of the device. What
    only encodes (BERT, Whisper's encoder alone) keeps none (`EncoderOnlyAttentionSpec`)."""
    return bool(facts.recurrent_layer_count) or (
        bool(facts.key_length) and not is_encoder(facts) and bool(facts.head_count)
    )


def is_encoder(facts: ModelFacts) -> bool:
    """Whether every layer sees the whole text and nothing is generated."""
    return facts.architecture in ENCODERS


ENCODERS = frozenset(
    {
        *("albert", "bert", "camembert", "clip", "deberta", "deberta-v2", "distilbert", "electra"),
        *("eurobert", "gte", "jina-bert", "modernbert", "mpnet", "new", "nomic_bert", "roberta"),
        *("nomic-bert", "siglip", "xlm-roberta", "xlm-roberta-flash", "jina_bert"),
    }
)
"""`model_type` of models without causal attention (the encoders of vLLM's pooling models)."""


def layers_of_stage(layers: int, stage: int, stages: int) -> range:
    """Which layers a pipeline stage holds: even, the rest from the last but one forwards
    (`get_pp_indices` in vllm/distributed/utils.py)."""
    each, rest = divmod(layers, stages)
    counts = [each] * stages
    for extra in range(2, rest + 2):
        counts[-extra] += 1
    start = sum(counts[:stage])
    return range(start, start + counts[stage])


def token_bytes(facts: ModelFacts, pool: Pool) -> int:
    """Cache of one token of full attention, all layers, one rank. What vLLM's line `GPU KV cache
    size: N tokens` divides the memory by, for models with one kind of layer."""
    every = range(facts.layer_count)
    return sum(_token_bytes(facts, pool, layer) for layer in every if _attends(facts, layer))


def sequence_bytes(facts: ModelFacts, pool: Pool, layers: range) -> int:
    """What one sequence of the full length takes of the pool on a rank that holds `layers`
    (`_max_memory_usage_bytes_from_groups`)."""
    full, sliding, recurrent = _kinds(facts, layers)
    page = _page_bytes(facts, pool, layers)
    blocks = -(-pool.context // pool.block)
    # A decoder beside an encoder keeps the whole encoding of a sequence too (`CrossAttentionSpec`).
    blocks += -(-facts.encoder_context_length // pool.block)
    if not recurrent:
        group = _group(len(full), len(sliding))
        wide = group * page
        groups = -(-len(full) // group) if group else 0
        windows = -(-len(sliding) // group) if group else 0
        return (groups * blocks + windows * _window_blocks(facts, pool)) * wide
    # Attention's blocks are widened until they equal a layer's state, so the last one may stand
    # nearly empty; a layer keeps its state and the one before it (`mamba_cache_mode` align).
    state = state_bytes(facts, pool)
    attention = (len(full) + len(sliding)) * (blocks * page + state)
    return attention + 2 * len(recurrent) * state


def state_bytes(facts: ModelFacts, pool: Pool) -> int:
    """State that one recurrent layer keeps for a sequence on one rank (`MambaSpec`); it is cut over
    the ranks (`MambaStateShapeCalculator`)."""
    count = facts.recurrent_layer_count
    if not count:
        return 0
    whole = facts.recurrent_conv_elements * 2 + facts.recurrent_state_elements * STATE_BYTES
    return -(-whole // (count * pool.tensor_parallel))


def sequences_floor_bytes(facts: ModelFacts, pool: Pool, layers: range, sequences: int) -> int:
    """The pool must have a block for the state of each of `sequences` or vLLM does not start
    (`max_num_seqs exceeds available Mamba cache blocks` in vllm/config/compilation.py)."""
    full, sliding, recurrent = _kinds(facts, layers)
    if not recurrent:
        return 0
    attention = len(full) + len(sliding)
    group = _group(attention, len(recurrent))
    return sequences * group * state_bytes(facts, pool)


def block_bytes(facts: ModelFacts, pool: Pool, layers: range) -> int:
    """One block of the pool, which it keeps back for itself (`_pool_bytes_per_block`)."""
    full, sliding, recurrent = _kinds(facts, layers)
    group = _group(len(full) + (len(sliding) if recurrent else 0), len(sliding) or len(recurrent))
    return group * max(_page_bytes(facts, pool, layers), state_bytes(facts, pool))


def _window_blocks(facts: ModelFacts, pool: Pool) -> int:
    """`SlidingWindowSpec.max_admission_blocks_per_request`: the window, and what several batches
    that are under way at once add to it."""
    under_way = pool.batched_tokens * (pool.pipeline_parallel + 1)
    held = min(facts.sliding_window - 1 + under_way, pool.context)
    return -(-held // pool.block) + 1


def _group(one: int, other: int) -> int:
    """Layers of a group: the fewer of two kinds, or the more when they are nearly as many
    (`_get_kv_cache_groups_uniform_page_size`; the smaller of its thresholds pads more)."""
    few, many = sorted((one, other))
    if not few:
        return many
    return many if many < few * 1.25 else few


def _kinds(facts: ModelFacts, layers: range) -> tuple[list[int], list[int], list[int]]:
    """Layers of full attention, of windows, and with a recurrent state (some have both)."""
    attention = [layer for layer in layers if _attends(facts, layer)]
    slides = [layer for layer in attention if _slides(facts, layer)]
    full = [layer for layer in attention if layer not in slides]
    count = len(layers) * facts.recurrent_layer_count
    recurrent = -(-count // facts.layer_count) if facts.layer_count else 0
    return full, slides, list(layers)[:recurrent]


def _page_bytes(facts: ModelFacts, pool: Pool, layers: range) -> int:
    each = [_token_bytes(facts, pool, layer) for layer in layers if _attends(facts, layer)]
    return max(each, default=0) * pool.block


def _token_bytes(facts: ModelFacts, pool: Pool, layer: int) -> int:
    """Keys and values of one token in one layer of one rank. Beyond the count of KV heads ranks
    hold copies; a latent vector is whole on every rank (`MLAAttentionSpec`)."""
    if facts.latent_length:
        return (facts.latent_length + facts.rope_length) * pool.element_bytes
    heads = max(_heads(facts, layer) // pool.tensor_parallel, 1)
    return heads * (facts.key_length + facts.value_length) * pool.element_bytes


def _heads(facts: ModelFacts, layer: int) -> int:
    heads = facts.head_count_kv
    if len(heads) > 1:
        return heads[layer] if layer < len(heads) else max(heads)
    return max(heads, default=facts.head_count)


def _attends(facts: ModelFacts, layer: int) -> bool:
    heads = facts.head_count_kv
    if len(heads) > 1:
        return layer < len(heads) and heads[layer] > 0
    if not facts.head_count or not facts.key_length:
        return False
    # With one count for all layers it is not known which ones attend, only how many; layers that
    # do both are all recurrent and all attend.
    both = facts.recurrent_layer_count == facts.layer_count
    return both or layer < facts.layer_count - facts.recurrent_layer_count


def _slides(facts: ModelFacts, layer: int) -> bool:
    return layer < len(facts.sliding_layers) and facts.sliding_layers[layer]
