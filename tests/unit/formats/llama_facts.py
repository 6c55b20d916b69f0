"""Facts of well-known Llama-like models, worked out from their published shapes."""

from aimindserve.core.facts import Category, ModelFacts, WeightParts


def llama(layers, hidden, wide, heads, kv_heads, vocabulary, *, tied=False, **changes):
    """A dense model with bfloat16 weights."""
    head = changes.pop("head", hidden // heads)
    parts = WeightParts(
        embedding=vocabulary * hidden * 2,
        output=0 if tied else vocabulary * hidden * 2,
        attention_q=layers * hidden * heads * head * 2,
        attention_kv=layers * 2 * hidden * kv_heads * head * 2,
        attention_o=layers * heads * head * hidden * 2,
        mlp=layers * 3 * hidden * wide * 2,
        replicated=(2 * layers + 1) * hidden * 2,
    )
    fields = {
        "format": "safetensors",
        "architecture": "llama",
        "size_bytes": parts.total,
        "parameter_count": parts.total // 2,
        "context_length": 131072,
        "layer_count": layers,
        "embedding_length": hidden,
        "feed_forward_length": wide,
        "vocabulary_size": vocabulary,
        "head_count": heads,
        "head_count_kv": (kv_heads,),
        "key_length": head,
        "value_length": head,
        "architecture_class": "LlamaForCausalLM",
        "dtype": "BF16",
        "tied_embeddings": tied,
        "part_bytes": parts,
        "categories": (Category.LLM,),
        **changes,
    }
    return ModelFacts(**fields)


LLAMA_3_8B = llama(32, 4096, 14336, 32, 8, 128256, context_length=8192)
LLAMA_31_8B = llama(32, 4096, 14336, 32, 8, 128256)
LLAMA_31_70B = llama(80, 8192, 28672, 64, 8, 128256)
