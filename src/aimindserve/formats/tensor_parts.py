"""What each tensor of a checkpoint does, told by its name, summed over a model.

Names are those of transformers' modules (`models/*/modeling_*.py`), and of the few families whose
checkpoints keep their authors' own (ChatGLM, InternVL, nomic, Mamba). A name that no rule knows
counts as replicated: every rank holds it whole, which claims too much rather than too little. Must
not know files: it is given tensors that a header listed.
"""

import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from aimindserve.core.facts import WeightParts
from aimindserve.formats.quantization import Quantization
from aimindserve.formats.safetensors import Tensor

_LAYER = re.compile(r"(?:^|\.)(?:layers?|h|blocks)\.(\d{1,5})\.")
_ENCODER = re.compile(r"^model\.encoder\.layers\.")
"""An encoder beside a decoder (Whisper): its layers are not the decoder's."""
_NUMBER = re.compile(r"(?<=\.)\d+(?=\.)")


def _words(*words: str) -> Callable[[str], bool]:
    found = re.compile("|".join(words))
    return lambda name: found.search(name) is not None


_RULES: tuple[tuple[str, Callable[[str], bool]], ...] = (
    (
        "vision",
        _words(
            r"(^|\.)(visual|vision\w*|image_newline|multi_modal_projector|mm_projector|aligner|mlp1"
            r"|vit|resampler|vpm|audio\w*|apm|embed_vision|sam_model|connector|modality_projection"
            r"|patch_merger|token2wav|talker)\."
        ),
    ),
    ("prediction", _words(r"(^|\.)mtp\.")),
    (
        "output",
        _words(r"(^|\.)(lm_head|output_layer|embed_out)\.", r"^output\.weight", r"^head\.weight"),
    ),
    (
        "embedding",
        _words(
            r"(^|\.)(embed_tokens|wte|word_embeddings|tok_embeddings|embed_in|token_embedding)\.",
            r"^(model|backbone)\.embeddings?\.weight",
            r"^(backbone\.|transformer\.)?embeddings?\.weight",
        ),
    ),
    (
        "router",
        _words(
            r"\.(gate|router|shared_expert_gate)\.(weight|bias|e_score|wg|layer|tid)",
            r"\.e_score_correction_bias",
        ),
    ),
    ("mlp", _words(r"shared_experts?\.", r"shared_mlp\.")),
    ("experts", _words(r"\.experts\.", r"\.block_sparse_moe\.(in|out)put_linear", r"\.moe\.")),
    (
        "recurrent",
        _words(
            r"\.(mamba|linear_attn|ssm|conv|short_conv|time_mix)\.",
            r"\.mixer\.(in_proj|conv1d)",
            r"\.mixer\.(x_proj|dt_proj|dt_bias|A_log|D$|out_proj|norm)",
        ),
    ),
    (
        "replicated",
        _words(
            r"(q_a|kv_a|compress)\w*_?proj",
            r"\.indexer\.",
            r"(layer_?)?norm\w*\.(weight|bias)",
            r"\.ln_\w+\.",
            r"LayerNorm",
            r"[qk]_norm\.",
            r"_layernorm\.",
            r"\.sinks$",
        ),
    ),
    ("attention_kv", _words(r"\.(k|v|kv_b|key|value|k_lin|v_lin|wk|wv)(_proj)?\.")),
    ("attention_q", _words(r"\.(q|q_b|query|q_lin|wq)(_proj)?\.")),
    (
        "fused",
        _words(r"\.(qkv|qkv_proj|Wqkv|query_key_value|c_attn|qkv_linear)\."),
    ),
    (
        "attention_o",
        _words(
            r"\.(o_proj|wo)\.",
            r"(attn|attention)\w*\.(dense|out_proj|c_proj|out_lin|Wo)\.",
            r"attention\.output\.dense\.",
        ),
    ),
    (
        "mlp",
        _words(
            r"\.(mlp|feed_forward|ffn|block_sparse_moe)\.",
            r"\.(fc\d*|w1|w2|w3|gate_proj|up_proj|down_proj|gate_up_proj|c_fc)\.",
            r"\.(intermediate|output)\.dense\.",
            r"\.mixer\.(up_proj|down_proj)",
        ),
    ),
)
"""In order: the first that fits decides. A norm inside a mixer belongs to the mixer."""

