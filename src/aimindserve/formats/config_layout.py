"""A language model's build in one spelling for all families: what `config` reads from a config.json
and `parameters` counts. Values only."""

from dataclasses import dataclass
from enum import Enum

from aimindserve.formats.config_families import Family


class Kind(str, Enum):
    """How a layer mixes tokens."""

    ATTENTION = "attention"
    WINDOW = "window"
    """Attends to the last tokens only."""
    RECURRENT = "recurrent"
    BOTH = "both"
    """Attends and recurs."""
    FEED_FORWARD = "feed_forward"
    """Does not mix at all (Nemotron-H)."""


@dataclass(frozen=True, slots=True)
class Mixer:
    """A recurrent layer's sizes, in elements."""

    inner: int
    state: int
    kernel: int
    heads: int = 0
    groups: int = 1
    rank: int = 0
    """Of the time step (Mamba 1)."""
    key_heads: int = 0
    key_length: int = 0
    value_length: int = 0
    conv_bias: bool = True
    bias: bool = False
    norm: bool = False


@dataclass(frozen=True, slots=True)
class Vision:
    """An encoder of images: a transformer over patches."""

    model_type: str
    hidden: int
    layers: int
    feed_forward: int
    patch_elements: int
    positions: int
    output: int
    """Width of what it hands to the language model; zero: the language model's own."""
    merge: int
    """Patches of one side that become one token."""
    further_mergers: int
    """Ways into later layers of the language model (Qwen3-VL's deep stack)."""


@dataclass(frozen=True, slots=True)
class Layout:
    """A language model's build. Widths are elements, counts are counts; zero: there is none."""

    model_type: str
    architecture_class: str
    rules: Family
    known: bool
    hidden: int
    layers: int
    heads: int
    kv_heads: int
    key_length: int
    value_length: int
    feed_forward: int
    vocabulary: int
    tied: bool
    kinds: tuple[Kind, ...]
    """Of each layer."""
    sparse: tuple[bool, ...]
    """Of each layer: whether its feed-forward is made of experts."""
    window: int
    experts: int
    experts_used: int
    expert_feed_forward: int
    shared_feed_forward: int
    latent: int
    latent_query: int
    rope_length: int
    indexer: int
    """Parameters of a layer's sparse-attention indexer."""
    qkv_bias: bool
    o_bias: bool
    mlp_bias: bool
    qk_norm: str
    mixer: Mixer | None
    positions: int
    """Learned ones."""
    token_types: int
    prediction_layers: int
    encoder_layers: int
    """Of an encoder beside the decoder (Whisper)."""
    encoder_positions: int
    mel_bins: int
    labels: int
    """Outputs of a head that classifies."""
    vision: Vision | None
    audio: bool
