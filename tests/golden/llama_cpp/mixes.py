"""Which type each tensor gets in a quantised file: the rules of llama.cpp's `src/llama-quant.cpp`
for the mixtures that people run most."""

from aimindserve.formats.ggml_types import BY_NAME

MIXES = ("F16", "Q8_0", "Q4_0", "Q4_K_M", "MXFP4")
_KEPT = ("ffn_gate_inp", "ssm_conv1d", "ssm_x", "ssm_dt.weight", "position_embd", "token_types")
"""Small and sensitive: stay as they are."""
_NARROWER = {"Q4_K": "Q5_0", "Q5_K": "Q5_1", "Q6_K": "Q8_0"}
"""For rows that are no multiple of 256."""


def quantise(tensors, mix, model):
    """(name, shape, type) for each (name, shape)."""
    has_output = any(name == "output.weight" for name, _ in tensors)
    return [(name, shape, _type(name, shape, mix, model, has_output)) for name, shape in tensors]


def _type(name, shape, mix, model, has_output):
    flat = len(shape) == 1 or name.endswith((".bias", "ssm_a", "ssm_d", "_norm.weight"))
    if flat or any(part in name for part in _KEPT):
        return "F32"
    kind = _wanted(name, mix, model, has_output)
    if shape[0] % BY_NAME[kind.lower()].block:
        kind = _NARROWER.get(kind, "F16")
    return "F16" if shape[0] % BY_NAME[kind.lower()].block else kind


def _wanted(name, mix, model, has_output):
    if mix in ("F16", "Q8_0"):
        return mix
    if mix == "MXFP4":
        return "MXFP4" if "_exps." in name else "Q8_0"
    if name == "output.weight" or (name == "token_embd.weight" and not has_output):
        return "Q6_K"
    if mix == "Q4_0":
        return mix
    return _k_mixture(name, model)


def _k_mixture(name, model):
    if name.startswith("blk."):
        layer = int(name.split(".")[1])
        if "attn_v.weight" in name and model.experts == 8:
            return "Q8_0"
        if "attn_v.weight" in name or "ffn_down" in name:
            return "Q6_K" if _more_bits(layer, model.layers) else "Q4_K"
        if "attn_k.weight" in name and model.experts == 8:
            return "Q8_0"
        if "attn_qkv" in name:
            return "Q5_K"
    return "Q4_K"


def _more_bits(layer, layers):
    eighth = layers // 8
    return layer < eighth or layer >= 7 * layers // 8 or (layer - eighth) % 3 == 2
