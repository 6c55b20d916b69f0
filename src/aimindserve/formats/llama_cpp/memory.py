"""What a llama.cpp process takes of devices and of the host, put together from its buffers.

Where things go (`load_tensors` in llama.cpp's `src/llama-model.cpp`): the input embedding stays on
the host. Of the layers and the output after them, the last `--n-gpu-layers` go to devices, in
order; a tied output is copied there while the input keeps its own. Caches lie with their layers,
and so does what adapters change of them (`llama_adapter_lora_init_impl`). Whatever is beside the
model in `companions` counts as loaded.

Where llama.cpp's number depends on something that facts do not hold, the larger one counts. Must
not know workers or backends.
"""

from dataclasses import replace

from aimindserve.core.device import MemoryParts, Need
from aimindserve.core.facts import CompanionKind, ModelFacts
from aimindserve.core.shape import Layers
from aimindserve.formats.ggml_types import BY_NAME
from aimindserve.formats.llama_cpp.batch import Part
from aimindserve.formats.llama_cpp.cache import layer_cache, row_bytes, saved_states
from aimindserve.formats.llama_cpp.compute import (
    compute_buffer,
    device_buffer,
    output_buffer,
    prepared_buffer,
)
from aimindserve.formats.llama_cpp.recurrence import crossing
from aimindserve.formats.llama_cpp.settings import Settings, cells, is_encoder, tokens

MIB = 1024**2
PROCESS_BYTES = 48 * MIB
"""The process itself: interpreter, library pages, HTTP threads. Measured: 33 to 40 MiB."""
TOKEN_BYTES = 512
"""Per entry of the vocabulary: token, piece cache, merges. Measured: 390 to 440 bytes."""
DEVICE_RUNTIME_BYTES = 500 * MIB
"""Driver context, kernels and library workspace of an accelerator. Not in llama.cpp's own report;
the footprint GPUStack reserved for llama-box."""
REMOTE_BYTES = 64 * MIB
"""A process that offers a device to others (`ggml-rpc-server`)."""

_PIPELINE_COPIES = 4
"""`GGML_SCHED_MAX_COPIES`: with all layers on several devices, batches follow each other through
them, and whatever goes into one is there so many times."""
_REPACKED = ("Q4_0", "Q4_K", "Q2_K", "Q5_K", "Q6_K", "Q8_0", "IQ4_NL", "MXFP4", "Q1_0")
"""Types that `ggml_repack_get_optimal_repack_type` (ggml-cpu/repack.cpp) rearranges on some CPU:
the rearranged copy lives beside whatever must keep the original."""


def on_host(facts: ModelFacts, settings: Settings) -> MemoryParts:
    """Host memory of a process that uses no device."""
    base = _host(facts, settings, _own_compute(facts, settings))
    drafts = [on_host(draft, _drafting(settings)) for draft in _drafts(facts)]
    beside = projector(facts) + _draft(drafts) + MemoryParts(draft=_checked(facts, settings))
    return sum(_stays(facts, settings), base + beside)


def projector(facts: ModelFacts) -> MemoryParts:
    """The encoder of images or sound beside the model, whole on one device or on the host."""
    found = facts.beside(CompanionKind.PROJECTOR)
    return MemoryParts(projector=sum(each.size_bytes + each.compute_bytes for each in found))


