"""Which layer of a model does what, and what its recurrent layers are made of: every family writes
it down in a way of its own, or only implies it."""

from collections.abc import Mapping

from aimindserve.core.errors import FormatError
from aimindserve.formats.config_families import Family
from aimindserve.formats.config_layout import Kind, Mixer
from aimindserve.formats.json_text import Keys

WIDTH_MAX = 2**24
CONTEXT_MAX = 2**40
LAYERS_MAX = 4_096
HEADS = ("num_attention_heads", "n_head", "num_heads", "n_heads", "decoder_attention_heads")

_KINDS: Mapping[str, Kind] = {
    "attention": Kind.ATTENTION,
    "full_attention": Kind.ATTENTION,
    "global": Kind.ATTENTION,
    "sliding_attention": Kind.WINDOW,
    "chunked_attention": Kind.WINDOW,
    "local": Kind.WINDOW,
    "linear_attention": Kind.RECURRENT,
    "mamba": Kind.RECURRENT,
    "mamba2": Kind.RECURRENT,
    "conv": Kind.RECURRENT,
    "recurrent": Kind.RECURRENT,
    "hybrid": Kind.BOTH,
    "mlp": Kind.FEED_FORWARD,
    "moe": Kind.FEED_FORWARD,
}
_LETTERS = {"M": "mamba", "*": "attention", "-": "mlp", "E": "moe"}
"""Nemotron-H writes its layers as one string."""


def listed_layers(keys: Keys) -> tuple[str, ...]:
    """A word per layer, where the file lists them."""
    pattern = keys.values.get("hybrid_override_pattern")
    if isinstance(pattern, str) and pattern:
        return tuple(_LETTERS.get(letter, letter) for letter in pattern[:LAYERS_MAX])
    return keys.texts("layers_block_type", "layer_types")


def kinds_of_layers(keys: Keys, rules: Family, layers: int) -> tuple[Kind, ...]:
    """What each layer does."""
    if rules.parallel:
        return (Kind.BOTH,) * layers
    if rules.every_layer_recurs:
        return (Kind.RECURRENT,) * layers
    named = tuple(_KINDS.get(word, Kind.ATTENTION) for word in listed_layers(keys))
    if named:
        if len(named) < layers:
            raise FormatError(f"config.json gives {len(named)} kinds for {layers} layers")
        return named[:layers]
    return tuple(_derived_kind(keys, rules, index) for index in range(layers))


def _derived_kind(keys: Keys, rules: Family, index: int) -> Kind:
    """The kind of a layer that the file does not list."""
    every = keys.count("full_attention_interval")
    period = keys.count("attn_layer_period")
    attended = keys.counts("attn_layer_indices")
    if rules.mixer == "delta" and every:
        return Kind.ATTENTION if index % every == every - 1 else Kind.RECURRENT
    if rules.mixer and period:
        offset = keys.count("attn_layer_offset")
        return Kind.ATTENTION if index % period == offset % period else Kind.RECURRENT
    if rules.mixer:
        return Kind.ATTENTION if index in attended else Kind.RECURRENT
    return Kind.WINDOW if _slides(keys, rules, index) else Kind.ATTENTION


def _slides(keys: Keys, rules: Family, index: int) -> bool:
    if not keys.count("sliding_window", limit=CONTEXT_MAX) or rules.encoder:
        return False
    if keys.has("use_sliding_window"):
        return keys.flag("use_sliding_window") and index >= keys.count("max_window_layers")
    pattern = keys.count("sliding_window_pattern", "_sliding_window_pattern")
    pattern = pattern or rules.window_pattern
    return pattern == 1 or (pattern > 1 and index % pattern < pattern - 1)


def window(keys: Keys, kinds: tuple[Kind, ...], rules: Family) -> int:
    """Tokens that windowed layers see; zero where there are none."""
    if Kind.WINDOW not in kinds or rules.encoder:
        return 0
    return keys.count("sliding_window", "attention_chunk_size", limit=CONTEXT_MAX)


