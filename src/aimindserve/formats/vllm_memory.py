"""How much memory vLLM needs for a model at least, and the longest context that fits.

vLLM takes a share of each device whatever the model (`--gpu-memory-utilization`): weights, the peak
of one profiled batch and what libraries hold come first, all that is left becomes KV cache. So the
question is not how much it takes but whether its needs fit into the share. Read from
`vllm/v1/worker/gpu_worker.py` (`determine_available_memory`) and the models of vLLM 0.32.0.

What differs between versions is bounded in two ways: the backend sets everything that decides over
memory itself (share, context, batch, sequences), since defaults moved (the share from 0.9 to 0.92,
256 sequences to 1,024 on large devices); what remains counts as in the worst version seen. Must not
know devices, workers or backends.
"""

from dataclasses import dataclass, replace

from aimindserve.core.device import MemoryParts
from aimindserve.core.facts import ModelFacts
from aimindserve.formats.vllm_additions import (
    NO_ADAPTERS,
    NO_PROPOSALS,
    Adapters,
    Proposals,
    adapter_bytes,
    prediction_bytes,
    proposer,
)
from aimindserve.formats.vllm_kv_cache import (
    BLOCK_TOKENS,
    Pool,
    block_bytes,
    has_pool,
    is_encoder,
    layers_of_stage,
    sequence_bytes,
    sequences_floor_bytes,
)

MIB = 1024**2
GIB = 1024**3
UTILIZATION = 0.9
"""Share of a device that the engine takes; what vLLM's default was before 0.32's 0.92."""
VOCABULARY_PAD = 64
"""`DEFAULT_VOCAB_PADDING_SIZE` in model_executor/layers/vocab_parallel_embedding.py."""
MXFP4_WIDTH_PAD, MXFP4_INNER_PAD = 256, 128
"""What kernels round experts in MXFP4 up to (`mxfp4_round_up_hidden_size_and_intermediate_size` in
model_executor/layers/fused_moe/oracle/mxfp4.py; the largest of them, Marlin's)."""
LOGIT_BYTES = 40
"""Of one logit while a batch is sampled: bfloat16, float32, sorted values and their 64-bit places,
the sort's own buffers, probabilities and their sums. 1.26 GiB peak for 256 sequences of 128,256
words (vllm-project/vllm#10511) are 41 with the hidden states."""
PROCESSOR_LOGIT_BYTES = 45
"""The same on processors, where penalties take most: bfloat16, float32 and the scores of all words
(10), how often each was seen in prompt and answer and whether (18), and the steps of the penalty
for repetition (17; `apply_penalties` in model_executor/layers/utils.py). 46 were measured."""
GRAPH_BYTES = 288 * 1024
"""One captured batch size in one layer. 26 layers of Gemma 3 1B took 0.44 GiB for 67 sizes
(vllm-project/vllm#14696): 265 KiB."""
GRAPH_SIZES_MAX = 67
"""1, 2, 4 and every eighth up to 512; later versions capture fewer."""
LIBRARY_BYTES = 350 * MIB
"""What libraries hold on a device beside PyTorch's allocator: 0.03 to 0.30 GiB in the logs of
vllm-project/vllm#13882 and #15815. The driver's own context lies outside the share."""
COLLECTIVE_BYTES = int(1.8 * GIB)
"""Buffers of NCCL and custom all-reduce on a rank that has others: two H100 held 3.58 GiB each
where one held 1.79 (vllm-project/vllm#10511); without NVLink it is a tenth of it (#15815)."""
SERVER_BYTES = 1264 * MIB
"""Host memory of the API server and the engine's core together; see tests/bench/memory_vllm.py."""
WORKER_BYTES = 2048 * MIB
"""Host memory of the process of one device: libraries, pinned buffers. Not measured here."""
PROCESSOR_RUNTIME_BYTES = 1344 * MIB
"""Host memory that the server, the engine's core and a worker on processors have for themselves,
libraries' data above all, and what they keep of what was freed; see tests/bench/memory_vllm.py."""
PROCESSOR_LIBRARY_BYTES = 665 * MIB
"""Pages of libraries' files in the three of them. A bound: how many are resident depends on what
has been read before."""
WORD_BYTES = 2200
"""A word of the vocabulary in the tokenizers of the server and of the engine's core, which has one
for structured answers: 2.0 to 2.2 kB measured there with 32,000 and 128,256 words."""
PACKED_SHARE = 0.01
"""What rearranging weights for a processor's kernels leaves behind of layers. Measured there."""
ENCODER_TOKENS = 16_384
"""Largest picture in tokens of the language model: Qwen2-VL's `max_pixels` 12,845,056."""
ENCODER_WIDTHS = 12
"""Intermediate values of a picture's patch, in widths of its encoder: queries, keys, values, the
inner width twice, residuals."""


