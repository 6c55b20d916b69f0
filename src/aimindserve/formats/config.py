"""What a config.json says of a model's build, in one spelling for all families.

Two steps: find the language model's part of the file (wrappers nest it), then read every number by
all the names it goes by, with the family's defaults for what the file leaves out. The result is a
Layout, from which `parameters` counts weights and `hugging_face` makes facts. Nothing here opens
files or imports what a repository brings.
"""

from collections.abc import Mapping
from typing import Any

from aimindserve.core.errors import FormatError
from aimindserve.formats.config_families import SAME_AS, Family, family
from aimindserve.formats.config_layers import (
    CONTEXT_MAX,
    HEADS,
    LAYERS_MAX,
    WIDTH_MAX,
    kinds_of_layers,
    listed_layers,
    mixer,
    recurs,
    sparse_layers,
    window,
)
from aimindserve.formats.config_layout import Kind, Layout, Vision
from aimindserve.formats.json_text import Keys

VOCABULARY_MAX = 2**28
EXPERTS_MAX = 2**16

HIDDEN = ("hidden_size", "n_embd", "d_model", "model_dim", "embed_dim", "dim")
LAYERS = ("num_hidden_layers", "n_layer", "num_layers", "n_layers", "decoder_layers")
KV_HEADS = ("num_key_value_heads", "num_kv_heads", "multi_query_group_num", "n_head_kv")
HEAD_LENGTH = ("head_dim", "kv_channels", "attention_head_dim")
FEED_FORWARD = (
    "intermediate_size_mlp",
    "intermediate_size",
    "n_inner",
    "ffn_hidden_size",
    "decoder_ffn_dim",
    "ffn_dim",
    "d_ff",
)
VOCABULARY = ("vocab_size", "padded_vocab_size", "n_vocab")
EXPERTS = ("num_experts", "num_local_experts", "n_routed_experts", "moe_num_experts")
EXPERTS_USED = (
    "num_experts_per_tok",
    "num_experts_per_token",
    "experts_per_token",
    "moe_topk",
    "moe_k",
)

_TEXT_PARTS = (
    "text_config",
    "llm_config",
    "language_config",
    "thinker_config",
    "text_model_config",
)
_VISION_PARTS = ("vision_config", "vision_tower_config", "vit_config", "visual", "visual_config")
_AUDIO_PARTS = ("audio_config", "audio_encoder_config", "speech_config", "sound_config")
_NESTING_MAX = 4


_ATTENDING = frozenset({Kind.ATTENTION, Kind.WINDOW, Kind.BOTH})


def text_keys(root: Keys) -> Keys:
    """The language model's keys: its own object's where the file nests it, over the file's own."""
    merged: dict[str, Any] = dict(root.values)
    here = root
    for _ in range(_NESTING_MAX):
        inner = next((found for part in _TEXT_PARTS if (found := here.inner(part))), None)
        if inner is None:
            break
        nested = {key: value for key, value in inner.values.items() if value is not None}
        # The wrapper's type decides the family only where the text model does not tell its own.
        merged = {**merged, **nested}
        here = inner
    return Keys(merged, "config.json")


