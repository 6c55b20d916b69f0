"""Models that nobody has made: the families that llama.cpp runs with sizes drawn at random, so that
formulas are not only right where well-known models happen to lie."""

import random

from golden.llama_cpp.headers import config, slugs

FAMILIES = (
    "bge-reranker-v2-m3",
    "nomic-embed-text-v1.5",
    "deepseek-v2-lite",
    "deepseek-v3",
    "falcon-h1-7b-instruct",
    "gemma-2-2b-it",
    "gemma-3-1b-it",
    "glm-4-9b-0414",
    "glm-4-9b-chat-hf",
    "glm-4.5-air",
    "gpt-oss-20b",
    "granite-4.0-h-micro",
    "granite-4.0-h-tiny",
    "jamba-v0.1",
    "llama-3.2-1b",
    "mamba-130m-hf",
    "mixtral-8x7b-v0.1",
    "phi-2",
    "phi-3-mini-4k-instruct",
    "qwen2.5-0.5b-instruct",
    "qwen2.5-vl-7b-instruct",
    "qwen3-0.6b",
    "qwen3-30b-a3b",
    "qwen3-embedding-0.6b",
    "qwen3-next-80b-a3b-instruct",
)
"""One model for each way in which llama.cpp computes a layer."""
assert set(FAMILIES) <= set(slugs())


def draw(slug, seed):
    """Changes for `headers.header`: other sizes, within what the engine accepts of the family."""
    one = random.Random(f"{slug} {seed}")
    known = config(slug)
    changes = {
        "hidden": one.choice((256, 384, 512, 768, 1024, 1536, 2048, 3072, 4096, 5120, 8192)),
        "vocabulary": one.choice((1000, 8192, 32000, 50257, 128256, 262144)),
        "head_length": one.choice((64, 80, 96, 128, 192, 256)),
        "intermediate_size": 64 * one.randint(4, 450),
        "layers": one.randint(2, 6),
        "tied_embeddings": one.random() < 0.5,
    }
    if known["model_type"] != "mamba":
        changes["kv_heads"] = one.choice((1, 2, 4, 8))
        changes["heads"] = changes["kv_heads"] * one.choice((1, 2, 3, 4, 5, 7, 8))
    return {**changes, **_experts(known, one), **_own(known, one, changes)}


def _experts(known, one):
    count = one.choice((4, 8, 16, 32, 64, 128))
    used = min(one.choice((1, 2, 4, 6, 8, 10)), count)
    sizes = {
        "num_local_experts": count,
        "num_experts": count,
        "n_routed_experts": count,
        "num_experts_per_tok": used,
        "moe_intermediate_size": 64 * one.randint(2, 48),
        "shared_expert_intermediate_size": 64 * one.randint(2, 48),
        "shared_intermediate_size": 64 * one.randint(4, 96),
        "n_shared_experts": one.choice((1, 2, 3)),
    }
    return {key: size for key, size in sizes.items() if known.get(key)}


def _own(known, one, changes):
    """What only this family has, or has otherwise."""
    draws = _OWN.get(known["model_type"])
    return draws(known, one, changes) if draws else {}


def _encoder(_, one, changes):
    hidden = changes["hidden"]
    heads = one.choice([count for count in (4, 6, 8, 12, 16) if hidden % (2 * count) == 0])
    return {
        "heads": heads,
        "kv_heads": heads,
        "head_length": hidden // heads,
        "n_inner": changes["intermediate_size"],
    }


def _latent(known, one, _):
    return {
        "kv_lora_rank": one.choice((128, 256, 512, 768)),
        "qk_rope_head_dim": one.choice((32, 64, 128)),
        "qk_nope_head_dim": one.choice((64, 128, 192)),
        "v_head_dim": one.choice((64, 128, 192)),
        "q_lora_rank": one.choice((512, 1024, 1536)) if known["q_lora_rank"] else None,
        "first_k_dense_replace": 1,
        **({"layers": 27} if known["num_hidden_layers"] == 27 else {}),
    }


def _falcon_h1(_known, one, _changes):
    inner = 128 * one.randint(2, 48)
    return {
        "mamba_d_ssm": inner,
        "mamba_d_state": one.choice((64, 128, 256)),
        "mamba_n_heads": inner // one.choice((64, 128)),
        "mamba_n_groups": 1,
    }


def _granite_hybrid(known, one, changes):
    kinds = ["attention" if at % 3 == 1 else "mamba" for at in range(changes["layers"])]
    return {
        "mamba_d_state": one.choice((64, 128, 256)),
        "mamba_n_heads": known["mamba_expand"] * changes["hidden"] // 64,
        "layer_types": kinds,
        "shared_intermediate_size": changes["intermediate_size"],
    }


def _jamba(_, one, changes):
    return {
        "mamba_d_state": one.choice((8, 16, 32)),
        "mamba_dt_rank": one.choice((64, 128, 256)),
        "attn_layer_period": 3,
        "attn_layer_offset": 1,
        **_whole_heads(one, changes),
    }


def _mamba(_, one, changes):
    return {
        "d_inner": 2 * changes["hidden"],
        "state_size": one.choice((8, 16, 32)),
        "time_step_rank": changes["hidden"] // 16,
    }


def _qwen3_next(_known, one, _changes):
    keys = one.choice((4, 8, 16))
    return {
        "linear_key_head_dim": 128,
        "linear_num_key_heads": keys,
        "linear_num_value_heads": keys * one.choice((1, 2, 4)),
        "full_attention_interval": one.choice((2, 3, 4)),
        "layers": 6,
    }


def _windows(known, one, _):
    window = one.choice((128, 512, 1024, 4096))
    tied = known["model_type"] != "gpt_oss"
    return {"sliding_window": window, "layers": 12, "tied_embeddings": tied}


def _whole(known, one, changes):
    heads = _whole_heads(one, changes)
    if known["model_type"] == "phi":
        heads |= {"kv_heads": heads["heads"], "tied_embeddings": False}
    return {**heads, "partial_rotary_factor": 0.5}


_OWN = {
    **dict.fromkeys(("bert", "xlm-roberta", "nomic_bert"), _encoder),
    **dict.fromkeys(("deepseek_v2", "deepseek_v3"), _latent),
    **dict.fromkeys(("gemma2", "gemma3_text", "gpt_oss"), _windows),
    **dict.fromkeys(("phi", "phi3", "qwen2", "qwen2_5_vl", "glm"), _whole),
    "falcon_h1": _falcon_h1,
    "granitemoehybrid": _granite_hybrid,
    "jamba": _jamba,
    "mamba": _mamba,
    "qwen3_next": _qwen3_next,
}


def _whole_heads(one, changes):
    """Heads that are together as wide as the model."""
    length = one.choice((64, 128))
    heads = changes["hidden"] // length
    counts = [count for count in (1, 2, 4, heads) if heads % count == 0]
    return {"head_length": length, "heads": heads, "kv_heads": one.choice(counts)}
