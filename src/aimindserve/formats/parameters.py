"""How many parameters a model has, by part, from its build alone.

The arithmetic of the modules in transformers (`models/<family>/modeling_*.py`): every matrix, bias
and norm that a checkpoint of the family holds. Used where no list of tensors is there, and to cut
what is known of a whole model into parts. Held against published counts by the golden models.
Counts parameters, never bytes: `quantization.stored_bytes` turns one into the other.
"""

from dataclasses import dataclass
from functools import reduce

from aimindserve.core.facts import WeightParts
from aimindserve.formats.config_families import VISION_FAMILIES, VisionFamily
from aimindserve.formats.config_layout import Kind, Layout, Mixer, Vision

_ATTENDS = frozenset({Kind.ATTENTION, Kind.WINDOW, Kind.BOTH})
_RECURS = frozenset({Kind.RECURRENT, Kind.BOTH})


@dataclass(frozen=True, slots=True)
class Counts:
    """Parameters of a model."""

    outside: WeightParts
    """What is in no layer: embedding, output, vision, further-token layers."""
    layers: tuple[WeightParts, ...]

    @property
    def parts(self) -> WeightParts:
        """The whole model."""
        return reduce(added, self.layers, self.outside)

    @property
    def total(self) -> int:
        """All parameters, without the layers that predict further tokens."""
        parts = self.parts
        return parts.total - parts.prediction


def added(one: WeightParts, other: WeightParts) -> WeightParts:
    """Part by part."""
    return WeightParts(
        **{part: getattr(one, part) + getattr(other, part) for part in WeightParts.__slots__}
    )


def count_parameters(layout: Layout, *, generates: bool = True) -> Counts:
    """The parameters of each layer and of what is outside them.

    `generates=False`: the checkpoint of an embedding model, which stores no output matrix although
    its configuration is that of a language model.
    """
    made: dict[tuple[Kind, bool], WeightParts] = {}
    layers: list[WeightParts] = []
    for kind, sparse in zip(layout.kinds, layout.sparse, strict=True):
        if (kind, sparse) not in made:
            made[kind, sparse] = _layer(layout, kind, sparse=sparse)
        layers.append(made[kind, sparse])
    return Counts(_outside(layout, generates=generates), tuple(layers))


def _layer(layout: Layout, kind: Kind, *, sparse: bool) -> WeightParts:
    parts = WeightParts()
    if kind in _ATTENDS:
        parts = added(parts, _latent(layout) if layout.latent else _attention(layout))
        if layout.encoder_layers:
            # A decoder beside an encoder attends twice: to itself and to what was heard.
            parts = added(parts, added(_attention(layout), WeightParts(replicated=_norm(layout))))
    if kind in _RECURS and layout.mixer is not None:
        parts = added(parts, WeightParts(recurrent=_mixer(layout, layout.mixer)))
    if kind is Kind.FEED_FORWARD or not layout.rules.mixer or layout.rules.norms > 1:
        parts = added(parts, _experts(layout) if sparse else _dense(layout, layout.feed_forward))
    return added(parts, WeightParts(replicated=layout.rules.norms * _norm(layout)))


def _norm(layout: Layout) -> int:
    return layout.hidden * (2 if layout.rules.norm_bias else 1)


def _attention(layout: Layout) -> WeightParts:
    queries = layout.heads * layout.key_length * (2 if layout.rules.gated_query else 1)
    pairs = layout.kv_heads * (layout.key_length + layout.value_length)
    bias = 1 if layout.qkv_bias else 0
    keyless = 0 if layout.rules.key_bias else layout.kv_heads * layout.key_length
    whole = layout.hidden if layout.o_bias else 0
    whole += layout.heads if layout.rules.sinks else 0
    if layout.qk_norm == "head":
        whole += 2 * layout.key_length
    elif layout.qk_norm:
        whole += (layout.heads + layout.kv_heads) * layout.key_length
    return WeightParts(
        attention_q=(layout.hidden + bias) * queries,
        attention_kv=(layout.hidden + bias) * pairs - bias * keyless,
        attention_o=layout.heads * layout.value_length * layout.hidden,
        replicated=whole,
    )