_NO_WEIGHTS = re.compile(
    r"(_scales?|_scale_inv|_scale_2|\.scales|\.qzeros|\.g_idx|\.perm|\.absmax|\.nested_absmax"
    r"|\.quant_map|\.nested_quant_map|\.quant_state\.\w+|\.SCB|\.weight_format|weight_shape"
    r"|_zero_point|weight_g_idx|input_scale|\.k_scale|\.v_scale|rotary_emb\.inv_freq|position_ids)$"
)
"""Tensors that describe weights or are computed anyway: they take bytes but are no parameters."""

_PACKED = re.compile(r"(\.qweight|_packed|_blocks)$")


@dataclass(frozen=True, slots=True)
class Sums:
    """A checkpoint, added up."""

    part_bytes: WeightParts
    layer_bytes: tuple[int, ...]
    parameters: int
    """Of the model; packed weights count as what they stand for."""
    duplicate_bytes: int
    """Of an output matrix that is stored although it is tied to the embedding."""

    @property
    def total_bytes(self) -> int:
        """All tensors."""
        return self.part_bytes.total


@dataclass(frozen=True, slots=True)
class Reading:
    """What must be known to understand tensor names."""

    layers: int
    heads: int
    kv_heads: int
    tied: bool
    quantization: Quantization


def sum_up(tensors: Iterable[Tensor], reading: Reading) -> Sums:
    """Bytes by part and layer, and parameters, of all tensors of one model."""
    parts: dict[str, int] = defaultdict(int)
    layers: dict[int, int] = defaultdict(int)
    parameters = duplicates = 0
    known: dict[str, str] = {}
    for tensor in tensors:
        index = _layer_of(tensor.name)
        pattern = _NUMBER.sub("0", tensor.name)
        part = known.get(pattern) or known.setdefault(pattern, _part(pattern))
        if part != "vision" and index is not None and index >= reading.layers > 0:
            part = "prediction"
        if part == "output" and reading.tied:
            duplicates += tensor.size_bytes
        elif part != "prediction":
            parameters += parameters_in(tensor, reading.quantization)
        if part == "fused":
            _spread(parts, tensor.size_bytes, reading)
        else:
            parts[part] += tensor.size_bytes
        if index is not None and index < reading.layers and part != "vision":
            layers[index] += tensor.size_bytes
    return Sums(
        WeightParts(**parts),
        tuple(layers[index] for index in range(reading.layers)) if layers else (),
        parameters,
        duplicates,
    )


def _spread(parts: dict[str, int], size: int, reading: Reading) -> None:
    """Queries, keys and values in one matrix: cut by heads."""
    rows = reading.heads + 2 * reading.kv_heads
    queries = size * reading.heads // rows if rows else size
    parts["attention_q"] += queries
    parts["attention_kv"] += size - queries


def _layer_of(name: str) -> int | None:
    """The decoder layer that a tensor belongs to."""
    if _ENCODER.match(name):
        return None
    match = _LAYER.search(name)
    return int(match.group(1)) if match else None


def _part(name: str) -> str:
    part = next((part for part, fits in _RULES if fits(name)), "replicated")
    # Ranks add up what they made of their heads; the bias joins once, on every one of them.
    return "replicated" if part == "attention_o" and name.endswith(".bias") else part


def parameters_in(tensor: Tensor, quantization: Quantization) -> int:
    """The weights that a tensor holds: several in an element where they are packed."""
    if _NO_WEIGHTS.search(tensor.name):
        return 0
    if not quantization.method or not quantization.weight_bits:
        return tensor.elements
    bits = _WIDTHS.get(tensor.dtype, 0)
    named = _PACKED.search(tensor.name) is not None
    # bitsandbytes and NVFP4 pack two weights into a byte and keep the name `weight`.
    bytes_of_four = quantization.weight_bits == 4 and tensor.dtype == "U8"
    if bits and (named or bytes_of_four):
        return tensor.elements * bits // quantization.weight_bits
    return tensor.elements


_WIDTHS: Mapping[str, int] = {"I32": 32, "U32": 32, "I16": 16, "U8": 8, "I8": 8, "I64": 64}