def sparse_layers(keys: Keys, layers: int) -> tuple[bool, ...]:
    """Of each layer of a model with experts, whether it has them."""
    kinds = listed_layers(keys)
    if len(kinds) >= layers > 0 and "moe" in kinds:
        return tuple(kind == "moe" for kind in kinds[:layers])
    words = keys.texts("mlp_layer_types")
    if len(words) >= layers > 0:
        return tuple(word != "dense" for word in words[:layers])
    dense_first = keys.count("first_k_dense_replace")
    frequency = max(keys.count("moe_layer_freq", "moe_layer_frequency", default=1), 1)
    step = max(keys.count("decoder_sparse_step", "interleave_moe_layer_step", default=1), 1)
    period = max(keys.count("expert_layer_period", default=1), 1)
    offset = keys.count("expert_layer_offset")
    dense = frozenset(keys.counts("mlp_only_layers"))
    return tuple(
        index >= dense_first
        and index % frequency == 0
        and index not in dense
        and (index + 1) % step == 0
        and (index - offset) % period == 0
        for index in range(layers)
    )


def recurs(kinds: tuple[Kind, ...]) -> bool:
    """Whether any layer keeps a recurrent state."""
    return Kind.RECURRENT in kinds or Kind.BOTH in kinds


def mixer(keys: Keys, rules: Family, hidden: int) -> Mixer:
    """What recurrent layers are made of."""
    if rules.mixer == "delta":
        heads = keys.count("linear_num_value_heads", limit=WIDTH_MAX)
        length = keys.count("linear_value_head_dim", limit=WIDTH_MAX)
        return Mixer(
            inner=heads * length,
            state=0,
            kernel=keys.count("linear_conv_kernel_dim", limit=WIDTH_MAX),
            heads=heads,
            key_heads=keys.count("linear_num_key_heads", limit=WIDTH_MAX),
            key_length=keys.count("linear_key_head_dim", limit=WIDTH_MAX),
            value_length=length,
            conv_bias=False,
        )
    expand = keys.count("mamba_expand", "expand", default=2, limit=1024)
    inner = keys.count("mamba_d_ssm", "d_inner", limit=WIDTH_MAX)
    if not inner and rules.every_layer_recurs and rules.mixer == "mamba1":
        inner = keys.count("intermediate_size", limit=WIDTH_MAX)
    names = ("mamba_n_heads", "mamba_num_heads", *(HEADS if rules.every_layer_recurs else ()))
    heads = keys.count(*names, limit=WIDTH_MAX)
    head_length = keys.count("mamba_head_dim", limit=WIDTH_MAX)
    inner = inner or (0 if rules.every_layer_recurs else heads * head_length) or expand * hidden
    length = head_length or keys.count("head_dim", default=64, limit=WIDTH_MAX)
    rank = _whole(keys, "mamba_dt_rank", "time_step_rank") or -(-hidden // 16)
    return Mixer(
        inner=inner,
        state=keys.count("mamba_d_state", "ssm_state_size", "state_size", limit=WIDTH_MAX),
        kernel=keys.count("mamba_d_conv", "conv_kernel", default=4, limit=WIDTH_MAX),
        heads=heads or (inner // length if length else 0),
        groups=keys.count("mamba_n_groups", "n_groups", default=1, limit=WIDTH_MAX),
        rank=rank,
        conv_bias=keys.flag("mamba_conv_bias", "use_conv_bias", default=True),
        bias=keys.flag("mamba_proj_bias", "use_bias"),
        norm=keys.flag("mamba_rms_norm", "rms_norm", default=rules.mixer == "mamba2"),
    )


def _whole(keys: Keys, *names: str) -> int:
    """A count that may also be the word `auto`."""
    value = next((keys.values[name] for name in names if keys.has(name)), None)
    return 0 if isinstance(value, str) else keys.count(*names, limit=WIDTH_MAX)
