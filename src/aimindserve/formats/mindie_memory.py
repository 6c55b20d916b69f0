"""How much memory Ascend MindIE needs for a model: GPUStack's formulas, with two faults corrected.

The shapes of latent attention were counted twice and for one head only (the cache of a token is
one latent vector and its rotary part), and device bytes were handed on where host bytes were meant.
What every rank holds whole is added, since memory is claimed on each device. Nothing of it could be
measured here: rough. Must not know devices, workers or backends.
"""

from dataclasses import dataclass

from aimindserve.core.device import MemoryParts
from aimindserve.core.facts import ModelFacts
from aimindserve.formats import vllm_memory

MIB = 1024**2
GIB = 1024**3
NPU_FRACTION = 0.9
"""`--npu-memory-fraction`: share of a device that the engine may take."""
RESERVED_BYTES = 3 * GIB
"""Kept by MindIE for itself on each device (`RESERVED_MEMORY_GB`)."""
HOST_BYTES = 512 * MIB
HOST_BYTES_EACH = 1 * GIB
"""The process of one device. Not measured; GPUStack counted none."""


@dataclass(frozen=True, slots=True)
class Settings:
    """What decides over memory besides the model; MindIE's names in the parameters."""

    context: int
    """`--max-seq-len`, tokens."""
    tensor_parallel: int = 1
    pipeline_parallel: int = 1
    batch: int = 200
    """`--max-batch-size`."""
    block: int = 128
    """`--cache-block-size`, tokens."""
    swap_bytes: int = 0
    """`--cpu-mem-size`."""
    reserved_bytes: int = RESERVED_BYTES


def device_needs(facts: ModelFacts, settings: Settings) -> tuple[MemoryParts, ...]:
    """What each device needs at least, stage by stage."""
    stages = range(settings.pipeline_parallel)
    each = [_stage_need(facts, settings, stage) for stage in stages]
    return tuple(need for need in each for _ in range(settings.tensor_parallel))


def host_need(settings: Settings, devices: int) -> MemoryParts:
    """Host memory of one worker's share of an instance."""
    runtime = HOST_BYTES + HOST_BYTES_EACH * devices
    return MemoryParts(kv_cache=settings.swap_bytes, runtime=runtime)


def token_elements(facts: ModelFacts, tensor_parallel: int = 1) -> int:
    """Values that the cache keeps of one token in one layer of one rank: keys and values of its KV
    heads, at least one; or, for latent attention, the latent vector and its rotary part, whole on
    every rank."""
    if facts.latent_length:
        return facts.latent_length + facts.rope_length
    heads = max(facts.head_count_kv, default=facts.head_count)
    return 2 * max(heads // tensor_parallel, 1) * facts.key_length


def cache_bytes(facts: ModelFacts, settings: Settings, layers: int) -> int:
    """Cache of one sequence of full length."""
    element = 1 if facts.kv_cache_quantization else _dtype_bytes(facts)
    per_token = token_elements(facts, settings.tensor_parallel) * element
    return per_token * layers * settings.context


def compute_bytes(facts: ModelFacts, settings: Settings, layers: int) -> int:
    """GPUStack's bound of intermediate values: a block of tokens for each request of a batch, all
    heads of all layers; one byte for weights and activations of 8 bits."""
    element = 1 if facts.weight_bits == 8 else _dtype_bytes(facts)
    width = facts.head_count * (facts.embedding_length // max(facts.head_count, 1))
    total = settings.batch * settings.block * layers * width * element
    return total // settings.tensor_parallel


def _stage_need(facts: ModelFacts, settings: Settings, stage: int) -> MemoryParts:
    cut = vllm_memory.Settings(
        context=settings.context,
        tensor_parallel=settings.tensor_parallel,
        pipeline_parallel=settings.pipeline_parallel,
    )
    layers = -(-facts.layer_count // settings.pipeline_parallel)
    return MemoryParts(
        weights=vllm_memory.rank_weights(facts, cut, stage),
        kv_cache=cache_bytes(facts, settings, layers),
        compute=compute_bytes(facts, settings, layers),
        runtime=settings.reserved_bytes,
    )


def _dtype_bytes(facts: ModelFacts) -> int:
    return 4 if facts.dtype == "F32" else 2
