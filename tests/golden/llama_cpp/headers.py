"""GGUF headers of well-known models, made from what they publish: metadata and tensor names as
llama.cpp's converter writes them, weights that are not there.

`header(slug, mix)` gives what `unit.formats.gguf_files.sparse` turns into a file of full size that
takes a few kB on disk. Tensor names and shapes are those that `load_arch_tensors` of llama.cpp's
`src/models/*.cpp` asks for: the engine refuses a file that has it wrong.
"""

import json
from functools import cache
from pathlib import Path

from golden.llama_cpp.mixes import quantise

MODELS = Path(__file__).parents[1] / "models"
_TEXTS = {"bert", "nomic-bert"}


def slugs():
    """All models that llama.cpp can run, smallest name first."""
    return sorted(
        folder.name
        for folder in MODELS.iterdir()
        if (folder / "config.json").exists() and _architecture(config(folder.name)) is not None
    )


def header(slug, mix="Q4_K_M", changes=None):
    """(metadata, tensors) of a model in a mixture of types; `changes` take the place of what it
    publishes, by the names of facts.json and config.json."""
    model = _Model(slug, changes or {})
    _BUILDERS[model.arch](model)
    return model.metadata(mix), quantise(model.tensors, mix, model)


_ARCHITECTURES = {
    "bert": "bert",
    "deepseek_v2": "deepseek2",
    "deepseek_v3": "deepseek2",
    "falcon_h1": "falcon-h1",
    "gemma2": "gemma2",
    "gemma3": "gemma3",
    "gemma3_text": "gemma3",
    "glm": "chatglm",
    "glm4": "glm4",
    "glm4_moe": "glm4moe",
    "gpt_oss": "gpt-oss",
    "granitemoehybrid": "granitehybrid",
    "jamba": "jamba",
    "llama": "llama",
    "mamba": "mamba",
    "mistral": "llama",
    "mixtral": "llama",
    "nomic_bert": "nomic-bert",
    "phi": "phi2",
    "phi3": "phi3",
    "qwen2": "qwen2",
    "qwen2_5_vl": "qwen2vl",
    "qwen3": "qwen3",
    "qwen3_moe": "qwen3moe",
    "qwen3_next": "qwen3next",
    "xlm-roberta": "bert",
}


@cache
def config(slug):
    config = json.loads((MODELS / slug / "config.json").read_text())
    return {**config, **config.get("text_config", {}), "model_type": config["model_type"]}


@cache
def _facts(slug):
    return json.loads((MODELS / slug / "facts.json").read_text())


def _architecture(config):
    return _ARCHITECTURES.get(config["model_type"])


