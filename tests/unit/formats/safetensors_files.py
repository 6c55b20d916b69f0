"""Model directories made on the spot: safetensors headers without data, and small text files."""

import json
import math

from aimindserve.formats.hugging_face import FileAccess
from aimindserve.formats.safetensors import DTYPE_BITS


def header(tensors, *, metadata=None):
    """(bytes up to the data, size of the whole file). `tensors`: name -> (dtype, shape)."""
    values, at = {}, 0
    if metadata is not None:
        values["__metadata__"] = metadata
    for name, (dtype, shape) in tensors.items():
        size = math.prod(shape) * DTYPE_BITS[dtype] // 8
        values[name] = {"dtype": dtype, "shape": list(shape), "data_offsets": [at, at + size]}
        at += size
    raw = json.dumps(values).encode()
    raw += b" " * (-len(raw) % 8)
    return len(raw).to_bytes(8, "little") + raw, 8 + len(raw) + at


def reader(data):
    return lambda offset, length: data[offset : offset + length]


def weights(tensors):
    data, size = header(tensors)
    return FileAccess(size, reader(data))


def text(value):
    data = value if isinstance(value, bytes) else json.dumps(value).encode()
    return FileAccess(len(data), reader(data))


def llama(*, layers=2, hidden=64, width=128, heads=4, kv=2, vocabulary=256, dtype="BF16"):
    """Tensors of a small Llama."""
    length = hidden // heads
    made = {"model.embed_tokens.weight": (dtype, (vocabulary, hidden))}
    for index in range(layers):
        at = f"model.layers.{index}"
        made |= {
            f"{at}.self_attn.q_proj.weight": (dtype, (hidden, hidden)),
            f"{at}.self_attn.k_proj.weight": (dtype, (kv * length, hidden)),
            f"{at}.self_attn.v_proj.weight": (dtype, (kv * length, hidden)),
            f"{at}.self_attn.o_proj.weight": (dtype, (hidden, hidden)),
            f"{at}.mlp.gate_proj.weight": (dtype, (width, hidden)),
            f"{at}.mlp.up_proj.weight": (dtype, (width, hidden)),
            f"{at}.mlp.down_proj.weight": (dtype, (hidden, width)),
            f"{at}.input_layernorm.weight": (dtype, (hidden,)),
            f"{at}.post_attention_layernorm.weight": (dtype, (hidden,)),
        }
    made["model.norm.weight"] = (dtype, (hidden,))
    made["lm_head.weight"] = (dtype, (vocabulary, hidden))
    return made


def llama_config(*, layers=2, hidden=64, width=128, heads=4, kv=2, vocabulary=256, **more):
    return {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "hidden_size": hidden,
        "intermediate_size": width,
        "num_hidden_layers": layers,
        "num_attention_heads": heads,
        "num_key_value_heads": kv,
        "vocab_size": vocabulary,
        "max_position_embeddings": 512,
        "torch_dtype": "bfloat16",
        **more,
    }


def directory(config=None, tensors=None, **more):
    """Files of a model: `more` maps names with `__` for `.` to JSON values or bytes."""
    files = {"config.json": text(llama_config() if config is None else config)}
    files["model.safetensors"] = weights(llama() if tensors is None else tensors)
    return files | more