def _latent(layout: Layout) -> WeightParts:
    """DeepSeek's attention: the projections into the latent space are whole on every rank."""
    query = layout.heads * layout.key_length
    down = layout.hidden * (layout.latent + layout.rope_length) + layout.latent + layout.indexer
    if layout.latent_query:
        down += layout.hidden * layout.latent_query + layout.latent_query
    plain = layout.key_length - layout.rope_length
    return WeightParts(
        attention_q=(layout.latent_query or layout.hidden) * query,
        attention_kv=layout.latent * layout.heads * (plain + layout.value_length),
        attention_o=layout.heads * layout.value_length * layout.hidden,
        replicated=down,
    )


def _dense(layout: Layout, width: int) -> WeightParts:
    inward = 2 if layout.rules.gated else 1
    matrices = (inward + 1) * layout.hidden * width
    bias = inward * width + layout.hidden if layout.mlp_bias and width else 0
    if layout.rules.gated and layout.rules.encoder and layout.mlp_bias:
        bias = layout.hidden  # GTE: only the way back has one.
    return WeightParts(mlp=matrices + bias)


def _experts(layout: Layout) -> WeightParts:
    width = layout.expert_feed_forward
    inward = 2 if layout.rules.gated else 1
    each = (inward + 1) * layout.hidden * width
    router = layout.hidden * layout.experts
    if layout.rules.experts_biased:
        each += inward * width + layout.hidden
        router += layout.experts
    if layout.rules.score_correction:
        router += layout.experts
    if layout.rules.shared_gate:
        router += layout.hidden
    shared = (inward + 1) * layout.hidden * layout.shared_feed_forward
    return WeightParts(mlp=shared, experts=layout.experts * each, router=router)


def _mixer(layout: Layout, mixer: Mixer) -> int:
    kind = layout.rules.mixer
    if kind == "delta":
        return _delta(layout.hidden, mixer)
    return _mamba1(layout, mixer) if kind == "mamba1" else _mamba2(layout.hidden, mixer)


def _mamba1(layout: Layout, mixer: Mixer) -> int:
    inner, state, rank = mixer.inner, mixer.state, mixer.rank
    total = 3 * layout.hidden * inner + inner * mixer.kernel
    total += inner * (rank + 2 * state) + (rank + 1) * inner + inner * state + inner
    if mixer.conv_bias:
        total += inner
    if mixer.bias:
        total += 2 * inner + layout.hidden
    return total + (rank + 2 * state if layout.rules.mixer_norms else 0)


def _mamba2(hidden: int, mixer: Mixer) -> int:
    channels = mixer.inner + 2 * mixer.groups * mixer.state
    total = hidden * (mixer.inner + channels + mixer.heads) + mixer.inner * hidden
    total += channels * mixer.kernel + 3 * mixer.heads
    if mixer.conv_bias:
        total += channels
    if mixer.bias:
        total += mixer.inner + channels + mixer.heads + hidden
    return total + (mixer.inner if mixer.norm else 0)


def _delta(hidden: int, mixer: Mixer) -> int:
    keys = mixer.key_heads * mixer.key_length
    channels = 2 * keys + mixer.inner
    total = hidden * (channels + mixer.inner) + hidden * 2 * mixer.heads
    total += channels * mixer.kernel + 2 * mixer.heads + mixer.value_length
    return total + mixer.inner * hidden


def _outside(layout: Layout, *, generates: bool) -> WeightParts:
    vocabulary = layout.vocabulary * layout.hidden
    generates = generates and not layout.rules.encoder and not layout.labels
    output = vocabulary if generates and not layout.tied else 0
    if generates and layout.rules.output_bias:
        output += layout.vocabulary
    whole = (layout.positions + layout.token_types) * layout.hidden
    whole += _norm(layout) if layout.rules.final_norm else 0
    whole += _norm(layout) if layout.rules.encoder else 0
    whole += _head(layout)
    parts = WeightParts(
        embedding=vocabulary,
        output=output,
        replicated=whole,
        vision=_vision(layout, layout.vision) if layout.vision else 0,
        prediction=layout.prediction_layers * _prediction(layout, vocabulary),
    )
    return added(parts, _encoder(layout)) if layout.encoder_layers else parts