@dataclass(frozen=True, slots=True)
class Settings:
    """What decides over memory besides the model; vLLM's own names."""

    context: int
    """Tokens of the longest sequence (`--max-model-len`)."""
    tensor_parallel: int = 1
    pipeline_parallel: int = 1
    batched_tokens: int = 2048
    """Tokens of one step (`--max-num-batched-tokens`)."""
    sequences: int = 256
    """Sequences of one step (`--max-num-seqs`)."""
    room: int = 1
    """Sequences of full length that the cache must hold at once."""
    eager: bool = False
    """No graphs are captured (`--enforce-eager`)."""
    cache_element_bytes: int = 2
    weight_element_bytes: int = 0
    """Of weights that are not quantised (`--dtype`); 0: as stored, float32 as 16 bit."""
    adapters: Adapters = NO_ADAPTERS
    proposals: Proposals = NO_PROPOSALS
    text_only: bool = False
    """No pictures or sound are taken (`--limit-mm-per-prompt` all zero)."""

    @property
    def pool(self) -> Pool:
        """What of this decides over the cache."""
        return Pool(
            context=self.context,
            tensor_parallel=self.tensor_parallel,
            pipeline_parallel=self.pipeline_parallel,
            element_bytes=self.cache_element_bytes,
            batched_tokens=self.batched_tokens,
            block=BLOCK_TOKENS,
        )


def device_needs(facts: ModelFacts, settings: Settings) -> tuple[MemoryParts, ...]:
    """What the engine needs at least on each device, pipeline stage by stage, the ranks of a stage
    beside each other (vLLM's rank order)."""
    stages = range(settings.pipeline_parallel)
    each = [stage_need(facts, settings, stage) for stage in stages]
    return tuple(need for need in each for _ in range(settings.tensor_parallel))


def stage_need(facts: ModelFacts, settings: Settings, stage: int) -> MemoryParts:
    """What a rank of one pipeline stage needs at least."""
    layers = layers_of_stage(facts.layer_count, stage, settings.pipeline_parallel)
    vision = 0 if settings.text_only else facts.part_bytes.vision
    room = adapter_bytes(facts, settings.adapters, settings.tensor_parallel, len(layers))
    last = stage == settings.pipeline_parallel - 1
    return MemoryParts(
        weights=rank_weights(facts, settings, stage) - facts.part_bytes.vision + room,
        kv_cache=cache_need(facts, settings, layers) + (proposals_cache(facts, settings) * last),
        compute=activation_peak(facts, settings),
        runtime=runtime_bytes(facts, settings, layers),
        projector=vision,
        draft=draft_weights(facts, settings) * last,
    )


def draft_weights(facts: ModelFacts, settings: Settings) -> int:
    """Weights on one rank of what proposes tokens. A draft is cut as the model is; an embedding or
    output that it shares with the model counts where its file holds one."""
    if settings.proposals.predicts:
        return prediction_bytes(facts, settings.tensor_parallel)
    draft = settings.proposals.draft
    return 0 if draft is None else rank_weights(draft, replace(settings, pipeline_parallel=1))


def proposals_cache(facts: ModelFacts, settings: Settings) -> int:
    """Cache that the sequences of full length need in the layers that propose."""
    beside = proposer(facts, settings.proposals)
    if beside is None or not has_pool(beside):
        return 0
    pool = replace(settings.pool, pipeline_parallel=1)
    return settings.room * sequence_bytes(beside, pool, range(beside.layer_count))


