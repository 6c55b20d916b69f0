"""Which of llama.cpp's parameters users may set, and which field of the engine each one is.

The names are llama.cpp's (`common/arg.cpp`), the keys are fields of xllamacpp's CommonParams. What
reads or writes files, opens ports, loads code or fetches models is left out on purpose.
"""

from aimindserve.backends._llama_cpp_companions import adapters, file_name, scaled_adapters
from aimindserve.backends._words import (
    Parameter,
    Parse,
    Vocabulary,
    choice,
    decimal,
    json_object,
    short_text,
    whole,
)

BACKEND = "llama.cpp"
CONTEXT_MAX = 16 * 1024**2
PARALLEL_MAX = 256
"""`LLAMA_MAX_SEQ`."""

_KV_TYPES = ("f32", "f16", "bf16", "q8_0", "q4_0", "q4_1", "iq4_nl", "q5_0", "q5_1")
_COUNT = whole(0, 1_000_000)
_SHARE = decimal(0.0, 1.0)


def _enum(kind: str, prefix: str, names: dict[str, str]) -> Parse:
    """Values that the engine resolves: a member of one of xllamacpp's enumerations."""
    return choice({word: {"enum": f"{kind}.{prefix}{name}"} for word, name in names.items()})


_KV = _enum("ggml_type", "GGML_TYPE_", {name: name.upper() for name in _KV_TYPES})
_FLASH = _enum(
    "llama_flash_attn_type",
    "LLAMA_FLASH_ATTN_TYPE_",
    {"on": "ENABLED", "off": "DISABLED", "auto": "AUTO", "1": "ENABLED", "0": "DISABLED"},
)
_POOLING = _enum(
    "llama_pooling_type",
    "LLAMA_POOLING_TYPE_",
    {name: name.upper() for name in ("none", "mean", "cls", "last", "rank")},
)
_ROPE = _enum(
    "llama_rope_scaling_type",
    "LLAMA_ROPE_SCALING_TYPE_",
    {name: name.upper() for name in ("none", "linear", "yarn")},
)
_REASONING = _enum(
    "common_reasoning_format",
    "COMMON_REASONING_FORMAT_",
    {
        "none": "NONE",
        "auto": "AUTO",
        "deepseek": "DEEPSEEK",
        "deepseek-legacy": "DEEPSEEK_LEGACY",
    },
)
_SPLIT = _enum("llama_split_mode", "LLAMA_SPLIT_MODE_", {"none": "NONE", "layer": "LAYER"})
_SWITCH = choice({"on": 1, "off": 0, "auto": -1})


def _load_mode(name: str) -> dict[str, str]:
    return {"enum": f"llama_load_mode.LLAMA_LOAD_MODE_{name}"}


MMAP = _load_mode("MMAP")
NO_MMAP = _load_mode("NONE")

_MEMORY = (
    Parameter(("--ctx-size", "-c"), "n_ctx", whole(0, CONTEXT_MAX)),
    Parameter(("--parallel", "-np"), "n_parallel", whole(1, PARALLEL_MAX)),
    Parameter(("--batch-size", "-b"), "n_batch", whole(1, 65_536)),
    Parameter(("--ubatch-size", "-ub"), "n_ubatch", whole(1, 65_536)),
    Parameter(("--cache-type-k", "-ctk"), "cache_type_k", _KV),
    Parameter(("--cache-type-v", "-ctv"), "cache_type_v", _KV),
    Parameter(("--flash-attn", "-fa"), "flash_attn_type", _FLASH),
    Parameter(("--kv-unified", "-kvu"), "kv_unified"),
    Parameter(("--no-kv-unified", "-no-kvu"), "kv_unified", constant=False),
    Parameter(("--swa-full",), "swa_full"),
    Parameter(("--cache-ram", "-cram"), "cache_ram_mib", _COUNT),
    Parameter(
        ("--ctx-checkpoints", "-ctxcp", "--swa-checkpoints"), "n_ctx_checkpoints", whole(0, 256)
    ),
    Parameter(("--n-gpu-layers", "-ngl", "--gpu-layers"), "n_gpu_layers", whole(-1, 100_000)),
    Parameter(("--split-mode", "-sm"), "split_mode", _SPLIT),
    Parameter(("--no-kv-offload", "-nkvo"), "no_kv_offload"),
    Parameter(("--no-mmproj",), "no_mmproj"),
    Parameter(("--mmap",), "load_mode", constant=MMAP),
    Parameter(("--no-mmap",), "load_mode", constant=NO_MMAP),
    Parameter(("--mlock",), "load_mode", constant=_load_mode("MLOCK")),
    Parameter(("--no-repack", "-nr"), "no_extra_bufts"),
)

_BESIDE = (
    Parameter(("--mmproj", "-mm"), "mmproj", file_name),
    Parameter(("--lora",), "lora", adapters),
    Parameter(("--lora-scaled",), "lora_scaled", scaled_adapters),
    Parameter(("--model-draft", "-md", "--spec-draft-model"), "model_draft", file_name),
    Parameter(("--draft-max", "--draft", "--draft-n"), "speculative.draft.n_max", whole(1, 64)),
    Parameter(("--draft-min", "--draft-n-min"), "speculative.draft.n_min", whole(0, 64)),
    Parameter(("--draft-p-min",), "speculative.draft.p_min", _SHARE),
    Parameter(("--cache-type-k-draft", "-ctkd"), "speculative.draft.cache_type_k", _KV),
    Parameter(("--cache-type-v-draft", "-ctvd"), "speculative.draft.cache_type_v", _KV),
)

