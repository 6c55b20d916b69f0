"""What families of models differ in, as one table: the rules that config.json does not spell out.

A `model_type` names a family. Everything that a configuration says itself is read by `config`; here
is only what its class in transformers (`models/<family>/configuration_*.py`, `modeling_*.py`) knows
by itself: defaults for keys that published files leave out, which projections have a bias, how many
norms a layer has, which layers see a window. A new family is a line here. Must not know files.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from aimindserve.core.facts import Category

Default = int | bool | str


@dataclass(frozen=True, slots=True)
class Family:
    """Rules of one family. None among the biases: the configuration's own key decides."""

    defaults: Mapping[str, Default] = field(default_factory=dict[str, Default])
    """Values of keys that a configuration may leave out."""
    category: Category = Category.LLM
    gated: bool = True
    """The feed-forward has three matrices (gate, up, down), not two."""
    qkv_bias: bool | None = None
    key_bias: bool = True
    """False: of queries, keys and values only the keys have none (Whisper)."""
    o_bias: bool | None = None
    mlp_bias: bool | None = None
    output_bias: bool = False
    norms: int = 2
    """Norms of a layer, over the hidden size."""
    norm_bias: bool = False
    final_norm: bool = True
    qk_norm: str = ""
    """Norm of queries and keys: `head` (over a head), `all` (over all heads)."""
    gated_query: bool = False
    """The query projection also makes a gate, as wide again."""
    sinks: bool = False
    """A learned number per head in every layer's softmax."""
    experts_biased: bool = False
    """Experts and router have biases."""
    score_correction: bool = False
    """The router keeps a correction per expert."""
    shared_gate: bool = False
    """The shared expert has a gate of one row."""
    mixer: str = ""
    """What recurrent layers are: `mamba1`, `mamba2`, `delta`."""
    mixer_norms: bool = False
    """The mixer norms its step, B and C (Jamba)."""
    feed_forward: bool = True
    """Recurrent layers have a feed-forward beside them."""
    parallel: bool = False
    """Every layer both attends and recurs (Falcon H1)."""
    every_layer_recurs: bool = False
    window_pattern: int = 0
    """Every n-th layer sees everything, the others the window; 1: all see the window; 0: the
    configuration says so itself or there is none."""
    rope_stretches: bool = True
    """`max_position_embeddings` is the length before rope scaling; Gemma 3 gives the one after."""
    encoder: bool = False
    """Reads the whole text at once and generates nothing: no KV cache."""
    pooler: bool = False
    """A square matrix on the first token (BERT)."""
    position_offset: int = 0
    """Learned positions that no token can have (RoBERTa starts counting after its padding)."""
    prediction_layers: int = 0
    """Stored layers that predict further tokens, where the configuration does not say."""
    prediction_embeds: bool = False
    """Those layers bring an embedding and an output of their own."""


_UNTIED: Mapping[str, Default] = {"tie_word_embeddings": False}
_TIED: Mapping[str, Default] = {"tie_word_embeddings": True}