def read_layout(root: Keys) -> Layout:
    """The build that a config.json describes. Raises FormatError for what contradicts itself."""
    keys = text_keys(root)
    model_type = _model_type(root, keys)
    rules, known = family(model_type)
    keys = Keys({**rules.defaults, **_told(keys.values)}, "config.json")
    layers = keys.count(*LAYERS, "encoder_layers", limit=LAYERS_MAX) or len(listed_layers(keys))
    heads = keys.count(*HEADS, "encoder_attention_heads", limit=WIDTH_MAX)
    hidden = keys.count(*HIDDEN, limit=WIDTH_MAX)
    experts = keys.count(*EXPERTS, limit=EXPERTS_MAX)
    kinds = kinds_of_layers(keys, rules, layers)
    if not any(kind in _ATTENDING for kind in kinds):
        heads = 0
    shared = _shared(keys)
    feed_forward = _feed_forward(keys, hidden, rules)
    if experts <= 1 and keys.has("shared_intermediate_size"):
        # Granite's hybrids without experts keep only what every token passes.
        feed_forward, shared = shared, 0
    return Layout(
        model_type=model_type,
        architecture_class=next(iter(root.texts("architectures", limit=64)), ""),
        rules=rules,
        known=known,
        hidden=hidden,
        layers=layers,
        heads=heads,
        kv_heads=_kv_heads(keys, heads) if heads else 0,
        key_length=_key_length(keys, hidden, heads),
        value_length=_value_length(keys, hidden, heads),
        feed_forward=feed_forward,
        vocabulary=keys.count(*VOCABULARY, limit=VOCABULARY_MAX),
        tied=keys.flag("tie_word_embeddings", "tie_embedding"),
        kinds=kinds,
        sparse=sparse_layers(keys, layers) if experts > 1 else (False,) * layers,
        window=window(keys, kinds, rules),
        experts=experts if experts > 1 else 0,
        experts_used=keys.count(*EXPERTS_USED, limit=EXPERTS_MAX) if experts > 1 else 0,
        expert_feed_forward=_expert_feed_forward(keys, feed_forward) if experts > 1 else 0,
        shared_feed_forward=shared,
        latent=keys.count("kv_lora_rank", limit=WIDTH_MAX),
        latent_query=keys.count("q_lora_rank", limit=WIDTH_MAX),
        rope_length=keys.count("qk_rope_head_dim", limit=WIDTH_MAX),
        qkv_bias=_bias(rules.qkv_bias, keys, "attention_bias", "qkv_proj_bias", "add_qkv_bias"),
        o_bias=_bias(rules.o_bias, keys, "attention_bias"),
        mlp_bias=_bias(rules.mlp_bias, keys, "mlp_bias", "mlp_fc1_bias"),
        indexer=_indexer(keys, hidden),
        qk_norm=_qk_norm(rules, keys),
        mixer=mixer(keys, rules, hidden) if recurs(kinds) else None,
        positions=_learned_positions(keys, rules),
        token_types=keys.count("type_vocab_size", limit=WIDTH_MAX) if rules.encoder else 0,
        prediction_layers=keys.count(
            "num_nextn_predict_layers",
            "mtp_num_hidden_layers",
            default=rules.prediction_layers,
            limit=LAYERS_MAX,
        ),
        encoder_layers=_encoder_layers(keys),
        encoder_positions=keys.count("max_source_positions", limit=WIDTH_MAX),
        mel_bins=keys.count("num_mel_bins", limit=WIDTH_MAX),
        labels=_labels(root),
        vision=_vision(root, model_type),
        audio=_nested(root, _AUDIO_PARTS) is not None or keys.has("num_mel_bins"),
    )


def _told(values: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in values.items() if value is not None}


def _model_type(root: Keys, keys: Keys) -> str:
    """The text model's type; the wrapper's where the text model's is not known here."""
    inner = keys.text("model_type")
    outer = root.text("model_type")
    if not inner and not outer:
        # Old files name only the class: MistralForCausalLM.
        name = next(iter(root.texts("architectures", limit=64)), "")
        return name.partition("For")[0].removesuffix("Model").lower()
    if inner and family(inner)[1]:
        return SAME_AS.get(inner, inner)
    return SAME_AS.get(outer, outer) if outer and family(outer)[1] else inner or outer


def _feed_forward(keys: Keys, hidden: int, rules: Family) -> int:
    if not rules.feed_forward:
        return 0
    found = keys.count(*FEED_FORWARD, limit=WIDTH_MAX)
    # GPT-2's `n_inner: null` means four times the width.
    return found or (4 * hidden if not rules.gated and not keys.has(*FEED_FORWARD) else 0)


def _kv_heads(keys: Keys, heads: int) -> int:
    if keys.flag("multi_query"):
        return 1
    return keys.count(*KV_HEADS, default=heads, limit=WIDTH_MAX)


