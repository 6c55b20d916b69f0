"""vLLM: safetensors models on one device, several, or processors, in an environment of its own.

The engine is not part of this program: a worker reports which installations it has, and one of them
is started as `python -m vllm.entrypoints.openai.api_server`. This file prices and writes the
command; it never loads the engine itself.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from aimindserve.backends._environment import refuse_environment
from aimindserve.backends._installations import installation
from aimindserve.backends._vllm_architectures import GENERATE, POOL, UNTIL, VERSION
from aimindserve.backends._vllm_companions import loaded, refused, with_paths
from aimindserve.backends._vllm_parameters import BACKEND, VOCABULARY, command_words
from aimindserve.backends._vllm_shapes import (
    CPU,
    GPU,
    context_wanted,
    parallel_obstacle,
    shapes,
)
from aimindserve.backends.base import Lesser
from aimindserve.core.errors import UnsupportedError
from aimindserve.core.facts import Category, ModelFacts, Options
from aimindserve.core.launch import Counters, LaunchContext, LaunchSpec, Probe
from aimindserve.core.reason import Reason
from aimindserve.core.shape import Shape
from aimindserve.formats.vllm_memory import GIB

CONFIG_NAME = "engine.yaml"
"""vLLM reads arguments from YAML, of which JSON is a part (`--config`)."""
STOP_GRACE_S = 15.0
COUNTERS = Counters(
    tokens="vllm:request_generation_tokens_sum",
    seconds="vllm:request_decode_time_seconds_sum",
    first_too=True,
    answers="vllm:request_generation_tokens_count",
)
"""vLLM 0.32's vllm/v1/metrics/loggers.py; that a request's decoding begins with its first token:
stats.py (`update_from_finished_request`). All three are added to when a request ends, which
`vllm:generation_tokens_total` is not."""
CONTEXT_LEAST = 1024
_REMOTE_CODE = ("--trust-remote-code", "--trust_remote_code")
_ENV_NAMES = (
    *("VLLM_ATTENTION_BACKEND", "VLLM_FLASH_ATTN_VERSION", "VLLM_MLA_DISABLE"),
    *("VLLM_LOGGING_LEVEL", "VLLM_LOG_STATS_INTERVAL", "VLLM_USE_V1", "VLLM_USE_V2_MODEL_RUNNER"),
    *("VLLM_ALLOW_LONG_MAX_MODEL_LEN", "VLLM_FUSED_MOE_CHUNK_SIZE", "VLLM_USE_DEEP_GEMM"),
    *("VLLM_USE_FLASHINFER", "VLLM_ROCM_USE_", "VLLM_ENGINE_", "VLLM_EXECUTE_MODEL_TIMEOUT_S"),
    *("VLLM_CPU_OMP_THREADS_BIND", "VLLM_CPU_NUM_OF_RESERVED_CPU", "VLLM_CPU_SGL_KERNEL"),
    *("VLLM_IMAGE_FETCH_TIMEOUT", "VLLM_WORKER_MULTIPROC_METHOD", "VLLM_ASCEND_"),
    *("NCCL_DEBUG", "NCCL_P2P_", "NCCL_IB_", "NCCL_SOCKET_IFNAME", "NCCL_NVLS_ENABLE"),
    *("NCCL_CUMEM_ENABLE", "GLOO_SOCKET_IFNAME", "HCCL_", "HSA_OVERRIDE_GFX_VERSION"),
    *("PYTORCH_CUDA_ALLOC_CONF", "PYTORCH_ALLOC_CONF", "PYTORCH_NPU_ALLOC_CONF"),
    *("SAFETENSORS_FAST_GPU", "TOKENIZERS_PARALLELISM", "TORCH_NUM_THREADS"),
    *("MALLOC_MMAP_THRESHOLD_", "MALLOC_TRIM_THRESHOLD_", "GLIBC_TUNABLES"),
)
"""Not every VLLM_ variable: some load plugins, open development endpoints or fetch adapters."""
_OFFLINE = (
    ("HF_HUB_OFFLINE", "1"),
    ("TRANSFORMERS_OFFLINE", "1"),
    ("VLLM_NO_USAGE_STATS", "1"),
    ("DO_NOT_TRACK", "1"),
)
"""Weights come from the worker's files, never from the network, and nothing is told to anybody."""
_GIVE_BACK = (
    ("MALLOC_MMAP_THRESHOLD_", str(1024**2)),
    ("MALLOC_TRIM_THRESHOLD_", str(16 * 1024**2)),
    ("GLIBC_TUNABLES", "glibc.malloc.hugetlb=1"),
)
"""What a batch has used goes back to the system when glibc's malloc frees it (mallopt(3)). Else its
thresholds grow with what is freed, to 32 and 64 MiB; tensors then lie among others in a heap that
cannot shrink: 877 MiB were seen where the tensors of a batch are 320. Huge pages, where the system
grants them, make up for most of the processor time that fresh pages take: 5 % more was seen with a
model of 0.4 GB, 20 % without them. An allocator that is loaded before (tcmalloc) reads none of it.
"""