def on_devices(
    facts: ModelFacts, settings: Settings, *, partial: bool, devices_max: int = 1
) -> tuple[MemoryParts, Layers]:
    """(host memory in any case, what each layer takes where) of a process that uses devices.

    `partial` says whether layers may stay on the host. The entries of `Layers` are those of
    `--n-gpu-layers`: the model's layers, prediction layers that are passed over, the output.
    """
    several = devices_max > 1
    compute, last = _device_compute(facts, settings, partial=partial, several=several)
    kept = partial or not settings.kv_offload
    copies = _PIPELINE_COPIES if several else 1
    prepared = prepared_buffer(facts, settings, copies)
    base = _host(facts, settings, _own_compute(facts, settings) if kept else prepared)
    caches = layer_cache(facts, settings)
    if not settings.kv_offload:
        base += MemoryParts(kv_cache=sum(caches))
        caches = (0,) * len(caches)
    changed, changed_rest = _adapters(facts)
    device = [
        MemoryParts(weights=weights + change, kv_cache=cache)
        for weights, change, cache in zip(_layer_weights(facts), changed, caches, strict=True)
    ]
    passed_over = [MemoryParts()] * facts.prediction_layer_count
    output = MemoryParts(weights=_output_weights(facts) + changed_rest)
    entries = len(device) + len(passed_over) + 1
    drafts = [_whole(draft, _drafting(settings)) for draft in _drafts(facts)]
    base += _draft([host for host, _ in drafts]) + MemoryParts(draft=_checked(facts, settings))
    # llama.cpp puts the encoder on the first device; which one that is shows in the cut. A model
    # that drafts is cut like the other: on each device counts what it may be at most.
    beside = projector(facts) + MemoryParts(draft=sum(device.total for _, device in drafts))
    return base, Layers(
        device=(*device, *passed_over, output),
        host=_stays(facts, settings),
        overhead=MemoryParts(compute=compute, runtime=DEVICE_RUNTIME_BYTES) + beside,
        overhead_last=MemoryParts(compute=last),
        least=1 if partial else entries,
        # With all of it on several devices batches would follow each other, which is not claimed.
        most=entries - 1 if partial and several else 0,
        devices_max=devices_max,
        remote_ram=MemoryParts(runtime=REMOTE_BYTES),
    )


def on_workers(
    facts: ModelFacts, settings: Settings, *, devices_max: int, remote_max: int
) -> tuple[MemoryParts, Layers]:
    """The same with all layers on devices, up to `remote_max` of them on other workers.

    What goes to one of those is sent a tensor at a time, whole: the process there holds the message
    (`RPC_CMD_SET_TENSOR` in ggml-rpc.cpp), rank 0 what it read from the file and the message made
    of it (`serialize_set_tensor`). Facts do not tell tensors: a layer counts, or the output.
    """
    base, layers = on_devices(facts, settings, partial=False, devices_max=devices_max)
    message = max(each.weights for each in layers.device)
    remote = layers.remote_ram + MemoryParts(runtime=message)
    return base + MemoryParts(runtime=2 * message), replace(
        layers, remote_max=remote_max, remote_ram=remote
    )


def need(facts: ModelFacts, settings: Settings, gpu_layers: int = 0) -> Need:
    """Of the host, and of one device that holds the last `gpu_layers` entries (the output is one
    of them, `--n-gpu-layers`)."""
    if not gpu_layers:
        return Need(ram=on_host(facts, settings))
    everything = facts.layer_count + facts.prediction_layer_count + 1
    held = min(gpu_layers, everything)
    base, layers = on_devices(facts, settings, partial=held < everything)
    device = sum(layers.device[everything - held :], layers.overhead)
    return Need(devices=(device,), ram=sum(layers.host[: everything - held], base))


def _drafts(facts: ModelFacts) -> list[ModelFacts]:
    return [each.facts for each in facts.beside(CompanionKind.DRAFT) if each.facts is not None]


def _drafting(settings: Settings) -> Settings:
    """A model that drafts has a context of its own, as long and with as many slots, and its own
    cache types (`common_speculative_init_result` in common/speculative.cpp)."""
    return replace(
        settings,
        type_k=settings.draft_type_k,
        type_v=settings.draft_type_v,
        cache_ram_bytes=0,
    )


def _whole(facts: ModelFacts, settings: Settings) -> tuple[MemoryParts, MemoryParts]:
    """(host, device) of a process that has all layers on one device; the driver's part left out."""
    base, layers = on_devices(facts, settings, partial=False)
    return base, replace(sum(layers.device, layers.overhead), runtime=0)


def _draft(drafts: list[MemoryParts]) -> MemoryParts:
    """On the host; the process is there already."""
    return MemoryParts(draft=sum(each.total - PROCESS_BYTES for each in drafts))


def _checked(facts: ModelFacts, settings: Settings) -> int:
    """Scores of the tokens that were proposed for each slot (`n_outputs_max` of the context)."""
    if not facts.beside(CompanionKind.DRAFT):
        return 0
    return 4 * facts.vocabulary_size * settings.parallel * settings.draft_tokens


def _adapters(facts: ModelFacts) -> tuple[tuple[int, ...], int]:
    """(bytes that adapters add to each layer, to no layer)."""
    found = facts.beside(CompanionKind.ADAPTER)
    layers = tuple(
        sum(each.layer_bytes[layer] for each in found if layer < len(each.layer_bytes))
        for layer in range(facts.layer_count)
    )
    return layers, sum(each.size_bytes for each in found) - sum(layers)