_LLAMA = Family(_UNTIED)
_QWEN2 = Family(_UNTIED, qkv_bias=True, o_bias=False, mlp_bias=False)
_QWEN2_MOE = replace(_QWEN2, shared_gate=True)
_QWEN3 = Family({**_UNTIED, "head_dim": 128}, mlp_bias=False, qk_norm="head")
_QWEN3_MOE = replace(_QWEN3, defaults=_UNTIED)
_QWEN3_NEXT = replace(
    _QWEN3,
    defaults={**_UNTIED, "head_dim": 256, "full_attention_interval": 4},
    gated_query=True,
    shared_gate=True,
    mixer="delta",
    prediction_layers=1,
)
_GEMMA = Family({**_TIED, "head_dim": 256})
_GEMMA2 = replace(_GEMMA, norms=4, window_pattern=2)
_GEMMA3 = Family(
    {
        **_TIED,
        "head_dim": 256,
        "hidden_size": 2304,
        "intermediate_size": 9216,
        "num_hidden_layers": 26,
        "num_attention_heads": 8,
        "num_key_value_heads": 4,
        "vocab_size": 262208,
        "max_position_embeddings": 131072,
        "sliding_window": 4096,
    },
    norms=4,
    qk_norm="head",
    window_pattern=6,
    rope_stretches=False,
)
_MISTRAL = Family(_UNTIED, window_pattern=1)
_PHI = Family(
    _UNTIED,
    gated=False,
    qkv_bias=True,
    o_bias=True,
    mlp_bias=True,
    output_bias=True,
    norms=1,
    norm_bias=True,
)
_PHI3 = Family(_UNTIED, qkv_bias=False, o_bias=False, window_pattern=1)
_GLM = Family({**_UNTIED, "head_dim": 128, "attention_bias": True}, o_bias=False, mlp_bias=False)
_CHATGLM = replace(_GLM, defaults={**_UNTIED, "attention_bias": True})
_DEEPSEEK2 = Family(_UNTIED, mlp_bias=False, prediction_embeds=True)
_DEEPSEEK3 = replace(_DEEPSEEK2, score_correction=True)
_GLM4_MOE = replace(
    _GLM, defaults=_UNTIED, score_correction=True, prediction_embeds=True, qk_norm="key"
)
_GPT_OSS = Family(
    {**_UNTIED, "head_dim": 64, "attention_bias": True},
    sinks=True,
    experts_biased=True,
    window_pattern=2,
)
_MAMBA = Family(
    {**_TIED, "state_size": 16, "conv_kernel": 4, "expand": 2},
    mixer="mamba1",
    norms=1,
    feed_forward=False,
    every_layer_recurs=True,
)
_MAMBA2 = replace(
    _MAMBA, defaults={**_MAMBA.defaults, "state_size": 128, "n_groups": 8}, mixer="mamba2"
)
_JAMBA = Family(
    {
        **_UNTIED,
        "attn_layer_period": 8,
        "attn_layer_offset": 4,
        "expert_layer_period": 2,
        "expert_layer_offset": 1,
    },
    mixer="mamba1",
    mixer_norms=True,
)
_FALCON_H1 = Family(_UNTIED, mixer="mamba2", parallel=True)
_HYBRID2 = Family({**_UNTIED, "mamba_rms_norm": True}, mixer="mamba2")
_GRANITE_HYBRID = replace(_HYBRID2, defaults={**_TIED, "mamba_rms_norm": True})
_NEMOTRON_H = replace(_HYBRID2, gated=False, norms=1)
_BERT = Family(
    {**_TIED, "max_position_embeddings": 512, "type_vocab_size": 2},
    category=Category.EMBEDDING,
    gated=False,
    qkv_bias=True,
    o_bias=True,
    mlp_bias=True,
    norm_bias=True,
    final_norm=False,
    encoder=True,
    pooler=True,
)
_ROBERTA = replace(_BERT, position_offset=2)
_NOMIC = replace(
    _BERT,
    defaults={**_TIED, "type_vocab_size": 2},
    gated=True,
    qkv_bias=None,
    o_bias=None,
    mlp_bias=None,
    pooler=False,
)
_MODERN_BERT = Family(
    {**_TIED, "type_vocab_size": 0},
    category=Category.EMBEDDING,
    encoder=True,
)
_GTE = replace(_BERT, defaults={**_TIED, "type_vocab_size": 0}, gated=True, pooler=False)
_WHISPER = Family(
    _TIED,
    category=Category.SPEECH_TO_TEXT,
    gated=False,
    qkv_bias=True,
    key_bias=False,
    o_bias=True,
    mlp_bias=True,
    norms=2,
    norm_bias=True,
)
_GPT2 = Family(_TIED, gated=False, qkv_bias=True, o_bias=True, mlp_bias=True, norm_bias=True)
_NEOX = replace(_GPT2, defaults=_UNTIED)


@dataclass(frozen=True, slots=True)
class VisionFamily:
    """Rules of one kind of image encoder."""

    gated: bool = False
    biased: bool = True
    norm_bias: bool = True
    patch_bias: bool = True
    final_norm: bool = True
    learned_positions: bool = True
    projector: str = "two_layers"
    """From its width to the language model's: `two_layers`, `matrix` (Gemma 3: one, and a norm),
    `merger` (Qwen: neighbours joined, then two layers), `patch_merger` (Mistral: neighbours joined
    to one patch, then two layers, no biases)."""


