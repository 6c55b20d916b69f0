"""How a checkpoint's weights were quantised, from `quantization_config`, and what a weight then
takes.

One table of methods; each says how its own configuration spells bits, group and exceptions. The
spellings are those of transformers (`utils/quantization_config.py`), vLLM
(`model_executor/layers/quantization/*.py`) and compressed-tensors (`quant_args.py`). Used twice: to
count parameters in files that hold packed weights, and to estimate bytes where no header is there.
Must not compile patterns that it reads: they are somebody else's regular expressions.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import cast

from aimindserve.core.facts import WeightParts
from aimindserve.formats.json_text import Keys

BITS_MAX = 32
GROUP_MAX = 2**20
MODULES_MAX = 256
"""Exceptions kept; lists that name every layer one by one say nothing new after that."""

DTYPE_BYTES: Mapping[str, int] = {"BF16": 2, "F16": 2, "F32": 4, "F64": 8, "F8_E4M3": 1}
_TORCH_NAMES = {
    "bfloat16": "BF16",
    "float16": "F16",
    "half": "F16",
    "float32": "F32",
    "float": "F32",
    "float64": "F64",
    "float8_e4m3fn": "F8_E4M3",
}


@dataclass(frozen=True, slots=True)
class Quantization:
    """How weights were quantised. An empty `method`: they were not."""

    method: str = ""
    weight_bits: int = 0
    group_size: int = 0
    """Weights that share a scale; zero: one per channel or tensor."""
    unquantized: tuple[str, ...] = ()
    kv_cache: str = ""
    overhead_bits: float = 0.0
    """Scales, zero points and indices, per weight."""
    experts_only: bool = False

    @property
    def bytes_per_weight(self) -> float:
        """Of one quantised weight, with its share of scales."""
        return (self.weight_bits + self.overhead_bits) / 8


NONE = Quantization()


def dtype_name(torch_name: str) -> str:
    """The safetensors name of a torch type: `torch.bfloat16` and `bfloat16` are BF16."""
    return _TORCH_NAMES.get(torch_name.removeprefix("torch."), "")


def read_quantization(config: Keys | None) -> Quantization:
    """From the `quantization_config` of a config.json. Raises FormatError for wrong types.

    A method that is not known is kept by name, with the bits it tells, else 16: too much rather
    than too little.
    """
    if config is None:
        return NONE
    method = config.text("quant_method").lower()
    if not method:
        method = "bitsandbytes" if config.has("load_in_4bit", "load_in_8bit") else "unknown"
    return _METHODS.get(method, _unknown)(method, config)


def _unknown(method: str, keys: Keys) -> Quantization:
    bits = keys.count("bits", "w_bit", "num_bits", "nbits", limit=BITS_MAX) or 16
    group = keys.count("group_size", limit=GROUP_MAX)
    return Quantization(method, bits, group, _modules(keys), overhead_bits=_affine(bits, group))


def _grouped(method: str, keys: Keys) -> Quantization:
    """GPTQ, AWQ, AutoRound, HQQ: a 16-bit scale and a zero point of `bits` per group."""
    bits = keys.count("bits", "w_bit", "nbits", limit=BITS_MAX) or 4
    group = keys.count("group_size", "q_group_size", limit=GROUP_MAX)
    exceptions = _modules(keys) + (() if keys.flag("lm_head") else ("lm_head",))
    return Quantization(method, bits, group, exceptions, overhead_bits=_affine(bits, group))


def _affine(bits: int, group: int) -> float:
    return (16 + bits) / group if group else 0.05


def _fp8(method: str, keys: Keys) -> Quantization:
    """DeepSeek's blocks (`weight_block_size` [128, 128], a 32-bit scale each) or per-tensor FP8."""
    block = keys.counts("weight_block_size")
    size = block[0] * block[1] if len(block) == 2 else 0
    return Quantization(
        method,
        8,
        0 if not size else block[1],
        _modules(keys),
        kv_cache="fp8" if keys.has("kv_cache_scheme") else "",
        overhead_bits=32 / size if size else 0.01,
    )


def _bitsandbytes(method: str, keys: Keys) -> Quantization:
    """NF4: a 32-bit (doubly quantised: 8-bit) maximum per 64 weights. int8: a scale per row."""
    if keys.flag("load_in_8bit") and not keys.flag("load_in_4bit"):
        return Quantization(method, 8, 0, _modules(keys), overhead_bits=0.01)
    double = keys.flag("bnb_4bit_use_double_quant")
    overhead = 8 / 64 + 32 / (64 * 256) if double else 32 / 64
    return Quantization(method, 4, 64, _modules(keys), overhead_bits=overhead)


def _mxfp4(method: str, keys: Keys) -> Quantization:
    """32 weights share an 8-bit exponent; OpenAI's checkpoints quantise the experts alone."""
    # Beside the exponents each row of 2880 has a 16-bit bias.
    overhead = 8 / 32 + 16 / 2048
    return Quantization(method, 4, 32, _modules(keys), overhead_bits=overhead, experts_only=True)


def _compressed(method: str, keys: Keys) -> Quantization:
    """compressed-tensors: the first group of `config_groups` stands for all."""
    groups = keys.inner("config_groups")
    first = next(iter(sorted(groups.values)), "") if groups else ""
    group = groups.inner(first) if groups and first else None
    weights = group.inner("weights") if group else None
    cache = keys.inner("kv_cache_scheme")
    if weights is None:
        found = Quantization(method, 16, 0, _modules(keys))
    else:
        bits = weights.count("num_bits", limit=BITS_MAX) or 8
        size = weights.count("group_size", limit=GROUP_MAX)
        scale = 8 if weights.text("type") == "float" and bits == 4 else 16
        overhead = scale / size if size else 0.05
        found = Quantization(method, bits, size, _modules(keys), overhead_bits=overhead)
    if cache is None:
        return found
    return replace(found, kv_cache="fp8" if cache.text("type") == "float" else "int8")


