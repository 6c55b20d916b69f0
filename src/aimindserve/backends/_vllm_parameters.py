"""Which of vLLM's parameters users may set.

The names are vLLM's (`vllm/engine/arg_utils.py`, `vllm/entrypoints/openai/cli_args.py`); a key is
the long flag without its hyphens. What reads or writes files, opens ports, loads code or other
models is left out on purpose.
"""

import json
import re
from collections.abc import Iterable, Mapping
from typing import Any

from aimindserve.backends._vllm_companions import (
    ADAPTERS,
    SPECULATION,
    adapter_names,
    speculation,
)
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
from aimindserve.formats.vllm_additions import RANKS

BACKEND = "vllm"
CONTEXT_MAX = 16 * 1024**2
PARALLEL_MAX = 256
_COUNT = whole(0, 1_000_000)
_IDENTIFIER = re.compile(r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$")
_HUMAN = {"k": 1_000, "m": 1_000_000, "K": 1024, "M": 1024**2}
CACHE_TYPES: Mapping[str, int] = {
    "auto": 2,
    "bfloat16": 2,
    "float16": 2,
    "fp8": 1,
    "fp8_e4m3": 1,
    "fp8_e5m2": 1,
    "fp8_inc": 1,
}
"""`--kv-cache-dtype` -> bytes of an element."""
DTYPES: Mapping[str, int] = {
    "auto": 0,
    "half": 2,
    "float16": 2,
    "bfloat16": 2,
    "float": 4,
    "float32": 4,
}
_QUANTIZATIONS = (
    *("awq", "awq_marlin", "gptq", "gptq_marlin", "fp8", "bitsandbytes", "compressed-tensors"),
    *("modelopt", "modelopt_fp4", "mxfp4", "quark", "hqq", "torchao", "experts_int8", "ascend"),
)
_OVERRIDES_REFUSED = ("auto_map", "trust_remote_code", "_name_or_path")


def _name(text: str) -> str:
    """The name of one of the engine's own parts, never a path."""
    if not _IDENTIFIER.match(text):
        raise ValueError(f"{text[:40]!r} is not a name")
    return text


def _tokens(text: str) -> int:
    """Tokens; vLLM understands 8k (8,000) and 8K (8,192) as well."""
    unit = _HUMAN.get(text[-1:], 1)
    return whole(1, CONTEXT_MAX)(str(int(text[:-1]) * unit) if unit > 1 else text)


def _one_of(*words: str) -> Parse:
    return choice({word: word for word in words})


def _json(text: str) -> str:
    json_object(text)
    return json.dumps(json.loads(text), separators=(",", ":"))


def _overrides(text: str) -> str:
    plain = _json(text)
    for name in _OVERRIDES_REFUSED:
        if f'"{name}"' in plain:
            raise ValueError(f"{name} would load code")
    return plain


def _template(text: str) -> str:
    """A chat template itself; the engine would take anything else for a path."""
    if "{" not in short_text(text):
        raise ValueError("it must be a template, not the path of one")
    return text


def _switch(name: str) -> tuple[Parameter, Parameter]:
    """`--name` and `--no-name`."""
    return (
        Parameter((f"--{name}",), name),
        Parameter((f"--no-{name}",), name, constant=False),
    )


_MEMORY = (
    Parameter(("--gpu-memory-utilization",), "gpu-memory-utilization", decimal(0.05, 1.0)),
    Parameter(("--max-model-len",), "max-model-len", _tokens),
    Parameter(("--max-num-batched-tokens",), "max-num-batched-tokens", _tokens),
    Parameter(("--max-num-seqs",), "max-num-seqs", whole(1, 65_536)),
    Parameter(("--tensor-parallel-size", "-tp"), "tensor-parallel-size", whole(1, PARALLEL_MAX)),
    Parameter(
        ("--pipeline-parallel-size", "-pp"), "pipeline-parallel-size", whole(1, PARALLEL_MAX)
    ),
    *_switch("enable-expert-parallel"),
    Parameter(("--kv-cache-dtype",), "kv-cache-dtype", _one_of(*CACHE_TYPES)),
    Parameter(("--kv-cache-memory-bytes",), "kv-cache-memory-bytes", whole(1, 2**50)),
    Parameter(("--dtype",), "dtype", _one_of(*DTYPES)),
    Parameter(("--quantization", "-q"), "quantization", _one_of(*_QUANTIZATIONS)),
    Parameter(("--block-size",), "block-size", choice({str(2**at): 2**at for at in range(9)})),
    *_switch("enforce-eager"),
    Parameter(("--limit-mm-per-prompt",), "limit-mm-per-prompt", _json),
    *_switch("language-model-only"),
    *_switch("enable-lora"),
    *_switch("fully-sharded-loras"),
    Parameter((f"--{ADAPTERS}",), ADAPTERS, adapter_names),
    Parameter(("--max-loras",), "max-loras", whole(1, 256)),
    Parameter(("--max-cpu-loras",), "max-cpu-loras", whole(1, 4096)),
    Parameter(("--max-lora-rank",), "max-lora-rank", choice({str(each): each for each in RANKS})),
    Parameter(("--device",), "device", _one_of("auto", "cpu", "cuda", "npu", "rocm", "musa")),
)

_ENGINE = (
    *_switch("enable-prefix-caching"),
    *_switch("enable-chunked-prefill"),
    *_switch("async-scheduling"),
    *_switch("disable-custom-all-reduce"),
    *_switch("disable-hybrid-kv-cache-manager"),
    *_switch("disable-cascade-attn"),
    Parameter(("--scheduling-policy",), "scheduling-policy", _one_of("fcfs", "priority")),
    Parameter(("--long-prefill-token-threshold",), "long-prefill-token-threshold", _COUNT),
    Parameter(("--max-num-partial-prefills",), "max-num-partial-prefills", whole(1, 1024)),
    Parameter(("--max-seq-len-to-capture",), "max-seq-len-to-capture", _tokens),
    Parameter(("--attention-backend",), "attention-backend", _name),
    Parameter(("--load-format",), "load-format", _one_of("auto", "safetensors", "bitsandbytes")),
    Parameter(("--max-parallel-loading-workers",), "max-parallel-loading-workers", whole(1, 64)),
    Parameter(("--model-impl",), "model-impl", _one_of("auto", "vllm", "transformers")),
    Parameter(("--tokenizer-mode",), "tokenizer-mode", _name),
    Parameter(("--config-format",), "config-format", _one_of("auto", "hf", "mistral")),
    Parameter(("--hf-overrides",), "hf-overrides", _overrides),
    Parameter(("--rope-scaling",), "rope-scaling", _json),
    Parameter(("--rope-theta",), "rope-theta", decimal(0, 1e12)),
    Parameter(("--seed",), "seed", whole(0, 2**31 - 1)),
    Parameter(("--speculative-config",), SPECULATION, speculation),
    Parameter(("--mm-processor-kwargs",), "mm-processor-kwargs", _json),
    Parameter(("--mm-processor-cache-gb",), "mm-processor-cache-gb", decimal(0, 1024)),
    Parameter(("--task",), "task", _name),
    Parameter(("--runner",), "runner", _one_of("auto", "generate", "pooling")),
    Parameter(("--convert",), "convert", _one_of("auto", "none", "embed", "classify", "reward")),
    Parameter(("--pooler-config", "--override-pooler-config"), "pooler-config", _json),
)

_SERVER = (
    Parameter(("--chat-template",), "chat-template", _template),
    Parameter(
        ("--chat-template-content-format",),
        "chat-template-content-format",
        _one_of("auto", "string", "openai"),
    ),
    *_switch("enable-auto-tool-choice"),
    Parameter(("--tool-call-parser",), "tool-call-parser", _name),
    *_switch("enable-reasoning"),
    Parameter(("--reasoning-parser",), "reasoning-parser", _name),
    Parameter(("--generation-config",), "generation-config", _one_of("auto", "vllm")),
    Parameter(("--override-generation-config",), "override-generation-config", _json),
    Parameter(("--max-logprobs",), "max-logprobs", whole(-1, 1_000_000)),
    *_switch("return-tokens-as-token-ids"),
    *_switch("enable-prompt-tokens-details"),
    *_switch("enable-log-requests"),
    *_switch("disable-log-requests"),
    *_switch("disable-log-stats"),
    Parameter(("--max-log-len",), "max-log-len", _COUNT),
    Parameter(("--uvicorn-log-level",), "uvicorn-log-level", _one_of("debug", "info", "warning")),
)

_MANAGED = frozenset(
    {
        *(
            "--model",
            "--model-tag",
            "--host",
            "--port",
            "--uds",
            "--api-key",
            "--served-model-name",
        ),
        *("--revision", "--tokenizer", "--tokenizer-revision", "--code-revision", "--root-path"),
        *("--ssl-keyfile", "--ssl-certfile", "--ssl-ca-certs", "--allowed-origins", "--config"),
        *("--distributed-executor-backend", "--nnodes", "--node-rank", "--master-addr"),
        *("--master-port", "--headless", "--data-parallel-address", "--download-dir", "--help"),
    }
)

VOCABULARY = Vocabulary(BACKEND, (*_MEMORY, *_ENGINE, *_SERVER), _MANAGED)


def command_words(fields: Mapping[str, Any]) -> Iterable[str]:
    """`fields` as vLLM reads them, one word each."""
    for key, value in fields.items():
        if value is True:
            yield f"--{key}"
        elif value is False:
            yield f"--no-{key}"
        else:
            yield f"--{key}={value}"