def _host(facts: ModelFacts, settings: Settings, compute: int) -> MemoryParts:
    """What is on the host wherever layers are."""
    return MemoryParts(
        weights=_input_weights(facts, settings),
        kv_cache=saved_states(facts, settings),
        compute=compute + output_buffer(facts, settings),
        runtime=PROCESS_BYTES + TOKEN_BYTES * facts.vocabulary_size,
    )


def _layer_weights(facts: ModelFacts) -> tuple[int, ...]:
    """Of each layer; nothing where facts do not say it."""
    known = facts.layer_bytes[: facts.layer_count]
    return (*known, *(0,) * (facts.layer_count - len(known)))


def _stays(facts: ModelFacts, settings: Settings) -> tuple[MemoryParts, ...]:
    """What each entry takes of the host while it is there."""
    times = 2 if settings.mmap and _repacks(facts, settings) else 1
    caches = layer_cache(facts, settings) if settings.kv_offload else (0,) * facts.layer_count
    changed, changed_rest = _adapters(facts)
    layers = [
        MemoryParts(weights=times * weights + change, kv_cache=cache)
        for weights, change, cache in zip(_layer_weights(facts), changed, caches, strict=True)
    ]
    passed_over = [MemoryParts()] * facts.prediction_layer_count
    # A tied output is read where the input lies, or rearranged beside it.
    tied = facts.token_embedding_bytes if _repacks(facts, settings) else 0
    output = times * facts.output_bytes or tied
    return (*layers, *passed_over, MemoryParts(weights=output + changed_rest))


def _input_weights(facts: ModelFacts, settings: Settings) -> int:
    """Embeddings, and whatever belongs to no layer."""
    layers = sum(_layer_weights(facts)) + facts.output_bytes + facts.part_bytes.prediction
    kept = facts.size_bytes - layers
    # The file itself stays in memory while it is mapped, prediction layers and all.
    return kept + (facts.part_bytes.prediction if settings.mmap else 0)


def _output_weights(facts: ModelFacts) -> int:
    """The matrix, or the copy of the input's where they are one, and the norm before it."""
    return (facts.output_bytes or facts.token_embedding_bytes) + 8 * facts.embedding_length


def _repacks(facts: ModelFacts, settings: Settings) -> bool:
    return settings.repack and facts.quantization.startswith(_REPACKED)


def _device_compute(
    facts: ModelFacts, settings: Settings, *, partial: bool, several: bool
) -> tuple[int, int]:
    """(each device, the last one in addition). What a device computes depends on the cut: of
    several each may be the first, or have the last layer (of which it only computes what is
    wanted), or neither; the last has the output.

    With layers on the host nothing is laid out: what the host would need for all of it, the widest
    that goes over the border, and what recurrent layers send to and fro.
    """
    away, back = crossing(facts, settings)
    if partial:
        width = 4 * facts.embedding_length * tokens(facts, settings)
        later = device_buffer(facts, settings, Part(device=True, first=False))
        return max(compute_buffer(facts, settings), later) + width + 2 * (away + back), 0
    whole = device_buffer(facts, settings, Part(device=True))
    if not several:
        return whole, 0
    copies = _PIPELINE_COPIES
    each = max(
        device_buffer(facts, settings, Part(True, first, ends, output=False, copies=copies))
        for first in (True, False)
        for ends in ((True, False) if settings.embedding else (False,))
    )
    each += copies * (away + back)
    last = device_buffer(facts, settings, Part(True, first=False, copies=copies)) + copies * away
    return each, max(last, whole, each) - each


def _own_compute(facts: ModelFacts, settings: Settings) -> int:
    """When layers are computed on the host: the buffer, and the scratch for matrix products, where
    one operand becomes 8-bit blocks, scores 16-bit (`ggml_graph_plan` in ggml-cpu.c)."""
    widest = max(
        facts.feed_forward_length,
        facts.embedding_length,
        facts.expert_used_count * max(facts.expert_feed_forward_length, facts.embedding_length),
    )
    scratch = row_bytes(BY_NAME["q8_0"], widest)
    if not settings.flash_attention:
        visible = tokens(facts, settings) if is_encoder(facts) else cells(settings)[0]
        scratch = max(scratch, 2 * facts.head_count * visible)
    return compute_buffer(facts, settings) + scratch * tokens(facts, settings)
