"""Where the bytes of a GGUF file are: by layer, and by part of the model.

Tensor names are llama.cpp's (`src/llama-arch.cpp`).
"""

import re
from collections import defaultdict
from collections.abc import Sequence

from aimindserve.core.errors import FormatError
from aimindserve.core.facts import WeightParts
from aimindserve.formats.gguf_header import Tensor

_LAYER = re.compile(r"^blk\.(\d{1,6})\.")


class Sizes:
    """Where the bytes are."""

    def __init__(self, tensors: Sequence[Tensor], layers: int, blocks: int) -> None:
        by_layer: dict[int, int] = defaultdict(int)
        by_part: dict[str, int] = defaultdict(int)
        named: dict[str, int] = {}
        for tensor in tensors:
            match = _LAYER.match(tensor.name)
            index = int(match.group(1)) if match else -1
            by_layer[index] += tensor.size_bytes
            part = "prediction" if index >= layers else _part(tensor.name)
            by_part[part] += tensor.size_bytes
            if not match:
                named[tensor.name] = tensor.size_bytes
        if max(by_layer, default=-1) >= blocks:
            raise FormatError(f"it has tensors of layer {max(by_layer)}, but {blocks} layers")
        self.parts = WeightParts(**by_part)
        self.total = sum(tensor.size_bytes for tensor in tensors)
        self.parameters = sum(tensor.elements for tensor in tensors)
        self.layers = tuple(by_layer[index] for index in range(layers))
        self.token_embedding = named.get("token_embd.weight", 0)
        self.output = named.get("output.weight", 0)
        self.dense = any(tensor.name.endswith(".ffn_down.weight") for tensor in tensors)
        # One matrix may hold gate and way up: then it is twice as wide as the way down is long.
        self.gated = any(".ffn_gate" in tensor.name for tensor in tensors) or _joined(tensors)


def _joined(tensors: Sequence[Tensor]) -> bool:
    shapes = {tensor.name: tensor.shape for tensor in tensors if ".ffn_" in tensor.name}
    return any(
        len(shape) > 1
        and len(up := shapes.get(name.replace("_down.", "_up."), ())) > 1
        # rows of the way down are as long as the hidden vector
        and up[1] > shape[0]
        for name, shape in shapes.items()
        if name.endswith(".ffn_down.weight")
    )


_PARTS = (
    ("embedding", re.compile(r"^(token|position|per_layer_token)_embd\.|^token_types\.")),
    ("output", re.compile(r"^output\.")),
    ("router", re.compile(r"\.(ffn_gate_inp|exp_probs_b)")),
    ("experts", re.compile(r"\.ffn_\w+_exps\.")),
    ("recurrent", re.compile(r"\.(ssm|time_mix|shortconv)_")),
    ("replicated", re.compile(r"norm|_(q|kv)_a|rope")),
    ("attention_q", re.compile(r"\.attn_(q|q_b|sinks|gate)\.")),
    ("attention_kv", re.compile(r"\.attn_(k|v|kv_b|k_b|v_b|qkv)\.")),
    ("attention_o", re.compile(r"\.attn_output\.")),
    ("mlp", re.compile(r"\.ffn_")),
)
"""Which part of the weights a tensor belongs to, by its name; the first that fits."""


def _part(name: str) -> str:
    for part, pattern in _PARTS:
        if pattern.search(name):
            return part
    return "replicated"