_QWEN_VISION = VisionFamily(
    patch_bias=False, final_norm=False, learned_positions=False, projector="merger"
)

VISION_FAMILIES: Mapping[str, VisionFamily] = {
    "pixtral": VisionFamily(
        gated=True,
        biased=False,
        norm_bias=False,
        patch_bias=False,
        learned_positions=False,
        projector="patch_merger",
    ),
    "qwen2_5_omni_vision_encoder": replace(_QWEN_VISION, gated=True, norm_bias=False),
    "qwen2_5_vl": replace(_QWEN_VISION, gated=True, norm_bias=False),
    "qwen2_vl": _QWEN_VISION,
    "qwen3_5": replace(_QWEN_VISION, patch_bias=True, learned_positions=True),
    "qwen3_5_moe": replace(_QWEN_VISION, patch_bias=True, learned_positions=True),
    "qwen3_vl": replace(_QWEN_VISION, patch_bias=True, learned_positions=True),
    "qwen3_vl_moe": replace(_QWEN_VISION, patch_bias=True, learned_positions=True),
    "siglip_vision_model": VisionFamily(projector="matrix"),
}
"""Image encoders by their `model_type`; the others are a plain CLIP."""

FAMILIES: Mapping[str, Family] = {
    "apertus": Family(_UNTIED, gated=False, qk_norm="head"),
    "arcee": Family(_UNTIED, gated=False),
    "bamba": _HYBRID2,
    "bert": _BERT,
    "bitnet": Family(_TIED),
    "camembert": _ROBERTA,
    "chatglm": _CHATGLM,
    "cohere": Family(_TIED, norms=1),
    "cohere2": Family(_TIED, norms=1, window_pattern=4),
    "cwm": _LLAMA,
    "deepseek": _DEEPSEEK2,
    "deepseek_v2": _DEEPSEEK2,
    "deepseek_v3": _DEEPSEEK3,
    "deepseek_v32": _DEEPSEEK3,
    "ernie4_5": Family(_TIED),
    "exaone4": Family(_UNTIED, qk_norm="head"),
    "exaone_moe": Family(_UNTIED, qk_norm="head", score_correction=True),
    "falcon": Family(_TIED, gated=False, norms=1, norm_bias=True),
    "falcon_h1": _FALCON_H1,
    "falcon_mamba": replace(_MAMBA, defaults={**_MAMBA.defaults, **_UNTIED}),
    "gemma": _GEMMA,
    "gemma2": _GEMMA2,
    "gemma3_text": _GEMMA3,
    "glm": _GLM,
    "glm4": replace(_GLM, norms=4),
    "glm4_moe": _GLM4_MOE,
    "glm4_moe_lite": _DEEPSEEK3,
    "glm_moe_dsa": _DEEPSEEK3,
    "gpt2": _GPT2,
    "gpt_bigcode": _GPT2,
    "gpt_neox": _NEOX,
    "gpt_oss": _GPT_OSS,
    "granite": _LLAMA,
    "granitemoe": _LLAMA,
    "granitemoehybrid": _GRANITE_HYBRID,
    "granitemoeshared": _LLAMA,
    "helium": _LLAMA,
    "hy_v3": Family(_UNTIED, qk_norm="head", score_correction=True),
    "jamba": _JAMBA,
    "kimi_k2": _DEEPSEEK3,
    "llama": _LLAMA,
    "llama4_text": Family({**_UNTIED, "n_shared_experts": 1}),
    "mamba": _MAMBA,
    "mamba2": _MAMBA2,
    "minicpm3": Family(_TIED),
    "minimax_m2": Family(_UNTIED, qk_norm="all", score_correction=True),
    "ministral": _MISTRAL,
    "ministral3": _MISTRAL,
    "mistral": _MISTRAL,
    "mixtral": _MISTRAL,
    "modernbert": _MODERN_BERT,
    "mpnet": replace(_ROBERTA, defaults={**_TIED, "type_vocab_size": 0}),
    "nemotron_h": _NEMOTRON_H,
    "new": _GTE,
    "nomic_bert": _NOMIC,
    "olmo": Family(_UNTIED, norms=0),
    "olmo2": Family(_UNTIED, qk_norm="all"),
    "olmo3": Family(_UNTIED, qk_norm="all"),
    "olmoe": Family(_UNTIED, qk_norm="all"),
    "phi": _PHI,
    "phi3": _PHI3,
    "phimoe": Family(_UNTIED, norm_bias=True, output_bias=True),
    "qwen2": _QWEN2,
    "qwen2_moe": _QWEN2_MOE,
    "qwen3": _QWEN3,
    "qwen3_5_moe_text": replace(_QWEN3_NEXT, prediction_layers=0),
    "qwen3_5_text": replace(_QWEN3_NEXT, prediction_layers=0),
    "qwen3_moe": _QWEN3_MOE,
    "qwen3_next": _QWEN3_NEXT,
    "roberta": _ROBERTA,
    "seed_oss": Family({**_UNTIED, "head_dim": 128, "attention_bias": True}, o_bias=False),
    "smollm3": Family(_TIED),
    "solar_open": Family(_UNTIED, score_correction=True),
    "stablelm": Family(_UNTIED, norm_bias=True),
    "starcoder2": Family(
        _TIED, gated=False, qkv_bias=True, o_bias=True, mlp_bias=True, norm_bias=True
    ),
    "vaultgemma": _GEMMA,
    "whisper": _WHISPER,
    "xlm-roberta": _ROBERTA,
}