def rank_weights(facts: ModelFacts, settings: Settings, stage: int = 0) -> int:
    """Bytes of the weights of one rank, rotary tables included.

    Column and row parallel layers are cut over the ranks, KV heads only as far as there are any,
    the vocabulary padded to 64; norms, routers and latent projections are whole on each
    (model_executor/layers/linear.py, vocab_parallel_embedding.py, model_executor/models/). Encoders
    of pictures count whole: most are cut too, not all of them everywhere (Gemma 3 27B on four
    devices: 13.17 GiB each, 13.4 so, 12.8 if cut). The first stage holds the embedding, the last
    the output; prediction layers (MTP) are not loaded.
    """
    parts, ranks = facts.part_bytes, settings.tensor_parallel
    stages = settings.pipeline_parallel
    if not parts.total:
        return -(-facts.size_bytes // (ranks * stages))
    kv_ranks = ranks if facts.latent_length else min(ranks, _kv_heads(facts))
    experts = int(parts.experts * _expert_padding(facts, ranks))
    cut = parts.attention_q + parts.attention_o + parts.mlp + experts + parts.recurrent
    layers = cut // ranks + parts.attention_kv // kv_ranks + parts.router + parts.replicated
    total = int(layers * _stage_share(facts, stage, stages)) + parts.vision
    padding = _padded(facts.vocabulary_size, VOCABULARY_PAD)
    if stage == 0:
        total += int(parts.embedding * padding) // ranks
    if stage == stages - 1:
        tied = parts.embedding if stages > 1 and not parts.output else 0
        total += int((parts.output + tied) * padding) // ranks
    return int(total * _element_ratio(facts, settings)) + _rotary_bytes(facts)


def cache_need(facts: ModelFacts, settings: Settings, layers: range) -> int:
    """Least KV cache of a rank: `room` sequences of full length, a block that the pool keeps for
    itself (`check_enough_kv_cache_memory`), and a state for every sequence of a step."""
    if not has_pool(facts):
        return 0
    pool = settings.pool
    held = settings.room * sequence_bytes(facts, pool, layers)
    floor = sequences_floor_bytes(facts, pool, layers, settings.sequences)
    return max(held, floor) + block_bytes(facts, pool, layers)


def activation_peak(facts: ModelFacts, settings: Settings) -> int:
    """Peak of the batch that vLLM runs to profile itself (`profile_run` in gpu_model_runner.py):
    the widest layer for all tokens of a step, or sampling for all its sequences, whichever is more;
    before it, encoding the pictures of a step."""
    layer = layer_peak(facts, settings)
    if is_encoder(facts):
        return layer
    beside = settings.proposals.draft
    drafted = 0 if beside is None else layer_peak(beside, settings)
    sampling = sampling_peak(facts, settings)
    return max(layer, drafted, sampling, _encoding_peak(facts, settings))


def layer_peak(facts: ModelFacts, settings: Settings) -> int:
    """Values of all tokens of a step in the widest layer: residual, normed input, output and its
    sum over the ranks; beside them queries twice with keys and values, or the feed-forward's gate,
    up and product, or those of its experts with each expert's output (`fused_moe`)."""
    size, tokens = max(settings.weight_element_bytes, 2), settings.batched_tokens
    ranks = settings.tensor_parallel
    width = facts.embedding_length
    query = facts.head_count * (facts.key_length or width)
    attention = (2 * query + _kv_width(facts)) // ranks
    inner = 3 * (facts.feed_forward_length + facts.shared_expert_feed_forward_length) // ranks
    if facts.expert_count:
        wide = facts.expert_feed_forward_length or facts.feed_forward_length
        shared = 3 * facts.shared_expert_feed_forward_length // ranks
        inner = max(inner, facts.expert_used_count * (3 * wide // ranks + width) + shared)
    return size * tokens * (4 * width + max(attention, inner))


def sampling_peak(facts: ModelFacts, settings: Settings, logit_bytes: int = LOGIT_BYTES) -> int:
    """Scores of all sequences of a step while one word of each is chosen."""
    vocabulary = -(-facts.vocabulary_size // VOCABULARY_PAD) * VOCABULARY_PAD
    each = 1 + settings.proposals.tokens
    sampled = min(settings.sequences * each, settings.batched_tokens)
    states = 2 * settings.batched_tokens * facts.embedding_length
    return states + logit_bytes * sampled * vocabulary


def runtime_bytes(facts: ModelFacts, settings: Settings, layers: range) -> int:
    """What is held beside PyTorch's tensors: captured graphs, libraries, and the buffers of ranks
    that speak with each other. Counted inside the share, as vLLM 0.32 does; before 0.14 graphs came
    on top of it."""
    ranks = settings.tensor_parallel * settings.pipeline_parallel
    total = LIBRARY_BYTES + (COLLECTIVE_BYTES if ranks > 1 else 0)
    if settings.eager or is_encoder(facts):
        return total
    sizes = min(GRAPH_SIZES_MAX, 3 + settings.sequences // 4)
    return total + GRAPH_BYTES * sizes * len(layers)


def host_need(facts: ModelFacts, settings: Settings, devices: int) -> MemoryParts:
    """Host memory of a process tree with `devices` workers, each with the adapters that it may be
    asked for. Weights go to the devices through mapped files, which the system may drop."""
    return MemoryParts(
        weights=_held_adapters(facts, settings) * devices,
        runtime=SERVER_BYTES + WORKER_BYTES * devices,
    )


def _held_adapters(facts: ModelFacts, settings: Settings) -> int:
    held = replace(settings.adapters, count=settings.adapters.held)
    return adapter_bytes(facts, held, 1, facts.layer_count)


def processor_need(facts: ModelFacts, settings: Settings, cache_bytes: int) -> MemoryParts:
    """Host memory of vLLM on processors: it keeps exactly `cache_bytes` as KV cache
    (`VLLM_CPU_KVCACHE_SPACE`), and captures no graphs."""
    room = adapter_bytes(facts, settings.adapters, 1, facts.layer_count)
    room += _held_adapters(facts, settings)
    words = WORD_BYTES * facts.vocabulary_size
    return MemoryParts(
        weights=processor_weights(facts, settings) + room,
        kv_cache=cache_bytes if has_pool(facts) else 0,
        compute=processor_peak(facts, settings),
        runtime=PROCESSOR_RUNTIME_BYTES + PROCESSOR_LIBRARY_BYTES + words,
        draft=_processor_draft(facts, settings),
    )


def processor_weights(facts: ModelFacts, settings: Settings) -> int:
    """As they lie in memory once they are rearranged for kernels. Layers keep the new order alone;
    the embedding and the output keep both (`remove_weight=False` in vocab_parallel_embedding.py),
    since a row is looked up in one of them and a product made of the other."""
    parts, weights = facts.part_bytes, rank_weights(facts, settings)
    words = (parts.embedding + parts.output) * _element_ratio(facts, settings)
    layers = max(weights - words, 0)
    return int(weights + words + layers * PACKED_SHARE)


def _processor_draft(facts: ModelFacts, settings: Settings) -> int:
    draft = settings.proposals.draft
    if settings.proposals.predicts or draft is None:
        return int(draft_weights(facts, settings) * (1 + PACKED_SHARE))
    return processor_weights(draft, settings)


def processor_peak(facts: ModelFacts, settings: Settings) -> int:
    """Peak of a batch on processors. Nothing is profiled there when no graphs are compiled
    (`CPUWorker._should_warm_up_model`), so it comes with the first full batch."""
    beside = settings.proposals.draft
    layers = [processor_layer_peak(each, settings) for each in (facts, beside) if each is not None]
    if is_encoder(facts):
        return max(layers)
    sampling = sampling_peak(facts, settings, PROCESSOR_LOGIT_BYTES)
    return max(*layers, sampling, _encoding_peak(facts, settings))


def processor_layer_peak(facts: ModelFacts, settings: Settings) -> int:
    """Values of all tokens of a step in the widest moment of a layer, on processors.

    Four rows of the model's width live through a layer: what came in and its residual, which the
    loop over layers holds, and the layer's own (`LlamaModel.forward`). Beside them gate and up,
    the activation of the gate and its product (`SiluAndMul.forward_native`), which a device
    multiplies in place; or queries with keys and values, and queries again. Or a norm of them in
    float32: the sum with the residual and what is made of it, the new residual, and the result
    before and after its weights (`fused_add_rms_norm` in ir/ops/layernorm.py).
    """
    size = max(settings.weight_element_bytes, 2)
    width = facts.embedding_length
    query = facts.head_count * (facts.key_length or width // max(facts.head_count, 1))
    rows = max(2 * query + _kv_width(facts), _inner_rows(facts))
    norm = width * (3 * 4 if size >= 4 else 2 * 4 + 3 * size)
    return settings.batched_tokens * (4 * width * size + max(size * rows, norm))


def _inner_rows(facts: ModelFacts) -> int:
    """Elements of a token inside the feed-forward part: four of its width where a gate goes with
    it, else two. Experts compute for each that was chosen (not measured)."""
    shared = facts.shared_expert_feed_forward_length
    inner = (4 if _is_gated(facts) else 2) * (facts.feed_forward_length + shared)
    if not facts.expert_count:
        return inner
    wide = facts.expert_feed_forward_length or facts.feed_forward_length
    chosen = facts.expert_used_count * (4 * wide + facts.embedding_length) + 4 * shared
    return max(inner, chosen)


def _is_gated(facts: ModelFacts) -> bool:
    """Whether three matrices make the feed-forward part, not two; so it is said where quantised
    weights do not tell."""
    stored = _stored_bytes(facts)
    matrix = facts.embedding_length * facts.feed_forward_length * facts.layer_count * stored
    return not stored or facts.part_bytes.mlp == 0 or facts.part_bytes.mlp > 2.5 * matrix


def longest_context(facts: ModelFacts, settings: Settings, share_bytes: int) -> int:
    """The largest context of at most `settings.context` whose needs fit into `share_bytes` of every
    device; 0 when none does (vLLM's own `estimate_max_model_len` searches in the same way)."""

    def fits(context: int) -> bool:
        needs = device_needs(facts, replace(settings, context=context))
        return max(need.total for need in needs) <= share_bytes

    low, high = 0, settings.context
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if fits(middle) else (low, middle - 1)
    return low


def _encoding_peak(facts: ModelFacts, settings: Settings) -> int:
    """Encoding the pictures of one step: four patches and more for each token that they become
    (`get_encoder_budget`). Rough: how pictures are cut is each model's own."""
    if settings.text_only or not facts.vision_embedding_length:
        return 0
    tokens = max(settings.batched_tokens, ENCODER_TOKENS if not facts.sliding_window else 0)
    patches = 4 * tokens
    return 2 * (patches * ENCODER_WIDTHS * facts.vision_embedding_length) + (
        2 * tokens * facts.embedding_length
    )


def _expert_padding(facts: ModelFacts, ranks: int) -> float:
    """GPT-OSS is 2,880 wide, 3,072 once loaded: 65.97 GiB of 60.8 (vllm-project/vllm#23278)."""
    inner = facts.expert_feed_forward_length // ranks
    if facts.quantization != "mxfp4" or not inner:
        return 1.0
    return _padded(facts.embedding_length, MXFP4_WIDTH_PAD) * _padded(inner, MXFP4_INNER_PAD)


def _padded(size: int, multiple: int) -> float:
    return -(-size // multiple) * multiple / max(size, 1)


def _stage_share(facts: ModelFacts, stage: int, stages: int) -> float:
    """Of what all layers weigh."""
    layers = layers_of_stage(facts.layer_count, stage, stages)
    if len(facts.layer_bytes) == facts.layer_count and sum(facts.layer_bytes):
        return sum(facts.layer_bytes[layer] for layer in layers) / sum(facts.layer_bytes)
    return len(layers) / facts.layer_count if facts.layer_count else 1 / stages


def _element_ratio(facts: ModelFacts, settings: Settings) -> float:
    """What weights weigh once loaded, to what they weigh in the file. `--dtype auto` makes 16 bit
    of float32 (`_get_and_verify_dtype` in vllm/config/model.py)."""
    stored = _stored_bytes(facts)
    return (settings.weight_element_bytes or 2) / stored if stored else 1.0


def _stored_bytes(facts: ModelFacts) -> int:
    """Of one weight in the file; 0 where they are quantised."""
    if facts.weight_bits:
        return 0
    return {"F64": 8, "F32": 4, "F16": 2, "BF16": 2}.get(facts.dtype, 0)


def _rotary_bytes(facts: ModelFacts) -> int:
    """Sines and cosines of every position, once for full layers and once for those with a window
    (model_executor/layers/rotary_embedding)."""
    width = facts.rope_length or facts.key_length
    return 2 * width * facts.context_length * (2 if any(facts.sliding_layers) else 1)


def _kv_heads(facts: ModelFacts) -> int:
    return max(max(facts.head_count_kv, default=facts.head_count), 1)


def _kv_width(facts: ModelFacts) -> int:
    if facts.latent_length:  # keys and values are unfolded for a prompt
        return facts.head_count * 2 * facts.key_length
    return _kv_heads(facts) * (facts.key_length + facts.value_length)