class _Model:
    """What is being written: published numbers on one side, keys and tensors on the other."""

    def __init__(self, slug, changes):
        self.slug, self.config = slug, {**config(slug), **changes}
        facts = {**_facts(slug), **changes}
        self.arch = _architecture(self.config)
        self.layers, self.embd = facts["layers"], facts["hidden"]
        self.heads, self.kv = facts.get("heads", 0), facts.get("kv_heads", 0)
        self.head = facts.get("head_length", 0)
        self.vocab, self.context = facts["vocabulary"], facts.get("context", 1048576)
        self.tied = facts["tied_embeddings"] or self.arch in _TEXTS
        self.ff = self.config.get("intermediate_size") or self.config.get("n_inner", 0)
        self.experts = self.config.get("num_local_experts") or self.config.get("num_experts", 0)
        self.tensors, self.keys, self.plain = [], {}, {}

    def metadata(self, mix):
        name = self.arch
        own = {
            "context_length": self.context,
            "embedding_length": self.embd,
            "block_count": self.layers,
            "feed_forward_length": self.ff,
            "vocab_size": self.vocab,
            "attention.layer_norm_rms_epsilon": 1e-6,
        }
        if self.heads:
            own |= {
                "attention.head_count": self.heads,
                "attention.head_count_kv": self.kv,
                "attention.key_length": self.head,
                "attention.value_length": self.head,
                "rope.dimension_count": self.head,
            }
        own |= self.keys
        return {
            "general.architecture": name,
            "general.name": self.slug,
            "general.file_type": {"F16": 1, "Q4_0": 2, "Q8_0": 7, "Q4_K_M": 15, "MXFP4": 38}[mix],
            **{f"{name}.{key}": value for key, value in own.items()},
            "tokenizer.ggml.model": "no_vocab",
            **self.plain,
        }

    def add(self, name, *shape):
        self.tensors.append((name, shape))

    def ends(self, *, norm=True, bias=False):
        """Embeddings and output."""
        self.add("token_embd.weight", self.embd, self.vocab)
        if norm:
            self.add("output_norm.weight", self.embd)
        if not self.tied:
            self.add("output.weight", self.embd, self.vocab)
        if bias:
            self.add("output_norm.bias", self.embd)
            self.add("output.bias", self.vocab)

    def attention(self, layer, *, bias=False, norms=False, gate=1):
        q, kv = self.heads * self.head, self.kv * self.head
        block = f"blk.{layer}"
        self.add(f"{block}.attn_q.weight", self.embd, q * gate)
        self.add(f"{block}.attn_k.weight", self.embd, kv)
        self.add(f"{block}.attn_v.weight", self.embd, kv)
        self.add(f"{block}.attn_output.weight", q, self.embd)
        if bias:
            for letter, width in (("q", q), ("k", kv), ("v", kv)):
                self.add(f"{block}.attn_{letter}.bias", width)
        if norms:
            for letter in "qk":
                self.add(f"{block}.attn_{letter}_norm.weight", self.head)

    def fused_attention(self, layer, *, bias=False):
        width = (self.heads + 2 * self.kv) * self.head
        block = f"blk.{layer}"
        self.add(f"{block}.attn_qkv.weight", self.embd, width)
        self.add(f"{block}.attn_output.weight", self.heads * self.head, self.embd)
        if bias:
            self.add(f"{block}.attn_qkv.bias", width)

    def norms(self, layer, *names):
        for name in names:
            self.add(f"blk.{layer}.{name}.weight", self.embd)

    def gated(self, layer, ff, suffix=""):
        block = f"blk.{layer}"
        self.add(f"{block}.ffn_gate{suffix}.weight", self.embd, ff)
        self.add(f"{block}.ffn_up{suffix}.weight", self.embd, ff)
        self.add(f"{block}.ffn_down{suffix}.weight", ff, self.embd)

    def mixture(self, layer, ff):
        block = f"blk.{layer}"
        self.add(f"{block}.ffn_gate_inp.weight", self.embd, self.experts)
        self.add(f"{block}.ffn_gate_exps.weight", self.embd, ff, self.experts)
        self.add(f"{block}.ffn_up_exps.weight", self.embd, ff, self.experts)
        self.add(f"{block}.ffn_down_exps.weight", ff, self.embd, self.experts)