SAME_AS: Mapping[str, str] = {
    "aya_vision": "cohere2",
    "gemma3": "gemma3_text",
    "glm4v": "glm4",
    "glm4v_text": "glm4",
    "glm4v_moe": "glm4_moe",
    "glm4v_moe_text": "glm4_moe",
    "idefics3": "llama",
    "kimi_vl": "deepseek_v3",
    "llama4": "llama4_text",
    "llava": "llama",
    "llava_next": "llama",
    "llava_onevision": "qwen2",
    "mistral3": "mistral",
    "paligemma": "gemma",
    "phi3_v": "phi3",
    "phi4mm": "phi3",
    "pixtral": "mistral",
    "qwen2_5_omni": "qwen2",
    "qwen2_5_omni_text": "qwen2",
    "qwen2_5_vl": "qwen2",
    "qwen2_5_vl_text": "qwen2",
    "qwen2_audio": "qwen2",
    "qwen2_vl": "qwen2",
    "qwen2_vl_text": "qwen2",
    "qwen3_5": "qwen3_5_text",
    "qwen3_5_moe": "qwen3_5_moe_text",
    "qwen3_omni_moe_text": "qwen3_moe",
    "qwen3_vl": "qwen3",
    "qwen3_vl_moe": "qwen3_moe",
    "qwen3_vl_moe_text": "qwen3_moe",
    "qwen3_vl_text": "qwen3",
    "smolvlm": "llama",
}
"""Wrappers and their text models, by the family that the text model is of when it does not say."""

OTHER_CATEGORIES: Mapping[str, Category] = {
    "bark": Category.TEXT_TO_SPEECH,
    "csm": Category.TEXT_TO_SPEECH,
    "dia": Category.TEXT_TO_SPEECH,
    "lasr_ctc": Category.SPEECH_TO_TEXT,
    "moonshine": Category.SPEECH_TO_TEXT,
    "parakeet_ctc": Category.SPEECH_TO_TEXT,
    "parler_tts": Category.TEXT_TO_SPEECH,
    "speech_to_text": Category.SPEECH_TO_TEXT,
    "speecht5": Category.TEXT_TO_SPEECH,
    "vits": Category.TEXT_TO_SPEECH,
    "wav2vec2": Category.SPEECH_TO_TEXT,
}
"""What models are for whose shape is not known here."""

UNKNOWN = Family(_UNTIED)
"""For families that are not listed: a plain decoder, a matrix counted once too often rather than
once too little."""


def family(model_type: str) -> tuple[Family, bool]:
    """The rules for a model type, and whether it is a known one."""
    found = FAMILIES.get(SAME_AS.get(model_type, model_type))
    return (found, True) if found is not None else (UNKNOWN, False)