_ENGINE = (
    Parameter(("--threads", "-t"), "cpuparams.n_threads", whole(1, 512)),
    Parameter(("--threads-batch", "-tb"), "cpuparams_batch.n_threads", whole(1, 512)),
    Parameter(("--embedding", "--embeddings"), "embedding"),
    Parameter(("--reranking", "--rerank"), "reranking"),
    Parameter(("--pooling",), "pooling_type", _POOLING),
    Parameter(("--embd-normalize",), "embd_normalize", whole(-1, 100)),
    Parameter(("--cont-batching", "-cb"), "cont_batching"),
    Parameter(("--no-cont-batching", "-nocb"), "cont_batching", constant=False),
    Parameter(("--context-shift",), "ctx_shift"),
    Parameter(("--no-context-shift",), "ctx_shift", constant=False),
    Parameter(("--cache-prompt",), "cache_prompt"),
    Parameter(("--no-cache-prompt",), "cache_prompt", constant=False),
    Parameter(("--cache-reuse",), "n_cache_reuse", _COUNT),
    Parameter(("--slot-prompt-similarity", "-sps"), "slot_prompt_similarity", _SHARE),
    Parameter(("--warmup",), "warmup"),
    Parameter(("--no-warmup",), "warmup", constant=False),
    Parameter(("--check-tensors",), "check_tensors"),
    Parameter(("--rope-scaling",), "rope_scaling_type", _ROPE),
    Parameter(("--rope-freq-base",), "rope_freq_base", decimal(0, 1e12)),
    Parameter(("--rope-freq-scale",), "rope_freq_scale", decimal(0, 1e6)),
    Parameter(("--yarn-orig-ctx",), "yarn_orig_ctx", _COUNT),
    Parameter(("--yarn-ext-factor",), "yarn_ext_factor", decimal(-1, 1e6)),
    Parameter(("--yarn-attn-factor",), "yarn_attn_factor", decimal(-1, 1e6)),
    Parameter(("--yarn-beta-fast",), "yarn_beta_fast", decimal(-1, 1e6)),
    Parameter(("--yarn-beta-slow",), "yarn_beta_slow", decimal(-1, 1e6)),
    Parameter(("--jinja",), "use_jinja"),
    Parameter(("--no-jinja",), "use_jinja", constant=False),
    Parameter(("--chat-template",), "chat_template", short_text),
    Parameter(("--chat-template-kwargs",), "default_template_kwargs", json_object),
    Parameter(("--reasoning", "-rea"), "enable_reasoning", _SWITCH),
    Parameter(("--reasoning-format",), "reasoning_format", _REASONING),
    Parameter(("--verbosity", "-lv", "--log-verbosity"), "verbosity", whole(0, 5)),
    Parameter(("--metrics",), "endpoint_metrics"),
)

_SAMPLING = (
    Parameter(("--n-predict", "-n", "--predict"), "n_predict", whole(-1, CONTEXT_MAX)),
    Parameter(("--keep",), "n_keep", whole(-1, CONTEXT_MAX)),
    Parameter(("--seed", "-s"), "sampling.seed", whole(0, 2**32 - 1)),
    Parameter(("--temp", "--temperature"), "sampling.temp", decimal(0, 100)),
    Parameter(("--top-k",), "sampling.top_k", whole(0, 1_000_000)),
    Parameter(("--top-p",), "sampling.top_p", _SHARE),
    Parameter(("--min-p",), "sampling.min_p", _SHARE),
    Parameter(("--typical", "--typical-p"), "sampling.typ_p", _SHARE),
    Parameter(("--xtc-probability",), "sampling.xtc_probability", _SHARE),
    Parameter(("--xtc-threshold",), "sampling.xtc_threshold", _SHARE),
    Parameter(("--repeat-last-n",), "sampling.penalty_last_n", whole(-1, CONTEXT_MAX)),
    Parameter(("--repeat-penalty",), "sampling.penalty_repeat", decimal(0, 100)),
    Parameter(("--presence-penalty",), "sampling.penalty_present", decimal(-100, 100)),
    Parameter(("--frequency-penalty",), "sampling.penalty_freq", decimal(-100, 100)),
    Parameter(("--dry-multiplier",), "sampling.dry_multiplier", decimal(0, 100)),
    Parameter(("--dry-base",), "sampling.dry_base", decimal(0, 100)),
    Parameter(("--dry-allowed-length",), "sampling.dry_allowed_length", _COUNT),
    Parameter(("--dynatemp-range",), "sampling.dynatemp_range", decimal(0, 100)),
    Parameter(("--dynatemp-exp",), "sampling.dynatemp_exponent", decimal(0, 100)),
    Parameter(("--mirostat",), "sampling.mirostat", whole(0, 2)),
    Parameter(("--mirostat-lr",), "sampling.mirostat_eta", decimal(0, 100)),
    Parameter(("--mirostat-ent",), "sampling.mirostat_tau", decimal(0, 100)),
    Parameter(("--ignore-eos",), "sampling.ignore_eos"),
    Parameter(("--reasoning-budget",), "sampling.reasoning_budget_tokens", whole(-1, CONTEXT_MAX)),
)

_MANAGED = frozenset(
    {
        *("--alias", "-a", "--api-key", "--api-key-file", "--api-prefix", "--help", "-h"),
        *("--host", "--port", "--path", "--log-disable", "--log-file", "--model", "-m"),
        *("--hf-file", "--hf-repo", "--hf-token", "--model-url", "--offline", "--slots"),
        *("--no-slots", "--props", "--slot-save-path", "--ssl-cert-file", "--ssl-key-file"),
        *("--tensor-split", "-ts", "--main-gpu", "-mg", "--device", "-dev", "--rpc"),
        *("--threads-http", "--ui", "--no-ui", "--webui", "--no-webui", "--version"),
    }
)

VOCABULARY = Vocabulary(BACKEND, (*_MEMORY, *_BESIDE, *_ENGINE, *_SAMPLING), _MANAGED)