class Vllm:
    """vLLM's OpenAI-compatible server."""

    name = BACKEND
    aliases: tuple[str, ...] = ("vllm-cpu",)
    installations: tuple[str, ...] = (GPU, CPU)
    starts_across = False
    title = "vLLM: safetensors models on GPUs and NPUs, one or many, at high throughput."

    def serves(self, model: ModelFacts, options: Options) -> Reason | None:
        """Refuses other formats, classes that vLLM does not know, unknown parameters, code of the
        model's repository, and cuts that do not divide the model."""
        if model.format != "safetensors":
            return _unfit(f"it is given safetensors files here, and this is {model.format}")
        unknown = _unknown(model, options)
        if unknown is not None:
            return unknown
        if any(word.partition("=")[0] in _REMOTE_CODE for word in options.parameters):
            return _bad("--trust-remote-code", "code of a model's repository is not run")
        fields = VOCABULARY.read(options.parameters)
        if isinstance(fields, Reason):
            return fields
        refused = refuse_environment(self.name, options.env, _ENV_NAMES)
        return (
            refused
            or _wrong_purpose(model, options.categories)
            or _contradiction(model.served_for(options.categories), fields)
        )

    def shapes(self, model: ModelFacts, options: Options) -> Sequence[Shape]:
        """On one device, on several of a worker, with a shorter context, on several workers where
        allowed, on processors where those will do."""
        fields = _fields(options.parameters)
        model = model.served_for(options.categories)
        found = shapes(model, fields, across=options.distributed, processors=options.cpu_offloading)
        return tuple(found)

    def loads(self, model: ModelFacts, options: Options) -> ModelFacts:
        """The model with the adapters and the draft that are named."""
        return loaded(model, _fields(options.parameters))

    def context(self, model: ModelFacts, options: Options) -> int:
        """`--max-model-len`, which every placement says."""
        return context_wanted(model, _fields(options.parameters))

    def lesser(self, model: ModelFacts, options: Options) -> Iterable[Lesser]:
        """A shorter context than the user's, and a cache of 8 bits."""
        fields = _fields(options.parameters)
        context = context_wanted(model, fields)
        shorter = context // 2
        while "max-model-len" in fields and shorter >= CONTEXT_LEAST:
            yield _lesser(options, "context", f"--max-model-len={shorter}", context, shorter)
            shorter //= 2
        if "kv-cache-dtype" not in fields and not model.kv_cache_quantization:
            yield _lesser(options, "kv_type", "--kv-cache-dtype=fp8", "auto", "fp8")

    def launch(self, context: LaunchContext) -> LaunchSpec:
        """The server as a process; its key is in a private file, not among the arguments."""
        assignment = context.assignment
        placement = assignment.placement
        if len({rank.worker for rank in placement.ranks}) > 1:
            raise UnsupportedError(
                "vLLM on several workers cannot be started by this version.",
                hint="Switch distributed_inference_across_workers off.",
            )
        options = assignment.options
        refused = refuse_environment(self.name, options.env, _ENV_NAMES)
        if refused is not None:
            raise UnsupportedError(refused.message, hint=refused.fix)
        on_devices = any(rank.claims for rank in placement.ranks)
        found = installation(context, GPU if on_devices else CPU)
        fields = dict(_fields((*placement.parameters, *options.parameters)))
        fields.pop("device", None)
        turned = context.facts is not None and _is_turned(context.facts, options.categories)
        if turned and not {"runner", "task"} & fields.keys():
            fields["runner"] = "pooling"  # vLLM puts its own pooler on top (models/adapters.py)
        config = Path(context.run_dir) / CONFIG_NAME
        if context.facts is not None:
            _check_beside(context.facts, fields)
        fields, beside = with_paths(fields, context.model_path)
        env = [*_OFFLINE]
        if not on_devices:
            env += _processor_env(fields)
        return LaunchSpec(
            argv=(
                *(found.program, "-m", "vllm.entrypoints.openai.api_server"),
                *("--config", str(config), "--model", context.model_path),
                *("--served-model-name", assignment.deployment),
                *("--host", "127.0.0.1", "--port", str(context.port)),
                *command_words(fields),
                *beside,
            ),
            env=(*env, *options.env, *context.exposure.env),
            cwd=context.run_dir,
            files=((CONFIG_NAME, json.dumps({"api-key": context.secret})),),
            port=context.port,
            stop_grace_s=STOP_GRACE_S,
        )

    def probe(self, context: LaunchContext) -> Probe:  # noqa: ARG002 - the same for all models
        """vLLM listens once it is loaded; /health needs no key. With `--disable-log-stats` it
        counts nothing."""
        return Probe(path="/health", counters=COUNTERS)