def _key_length(keys: Keys, hidden: int, heads: int) -> int:
    if keys.has("kv_lora_rank"):
        return keys.count("qk_nope_head_dim", limit=WIDTH_MAX) + keys.count(
            "qk_rope_head_dim", limit=WIDTH_MAX
        )
    return keys.count(*HEAD_LENGTH, limit=WIDTH_MAX) or (hidden // heads if heads else 0)


def _value_length(keys: Keys, hidden: int, heads: int) -> int:
    if keys.has("v_head_dim"):
        return keys.count("v_head_dim", limit=WIDTH_MAX)
    return _key_length(keys, hidden, heads)


def _indexer(keys: Keys, hidden: int) -> int:
    """DeepSeek's sparse attention: a small second attention chooses what the first one sees."""
    heads = keys.count("index_n_heads", limit=WIDTH_MAX)
    length = keys.count("index_head_dim", limit=WIDTH_MAX)
    query = keys.count("q_lora_rank", limit=WIDTH_MAX)
    return query * heads * length + hidden * (length + heads) + 2 * length if heads else 0


def _expert_feed_forward(keys: Keys, feed_forward: int) -> int:
    # Llama 4 calls the experts' width intermediate_size and that of plain layers …_mlp.
    names = ("moe_intermediate_size", "intermediate_size")
    return keys.count(*names, default=feed_forward, limit=WIDTH_MAX)


def _shared(keys: Keys) -> int:
    told = keys.count(
        "shared_expert_intermediate_size",
        "shared_intermediate_size",
        "moe_shared_expert_intermediate_size",
        limit=WIDTH_MAX,
    )
    count = keys.count("n_shared_experts", "num_shared_experts", limit=EXPERTS_MAX)
    if keys.has("moe_shared_expert_intermediate_size"):
        return told * max(count, 1)
    return told or count * _expert_feed_forward(keys, 0)


def _bias(rule: bool | None, keys: Keys, *names: str) -> bool:
    return keys.flag(*names) if rule is None else rule


def _qk_norm(rules: Family, keys: Keys) -> str:
    if rules.qk_norm == "key":
        return "head" if keys.flag("use_qk_norm") else ""
    return rules.qk_norm


def _learned_positions(keys: Keys, rules: Family) -> int:
    relative = keys.text("position_embedding_type", default="absolute") not in ("absolute", "")
    rotary = keys.has("rotary_emb_fraction", "rope_theta", "global_rope_theta", "rotary_pct")
    if relative or rotary or not (rules.norm_bias or keys.has("max_target_positions")):
        return 0
    if not rules.encoder and not keys.has("n_positions", "max_target_positions"):
        return 0
    return keys.count(
        "max_position_embeddings", "n_positions", "max_target_positions", limit=CONTEXT_MAX
    )


def _encoder_layers(keys: Keys) -> int:
    both = keys.has("encoder_layers") and keys.has("decoder_layers", "num_hidden_layers")
    return keys.count("encoder_layers", limit=LAYERS_MAX) if both else 0


def _labels(root: Keys) -> int:
    names = root.inner("id2label")
    if not any("Classification" in name for name in root.texts("architectures", limit=64)):
        return 0
    return len(names.values) if names else root.count("num_labels", default=2, limit=WIDTH_MAX)


def _nested(root: Keys, parts: tuple[str, ...]) -> Keys | None:
    here: Keys | None = root
    for _ in range(_NESTING_MAX):
        if here is None:
            return None
        found = next((inner for part in parts if (inner := here.inner(part))), None)
        if found is not None:
            return found
        here = here.inner("thinker_config")
    return None


def _vision(root: Keys, model_type: str) -> Vision | None:
    keys = _nested(root, _VISION_PARTS)
    if keys is None:
        return None
    kind = keys.text("model_type") or root.text("model_type") or model_type
    # Qwen2-VL calls the encoder's own width embed_dim and what it hands over hidden_size.
    hidden = keys.count("embed_dim", "hidden_size", "width", limit=WIDTH_MAX)
    ratio = keys.number("mlp_ratio", default=4.0)
    output = keys.count("out_hidden_size", "projection_dim", limit=WIDTH_MAX)
    if keys.has("embed_dim"):
        output = keys.count("hidden_size", limit=WIDTH_MAX)
    patch = _side(keys, "patch_size", 14)
    channels = keys.count("in_chans", "in_channels", "num_channels", default=3, limit=64)
    image = _side(keys, "image_size", 0)
    frames = keys.count("temporal_patch_size", default=1, limit=64)
    return Vision(
        model_type=kind.removesuffix("_vision"),
        hidden=hidden,
        layers=keys.count("depth", "num_hidden_layers", "layers", limit=LAYERS_MAX),
        feed_forward=keys.count("intermediate_size", limit=WIDTH_MAX) or _times(hidden, ratio),
        patch_elements=channels * frames * patch * patch,
        positions=keys.count("num_position_embeddings", limit=CONTEXT_MAX)
        or ((image // patch) ** 2 if patch and "rope" not in kind else 0),
        output=output,
        merge=keys.count("spatial_merge_size", limit=64)
        or root.count("spatial_merge_size", default=1, limit=64),
        further_mergers=len(keys.counts("deepstack_visual_indexes")),
    )


def _times(width: int, ratio: float) -> int:
    if not 0 <= ratio <= 1024:
        raise FormatError(f"mlp_ratio in config.json is {ratio:.6g}, which makes no sense")
    return int(width * ratio)


def _side(keys: Keys, name: str, default: int) -> int:
    """A side of a square, which some families write as a pair."""
    value = keys.values.get(name)
    if isinstance(value, list):
        sides = keys.counts(name)
        if max(sides, default=0) > 2**16:
            raise FormatError(f"{name} in config.json is {max(sides)}")
        return max(sides, default=default)
    return keys.count(name, default=default, limit=2**16)