def _modelopt(method: str, keys: Keys) -> Quantization:
    """NVIDIA's: the algorithm in one word, in config.json or in hf_quant_config.json."""
    inner = keys.inner("quantization") or keys
    algorithm = inner.text("quant_algo").upper()
    exceptions = _modules(inner)
    if "FP4" in algorithm or "W4A" in algorithm:
        size = inner.count("group_size", default=16, limit=GROUP_MAX)
        found = Quantization(method, 4, size, exceptions, overhead_bits=8 / size if size else 0.5)
    else:
        found = Quantization(method, 8, 0, exceptions, overhead_bits=0.01)
    return replace(found, kv_cache=inner.text("kv_cache_quant_algo").lower())


_TORCHAO_BITS = (("int4", 4), ("uint4", 4), ("int8", 8), ("float8", 8), ("fp6", 6), ("fpx", 6))


def _torchao(method: str, keys: Keys) -> Quantization:
    """Either a word (`int4_weight_only`) or a nested object whose `_type` is one."""
    word = _torchao_word(keys.values.get("quant_type"))
    bits = next((bits for name, bits in _TORCHAO_BITS if name in word), 16)
    arguments = keys.inner("quant_type_kwargs")
    group = arguments.count("group_size", limit=GROUP_MAX) if arguments else 0
    group = group or (128 if bits == 4 else 0)
    overhead = 32 / group if group else 0.05
    exceptions = (*_modules(keys), "lm_head")
    return Quantization(method, bits, group, exceptions, overhead_bits=overhead)


def _torchao_word(value: object) -> str:
    # {"default": {"_type": "Int4WeightOnlyConfig", …}}: the way of newer writers.
    for _ in range(4):
        if isinstance(value, str):
            return value.lower()[:100]
        if not isinstance(value, dict):
            break
        inner = cast("Mapping[str, object]", value)
        value = inner.get("_type") or inner.get("default") or inner.get("quant_type")
    return ""


def _modules(keys: Keys) -> tuple[str, ...]:
    names = keys.texts(
        "modules_to_not_convert",
        "ignored_layers",
        "ignore",
        "exclude_modules",
        "llm_int8_skip_modules",
        "modules_to_not_quantize",
    )
    return names[:MODULES_MAX]


_METHODS: Mapping[str, Callable[[str, Keys], Quantization]] = {
    "gptq": _grouped,
    "gptq_marlin": _grouped,
    "awq": _grouped,
    "awq_marlin": _grouped,
    "auto-round": _grouped,
    "intel/auto-round": _grouped,
    "hqq": _grouped,
    "fp8": _fp8,
    "fbgemm_fp8": _fp8,
    "bitsandbytes": _bitsandbytes,
    "mxfp4": _mxfp4,
    "compressed-tensors": _compressed,
    "modelopt": _modelopt,
    "modelopt_fp4": _modelopt,
    "torchao": _torchao,
}

_EXCEPTIONS: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("router", ("mlp.gate", "router", "shared_expert_gate", "block_sparse_moe.gate")),
    ("experts", ("experts",)),
    ("output", ("lm_head",)),
    ("embedding", ("embed_tokens",)),
    ("vision", ("visual", "vision", "projector", "audio_tower")),
    ("recurrent", ("linear_attn", "mamba", "mixer", "conv1d")),
    ("attention_q", ("q_proj", "self_attn", "qkv", "attention")),
    ("attention_kv", ("k_proj", "v_proj", "self_attn", "qkv", "attention")),
    ("attention_o", ("o_proj", "self_attn", "attention")),
    ("mlp", ("mlp", "feed_forward", "gate_proj", "down_proj", "up_proj")),
)
"""Which words in an exception mean which part. Patterns are looked at as text, never run."""
_ONE_LAYER = re.compile(r"\.\d+(\.|$)")
_ALWAYS_WHOLE = frozenset({"embedding", "output", "router", "replicated", "vision"})
"""Parts that no method quantises unless it says so; all methods here leave them alone."""


def stored_bytes(parts: WeightParts, quantization: Quantization, dtype: str) -> WeightParts:
    """What `parts`, counted in parameters, take in files with this quantisation."""
    plain = DTYPE_BYTES.get(dtype, 2)
    packed = quantization.bytes_per_weight if quantization.method else plain
    whole = _whole_parts(quantization)
    return WeightParts(
        **{
            part: round(count * (plain if part in whole else packed))
            for part in WeightParts.__slots__
            if (count := getattr(parts, part))
        }
    )


def _whole_parts(quantization: Quantization) -> frozenset[str]:
    if quantization.experts_only:
        return frozenset(WeightParts.__slots__) - {"experts", "prediction"}
    found = set(_ALWAYS_WHOLE)
    for pattern in quantization.unquantized:
        if not _ONE_LAYER.search(pattern):
            found.update(_meant(pattern))
    return frozenset(found)


def _meant(pattern: str) -> tuple[str, ...]:
    plain = pattern.replace("\\", "")
    for part, words in _EXCEPTIONS[:2]:
        if any(word in plain for word in words):
            return (part,)
    return tuple(part for part, words in _EXCEPTIONS[2:] if any(word in plain for word in words))