def _head(layout: Layout) -> int:
    """What classifies, or BERT's pooler."""
    square = layout.hidden * (layout.hidden + 1)
    classes = (layout.hidden + 1) * layout.labels
    if not layout.labels:
        return square if layout.rules.pooler else 0
    # RoBERTa's head has a dense layer of its own and no pooler; BERT's uses the pooler.
    return classes + (square if layout.rules.encoder else -layout.labels)


def _prediction(layout: Layout, vocabulary: int) -> int:
    """A layer like the last one, a matrix that joins it, its norms."""
    kind = Kind.ATTENTION
    layer = _layer(layout, kind, sparse=bool(layout.experts)).total
    total = layer + 2 * layout.hidden * layout.hidden + 3 * layout.hidden
    return total + (2 * vocabulary if layout.rules.prediction_embeds else 0)


def _encoder(layout: Layout) -> WeightParts:
    """Whisper's: two convolutions over the spectrogram, then layers like the decoder's."""
    attention = _attention(layout)
    layer = added(attention, _dense(layout, layout.feed_forward))
    layer = added(layer, WeightParts(replicated=2 * _norm(layout)))
    front = 3 * layout.mel_bins * layout.hidden + 3 * layout.hidden**2 + 2 * layout.hidden
    whole = front + layout.encoder_positions * layout.hidden + _norm(layout)
    every = {part: getattr(layer, part) * layout.encoder_layers for part in WeightParts.__slots__}
    return added(WeightParts(**every), WeightParts(replicated=whole))


def _vision(layout: Layout, vision: Vision) -> int:
    rules = VISION_FAMILIES.get(vision.model_type, VisionFamily())
    hidden, width = vision.hidden, vision.feed_forward
    inward = 2 if rules.gated else 1
    layer = 4 * hidden * hidden + (inward + 1) * hidden * width
    layer += 5 * hidden + inward * width if rules.biased else 0
    norm = hidden * (2 if rules.norm_bias else 1)
    total = vision.layers * (layer + 2 * norm) + vision.patch_elements * hidden
    total += hidden if rules.patch_bias else 0
    total += norm if rules.final_norm else 0
    total += vision.positions * hidden if rules.learned_positions else 0
    return total + _projector(layout.hidden, vision, rules, norm)


def _projector(text: int, vision: Vision, rules: VisionFamily, norm: int) -> int:
    """From the encoder's width to the language model's."""
    hidden, output = vision.hidden, vision.output or text
    merged = hidden * vision.merge**2
    if rules.projector == "matrix":
        return hidden * output + hidden
    if rules.projector == "merger":
        inside = (merged + 1) * merged + (merged + 1) * output
        further = vision.further_mergers * (norm * vision.merge**2 + inside)
        return norm + inside + further
    if rules.projector == "patch_merger":
        return norm + merged * hidden + hidden * output + output * output
    return (hidden + 1) * output + (output + 1) * output


def recurrent_elements(layout: Layout) -> tuple[int, int]:
    """(convolution, state) elements that all recurrent layers keep for one sequence.

    Shapes as vLLM's `model_executor/layers/mamba/mamba_utils.py` gives them for one rank.
    """
    mixer = layout.mixer
    if mixer is None:
        return 0, 0
    count = sum(1 for kind in layout.kinds if kind in _RECURS)
    held = max(mixer.kernel - 1, 0)
    if layout.rules.mixer == "delta":
        channels = 2 * mixer.key_heads * mixer.key_length + mixer.inner
        state = mixer.heads * mixer.key_length * mixer.value_length
    elif layout.rules.mixer == "mamba2":
        channels = mixer.inner + 2 * mixer.groups * mixer.state
        state = mixer.inner * mixer.state
    else:
        channels, state = mixer.inner, mixer.inner * mixer.state
    return count * channels * held, count * state