def _llama(model):
    config = model.config
    if model.experts:
        model.keys |= {
            "expert_count": model.experts,
            "expert_used_count": config["num_experts_per_tok"],
        }
    scaled = (config.get("rope_scaling") or {}).get("rope_type") == "llama3"
    model.ends()
    if scaled:
        model.add("rope_freqs.weight", model.head // 2)
    for layer in range(model.layers):
        model.norms(layer, "attn_norm", "ffn_norm")
        model.attention(layer)
        if model.experts:
            model.mixture(layer, model.ff)
        else:
            model.gated(layer, model.ff)


def _qwen(model, *, bias=False, norms=False):
    model.ends()
    for layer in range(model.layers):
        model.norms(layer, "attn_norm", "ffn_norm")
        model.attention(layer, bias=bias, norms=norms)
        model.gated(layer, model.ff)


def _qwen2(model):
    _qwen(model, bias=True)


def _qwen2vl(model):
    half = model.head // 2
    model.keys["rope.dimension_sections"] = [half // 4, half * 3 // 8, half * 3 // 8, 0]
    _qwen(model, bias=True)


def _qwen3(model):
    category = _facts(model.slug)["category"]
    if category in _POOLING:
        model.keys["pooling_type"] = _POOLING[category]
    _qwen(model, norms=True)
    if category == "reranker":
        model.keys["classifier.output_labels"] = ["yes", "no"]
        model.add("cls.output.weight", model.embd, 2)


_POOLING = {"embedding": 3, "reranker": 4}
"""Decoders that were made into encoders: the last token counts, or a verdict on it."""


def _qwen3moe(model):
    config = model.config
    model.keys |= {
        "expert_count": model.experts,
        "expert_used_count": config["num_experts_per_tok"],
        "expert_feed_forward_length": config["moe_intermediate_size"],
    }
    model.ends()
    for layer in range(model.layers):
        model.norms(layer, "attn_norm", "ffn_norm")
        model.attention(layer, norms=True)
        model.mixture(layer, config["moe_intermediate_size"])


def _qwen3next(model):
    config = model.config
    state, groups = config["linear_key_head_dim"], config["linear_num_key_heads"]
    values, shared = config["linear_num_value_heads"], config["shared_expert_intermediate_size"]
    inner, keys = state * values, state * groups
    model.keys |= {
        "expert_count": model.experts,
        "expert_used_count": config["num_experts_per_tok"],
        "expert_feed_forward_length": config["moe_intermediate_size"],
        "expert_shared_feed_forward_length": shared,
        "ssm.conv_kernel": config["linear_conv_kernel_dim"],
        "ssm.inner_size": inner,
        "ssm.state_size": state,
        "ssm.time_step_rank": values,
        "ssm.group_count": groups,
        "full_attention_interval": config["full_attention_interval"],
        "rope.dimension_count": model.head // 4,
    }
    model.ends()
    for layer in range(model.layers):
        block = f"blk.{layer}"
        model.norms(layer, "attn_norm", "post_attention_norm")
        if (layer + 1) % config["full_attention_interval"] == 0:
            model.attention(layer, norms=True, gate=2)
        else:
            model.add(f"{block}.attn_qkv.weight", model.embd, 2 * keys + inner)
            model.add(f"{block}.attn_gate.weight", model.embd, inner)
            model.add(
                f"{block}.ssm_conv1d.weight", config["linear_conv_kernel_dim"], 2 * keys + inner
            )
            model.add(f"{block}.ssm_dt.bias", values)
            model.add(f"{block}.ssm_a", values)
            model.add(f"{block}.ssm_ba.weight", model.embd, 2 * values)
            model.add(f"{block}.ssm_norm.weight", state)
            model.add(f"{block}.ssm_out.weight", inner, model.embd)
        model.mixture(layer, config["moe_intermediate_size"])
        model.add(f"{block}.ffn_gate_inp_shexp.weight", model.embd)
        model.gated(layer, shared, "_shexp")


def _gemma2(model):
    model.keys["attention.sliding_window"] = model.config["sliding_window"]
    model.keys |= {"attn_logit_softcapping": 50.0, "final_logit_softcapping": 30.0}
    model.ends()
    for layer in range(model.layers):
        model.norms(layer, "attn_norm", "post_attention_norm", "ffn_norm", "post_ffw_norm")
        model.attention(layer)
        model.gated(layer, model.ff)


def _gemma3(model):
    model.keys["attention.sliding_window"] = model.config["sliding_window"]
    model.ends()
    for layer in range(model.layers):
        model.norms(layer, "attn_norm", "post_attention_norm", "ffn_norm", "post_ffw_norm")
        model.attention(layer, norms=True)
        model.gated(layer, model.ff)


def _phi2(model):
    model.keys |= {
        "attention.layer_norm_epsilon": 1e-5,
        "rope.dimension_count": int(model.head * model.config["partial_rotary_factor"]),
    }
    model.ends(bias=True)
    for layer in range(model.layers):
        block = f"blk.{layer}"
        model.norms(layer, "attn_norm")
        model.add(f"{block}.attn_norm.bias", model.embd)
        model.fused_attention(layer, bias=True)
        model.add(f"{block}.attn_output.bias", model.embd)
        model.add(f"{block}.ffn_up.weight", model.embd, model.ff)
        model.add(f"{block}.ffn_up.bias", model.ff)
        model.add(f"{block}.ffn_down.weight", model.ff, model.embd)
        model.add(f"{block}.ffn_down.bias", model.embd)


def _phi3(model):
    model.keys["attention.sliding_window"] = model.config.get("sliding_window") or 0
    model.ends()
    for layer in range(model.layers):
        model.norms(layer, "attn_norm", "ffn_norm")
        model.fused_attention(layer)
        _joined(model, layer)


def _joined(model, layer):
    """Gate and up in one matrix."""
    model.add(f"blk.{layer}.ffn_up.weight", model.embd, 2 * model.ff)
    model.add(f"blk.{layer}.ffn_down.weight", model.ff, model.embd)


def _chatglm(model):
    model.keys["rope.dimension_count"] = model.head // 2
    model.ends()
    for layer in range(model.layers):
        model.norms(layer, "attn_norm", "ffn_norm")
        model.fused_attention(layer, bias=True)
        _joined(model, layer)


def _glm4(model):
    model.keys["rope.dimension_count"] = model.head // 2
    model.ends()
    for layer in range(model.layers):
        model.norms(layer, "attn_norm", "post_attention_norm", "ffn_norm", "post_ffw_norm")
        model.attention(layer)
        _joined(model, layer)


def _glm4moe(model):
    """With its prediction layer, as the converter keeps it; llama.cpp passes over it."""
    config, dense = model.config, model.config["first_k_dense_replace"]
    model.experts = config["n_routed_experts"]
    ff, extra = config["moe_intermediate_size"], config["num_nextn_predict_layers"]
    model.keys |= {
        "block_count": model.layers + extra,
        "nextn_predict_layers": extra,
        "rope.dimension_count": model.head // 2,
        "expert_count": model.experts,
        "expert_used_count": config["num_experts_per_tok"],
        "expert_feed_forward_length": ff,
        "expert_shared_count": config["n_shared_experts"],
        "leading_dense_block_count": dense,
    }
    model.ends()
    for layer in range(model.layers + extra):
        model.norms(layer, "attn_norm", "post_attention_norm")
        model.attention(layer, bias=True, norms=config["use_qk_norm"])
        if layer < dense:
            model.gated(layer, model.ff)
        else:
            model.mixture(layer, ff)
            model.add(f"blk.{layer}.exp_probs_b.bias", model.experts)
            model.gated(layer, ff * config["n_shared_experts"], "_shexp")
        if layer >= model.layers:
            model.add(f"blk.{layer}.nextn.eh_proj.weight", 2 * model.embd, model.embd)
            model.norms(layer, "nextn.enorm", "nextn.hnorm", "nextn.shared_head_norm")


def _deepseek2(model):
    config, dense = model.config, model.config["first_k_dense_replace"]
    model.experts = config["n_routed_experts"]
    rank, rope = config["kv_lora_rank"], config["qk_rope_head_dim"]
    nope, value, wide = config["qk_nope_head_dim"], config["v_head_dim"], config["q_lora_rank"]
    ff = config["moe_intermediate_size"]
    model.keys |= {
        "attention.head_count_kv": 1,
        "attention.key_length": rank + rope,
        "attention.value_length": rank,
        "attention.key_length_mla": nope + rope,
        "attention.value_length_mla": value,
        "attention.kv_lora_rank": rank,
        "rope.dimension_count": rope,
        "expert_count": model.experts,
        "expert_used_count": config["num_experts_per_tok"],
        "expert_feed_forward_length": ff,
        "expert_shared_count": config["n_shared_experts"],
        "leading_dense_block_count": dense,
    }
    if wide:
        model.keys["attention.q_lora_rank"] = wide
    model.ends()
    for layer in range(model.layers):
        block = f"blk.{layer}"
        model.norms(layer, "attn_norm", "ffn_norm")
        model.add(f"{block}.attn_kv_a_norm.weight", rank)
        if wide:
            model.add(f"{block}.attn_q_a_norm.weight", wide)
            model.add(f"{block}.attn_q_a.weight", model.embd, wide)
            model.add(f"{block}.attn_q_b.weight", wide, model.heads * (nope + rope))
        else:
            model.add(f"{block}.attn_q.weight", model.embd, model.heads * (nope + rope))
        model.add(f"{block}.attn_kv_a_mqa.weight", model.embd, rank + rope)
        model.add(f"{block}.attn_k_b.weight", nope, rank, model.heads)
        model.add(f"{block}.attn_v_b.weight", rank, value, model.heads)
        model.add(f"{block}.attn_output.weight", model.heads * value, model.embd)
        if layer < dense:
            model.gated(layer, model.ff)
            continue
        model.mixture(layer, ff)
        if config["model_type"] == "deepseek_v3":
            model.add(f"{block}.exp_probs_b.bias", model.experts)
        model.gated(layer, ff * config["n_shared_experts"], "_shexp")


def _gpt_oss(model):
    config = model.config
    model.keys |= {
        "attention.sliding_window": config["sliding_window"],
        "expert_count": model.experts,
        "expert_used_count": config["num_experts_per_tok"],
        "expert_feed_forward_length": model.ff,
    }
    model.ends()
    for layer in range(model.layers):
        block = f"blk.{layer}"
        model.norms(layer, "attn_norm", "post_attention_norm")
        model.attention(layer, bias=True)
        model.add(f"{block}.attn_output.bias", model.embd)
        model.add(f"{block}.attn_sinks.weight", model.heads)
        model.mixture(layer, model.ff)
        model.add(f"{block}.ffn_gate_inp.bias", model.experts)
        model.add(f"{block}.ffn_gate_exps.bias", model.ff, model.experts)
        model.add(f"{block}.ffn_up_exps.bias", model.ff, model.experts)
        model.add(f"{block}.ffn_down_exps.bias", model.embd, model.experts)


def _mamba(model):
    config = model.config
    inner, state = config["d_inner"], config["state_size"]
    model.ff = 0
    model.keys |= _state_keys(config["conv_kernel"], inner, state, config["time_step_rank"])
    model.ends()
    for layer in range(model.layers):
        model.norms(layer, "attn_norm")
        _scan(model, layer, inner, state, config["time_step_rank"], config["conv_kernel"])


def _state_keys(kernel, inner, state, rank, groups=0):
    return {
        "ssm.conv_kernel": kernel,
        "ssm.inner_size": inner,
        "ssm.state_size": state,
        "ssm.time_step_rank": rank,
        **({"ssm.group_count": groups} if groups else {}),
    }


def _scan(model, layer, inner, state, rank, kernel):
    """The first Mamba's state-space layer."""
    block = f"blk.{layer}"
    model.add(f"{block}.ssm_in.weight", model.embd, 2 * inner)
    model.add(f"{block}.ssm_conv1d.weight", kernel, inner)
    model.add(f"{block}.ssm_conv1d.bias", inner)
    model.add(f"{block}.ssm_x.weight", inner, rank + 2 * state)
    model.add(f"{block}.ssm_dt.weight", rank, inner)
    model.add(f"{block}.ssm_dt.bias", inner)
    model.add(f"{block}.ssm_a", state, inner)
    model.add(f"{block}.ssm_d", inner)
    model.add(f"{block}.ssm_out.weight", inner, model.embd)


def _scan2(model, layer, sizes, *, norm):
    """Mamba 2's: one matrix in, heads that share a state."""
    inner, state, rank, groups, kernel = sizes
    block, wide = f"blk.{layer}", inner + 2 * groups * state
    model.add(f"{block}.ssm_in.weight", model.embd, inner + wide + rank)
    model.add(f"{block}.ssm_conv1d.weight", kernel, wide)
    model.add(f"{block}.ssm_conv1d.bias", wide)
    model.add(f"{block}.ssm_dt.bias", rank)
    model.add(f"{block}.ssm_a", 1, rank)
    model.add(f"{block}.ssm_d", 1, rank)
    if norm:
        model.add(f"{block}.ssm_norm.weight", inner // groups, groups)
    model.add(f"{block}.ssm_out.weight", inner, model.embd)


def _falcon_h1(model):
    config = model.config
    inner, state, rank = config["mamba_d_ssm"], config["mamba_d_state"], config["mamba_n_heads"]
    groups, kernel = config["mamba_n_groups"], config["mamba_d_conv"]
    model.keys |= _state_keys(kernel, inner, state, rank, groups)
    model.ends()
    for layer in range(model.layers):
        model.norms(layer, "attn_norm")
        _scan2(model, layer, (inner, state, rank, groups, kernel), norm=config["mamba_rms_norm"])
        model.attention(layer)
        model.add(f"blk.{layer}.ffn_norm", model.embd)
        model.gated(layer, model.ff)


def _granite_hybrid(model):
    config = model.config
    inner = config["mamba_expand"] * model.embd
    state, rank = config["mamba_d_state"], config["mamba_n_heads"]
    groups, kernel = config["mamba_n_groups"], config["mamba_d_conv"]
    shared = config["shared_intermediate_size"]
    attends = [kind == "attention" for kind in config["layer_types"]]
    model.keys |= _state_keys(kernel, inner, state, rank, groups)
    model.keys["attention.head_count_kv"] = [model.kv if yes else 0 for yes in attends]
    if model.experts:
        model.keys |= {
            "expert_count": model.experts,
            "expert_used_count": config["num_experts_per_tok"],
            "expert_shared_feed_forward_length": shared,
        }
    model.ends()
    for layer, attending in enumerate(attends):
        model.norms(layer, "attn_norm", "ffn_norm")
        if attending:
            model.attention(layer)
        else:
            _scan2(model, layer, (inner, state, rank, groups, kernel), norm=True)
        if model.experts:
            model.mixture(layer, model.ff)
            model.gated(layer, shared, "_shexp")
        else:
            model.gated(layer, shared)


def _jamba(model):
    config = model.config
    inner, state = config["mamba_expand"] * model.embd, config["mamba_d_state"]
    rank, kernel = config["mamba_dt_rank"], config["mamba_d_conv"]
    attends = [
        layer % config["attn_layer_period"] == config["attn_layer_offset"]
        for layer in range(model.layers)
    ]
    model.keys |= _state_keys(kernel, inner, state, rank)
    model.keys |= {
        "attention.head_count_kv": [model.kv if yes else 0 for yes in attends],
        "expert_count": model.experts,
        "expert_used_count": config["num_experts_per_tok"],
    }
    model.ends()
    for layer, attending in enumerate(attends):
        block = f"blk.{layer}"
        model.norms(layer, "attn_norm", "ffn_norm")
        if attending:
            model.attention(layer)
        else:
            _scan(model, layer, inner, state, rank, kernel)
            model.add(f"{block}.ssm_dt_norm.weight", rank)
            model.add(f"{block}.ssm_b_norm.weight", state)
            model.add(f"{block}.ssm_c_norm.weight", state)
        if layer % config["expert_layer_period"] == config["expert_layer_offset"]:
            model.mixture(layer, model.ff)
        else:
            model.gated(layer, model.ff)


def _bert(model):
    ranks = model.config["architectures"][0].endswith("SequenceClassification")
    model.keys |= {
        "attention.layer_norm_epsilon": 1e-12,
        "attention.causal": False,
        "pooling_type": 4 if ranks else 1 if model.embd < 1000 else 2,
    }
    _encoder(model)
    model.add("position_embd.weight", model.embd, model.context)
    if ranks:
        model.add("cls.weight", model.embd, model.embd)
        model.add("cls.bias", model.embd)
        model.add("cls.output.weight", model.embd, 1)
        model.add("cls.output.bias", 1)
    for layer in range(model.layers):
        block = f"blk.{layer}"
        model.attention(layer, bias=True)
        model.add(f"{block}.attn_output.bias", model.embd)
        model.add(f"{block}.ffn_up.weight", model.embd, model.ff)
        model.add(f"{block}.ffn_up.bias", model.ff)
        model.add(f"{block}.ffn_down.weight", model.ff, model.embd)
        model.add(f"{block}.ffn_down.bias", model.embd)
        _after_norms(model, layer)


def _nomic_bert(model):
    model.keys |= {
        "attention.layer_norm_epsilon": 1e-12,
        "attention.causal": False,
        "pooling_type": 1,
    }
    _encoder(model)
    for layer in range(model.layers):
        model.fused_attention(layer)
        model.gated(layer, model.ff)
        _after_norms(model, layer)


def _encoder(model):
    model.plain["tokenizer.ggml.token_type_count"] = model.config.get("type_vocab_size", 1)
    model.ends(norm=False)
    model.add("token_types.weight", model.embd, model.config.get("type_vocab_size", 1))
    model.add("token_embd_norm.weight", model.embd)
    model.add("token_embd_norm.bias", model.embd)


def _after_norms(model, layer):
    for name in ("attn_output_norm", "layer_output_norm"):
        model.add(f"blk.{layer}.{name}.weight", model.embd)
        model.add(f"blk.{layer}.{name}.bias", model.embd)


_BUILDERS = {
    "bert": _bert,
    "chatglm": _chatglm,
    "deepseek2": _deepseek2,
    "falcon-h1": _falcon_h1,
    "gemma2": _gemma2,
    "gemma3": _gemma3,
    "glm4": _glm4,
    "glm4moe": _glm4moe,
    "gpt-oss": _gpt_oss,
    "granitehybrid": _granite_hybrid,
    "jamba": _jamba,
    "llama": _llama,
    "mamba": _mamba,
    "nomic-bert": _nomic_bert,
    "phi2": _phi2,
    "phi3": _phi3,
    "qwen2": _qwen2,
    "qwen2vl": _qwen2vl,
    "qwen3": _qwen3,
    "qwen3moe": _qwen3moe,
    "qwen3next": _qwen3next,
}