def _processor_env(fields: dict[str, Any]) -> list[tuple[str, str]]:
    """The cache's size as every version of the build for processors reads it, and an allocator that
    keeps little of what is freed. Models without a cache allocate none, but where no size is said
    the engine does not start unless nine tenths of the memory are free (`CPUWorker.__init__`)."""
    cache = fields.pop("kv-cache-memory-bytes", None)
    fields.pop("gpu-memory-utilization", None)
    gib = 1 if cache is None else max(-(-int(cache) // GIB), 1)
    return [("VLLM_CPU_KVCACHE_SPACE", str(gib)), *_GIVE_BACK]


def _is_turned(model: ModelFacts, categories: Sequence[Category]) -> bool:
    """Whether a model that was not made for it is to embed texts."""
    return Category.EMBEDDING in categories and Category.EMBEDDING not in model.categories


def _wrong_purpose(model: ModelFacts, categories: Sequence[Category]) -> Reason | None:
    """Why the model cannot be served for what the user says, whatever its files say of it."""
    if Category.RERANKER in categories and Category.RERANKER not in model.categories:
        return _unfit("it has no head that ranks documents, as the category reranker needs")
    if _is_turned(model, categories) and Category.LLM in categories:
        return _unfit("one engine either writes text or embeds: deploy it twice")
    return None


def _unknown(model: ModelFacts, options: Options) -> Reason | None:
    """A class that is not in the table may be one of another version's: whoever pins a version
    knows better than the table."""
    name = model.architecture_class
    if not name or name in GENERATE or name in POOL or options.backend_version is not None:
        return None
    base = name.removesuffix("ForSequenceClassification").removesuffix("Model")
    if base != name and f"{base}ForCausalLM" in GENERATE:
        return None  # vLLM turns a generating class into one that pools (models/adapters.py)
    if name in UNTIL:
        return _unfit(f"{name} was dropped after vLLM {UNTIL[name]}; pin that backend_version")
    code = ", and the model would need code of its repository" if model.custom_code else ""
    return _unfit(f"vLLM {VERSION} does not know {name}{code}; pin a backend_version that does")


def _contradiction(model: ModelFacts, fields: Mapping[str, Any]) -> Reason | None:
    tensor = int(fields.get("tensor-parallel-size", 1))
    pipeline = int(fields.get("pipeline-parallel-size", 1))
    obstacle = parallel_obstacle(model, tensor, pipeline)
    if obstacle:
        flag = "--tensor-parallel-size" if tensor > 1 else "--pipeline-parallel-size"
        return _bad(f"{flag}={tensor if tensor > 1 else pipeline}", obstacle)
    context = fields.get("max-model-len")
    stretched = {"rope-scaling", "hf-overrides"} & fields.keys()
    if context is not None and 0 < model.context_length < context and not stretched:
        return _bad(
            f"--max-model-len={context}",
            f"this model takes at most {model.context_length} tokens",
        )
    if fields.get("device") == "cpu" and tensor * pipeline > 1:
        return _bad("--device=cpu", "on processors one rank is used")
    beside = refused(model, fields)
    return None if beside is None else _bad(*beside)


def _check_beside(model: ModelFacts, fields: Mapping[str, Any]) -> None:
    """Raises UnsupportedError for a directory that went away since the instance was placed."""
    found = refused(model, fields)
    if found is not None:
        reason = _bad(*found)
        raise UnsupportedError(reason.message, hint=reason.fix)


def _fields(words: Sequence[str]) -> Mapping[str, Any]:
    fields = VOCABULARY.read(words)
    if isinstance(fields, Reason):
        raise UnsupportedError(fields.message, hint=fields.fix)
    return fields


def _lesser(options: Options, kind: str, word: str, before: object, after: object) -> Lesser:
    params = {"from": before, "to": after, "parameters": word}
    return Lesser(kind, VOCABULARY.replaced(options.parameters, (word,)), params)


def _unfit(detail: str) -> Reason:
    return Reason("backend_unfit", {"backend": BACKEND, "detail": detail})


def _bad(param: str, detail: str) -> Reason:
    return Reason("bad_param", {"backend": BACKEND, "param": param, "detail": detail})


PLUGIN = Vllm()
