"""The graph that llama.cpp computes for a full batch, family by family, as far as it takes room.

Read from `src/models/*.cpp` of llama.cpp build 11434, in the order in which results are added to
the graph. A family that is not here is computed like the one that it looks like by its facts.
Layers of a kind that follow each other leave the same holes from the second one on, so that of a
long row of them a few will do.
"""

from collections.abc import Sequence
from itertools import groupby

from aimindserve.core.facts import ModelFacts
from aimindserve.formats.llama_cpp import operations as ops
from aimindserve.formats.llama_cpp.allocator import Graph, Tensor
from aimindserve.formats.llama_cpp.attention import attention, projections, whole_attention
from aimindserve.formats.llama_cpp.batch import DELTA_NETS, WHOLE, Batch, Layer, Part
from aimindserve.formats.llama_cpp.recurrence import recurrence, scan
from aimindserve.formats.llama_cpp.settings import (
    Settings,
    is_encoder,
    kv_heads,
    recurrent_layers,
    slides,
)

_JOINED = frozenset({"chatglm", "glm4", "phi3"})
"""Gate and up are one matrix."""
_NORMED_TWICE = frozenset({"gemma2", "gemma3", "glm4"})
"""Norms behind attention and feed-forward layers as well as before them."""
_ROUTED_AFTER = frozenset({"gpt-oss", *DELTA_NETS})
"""Which tokens give an output is applied after the last layer, not within it."""
_BIASED_CHOICE = frozenset({"deepseek2", "glm4moe"})
"""A bias decides which experts are chosen (not in all of DeepSeek's: then a few kB too much)."""
_EXPERTS_MAX = 512
"""`LLAMA_MAX_EXPERTS`: llama.cpp refuses more."""
_SAME_IN_A_ROW = 3
"""Layers of one kind that are computed of a row of them."""
_PATTERN_ROWS = 4
"""Rows of layers of one kind that are computed at either end of a model that alternates."""


def compute_graph(facts: ModelFacts, settings: Settings, part: Part = WHOLE) -> Graph:
    """The graph of one full batch (`graph_reserve` in llama-context.cpp), without layers that
    repeat others. A part may have any of the layers, so it counts as having one of each kind."""
    return _graph(facts, settings, _shortened(_layers(facts)), part)


def tensor_count(facts: ModelFacts, settings: Settings) -> int:
    """Inputs and nodes of the graph with all its layers; 0 for layers that are not all alike."""
    layers = _layers(facts)
    if len(set(layers)) != 1:
        return 0
    few = [len(_graph(facts, settings, layers[:count])) for count in (1, 2)]
    return few[0] + (few[1] - few[0]) * (len(layers) - 1)


def _graph(
    facts: ModelFacts, settings: Settings, layers: Sequence[Layer], part: Part = WHOLE
) -> Graph:
    batch = Batch(facts, settings, part)
    current = _given(batch)
    if is_encoder(facts):
        _encode(batch, current, layers)
        return batch.graph
    if batch.architecture == "gemma3" and part.first:
        current = ops.like(current, ops.entry(1, batch.count))
        batch.graph.expand(current)
    for at, layer in enumerate(layers):
        last = at == len(layers) - 1 and batch.architecture not in _ROUTED_AFTER
        current = _layer(batch, current, layer, last=last and part.ends)
    if part.output:
        _end(batch, current)
    elif part.ends and batch.architecture == "gpt-oss":
        batch.graph.expand(_chosen_last(batch, current))
    else:
        batch.graph.expand(current)
    return batch.graph


def _given(batch: Batch) -> Tensor:
    if not batch.part.device:
        return ops.tokens_in(batch.graph, batch.width, batch.count)
    if not batch.part.first:
        return batch.before
    if batch.architecture == "bert":  # learned positions are looked up there, no mixture is made
        return ops.entry(batch.width, batch.count)
    return ops.tokens_given(batch.graph, batch.width, batch.count)


def _end(batch: Batch, current: Tensor) -> None:
    """The last norm, scores of the vocabulary, and vectors of texts."""
    if batch.architecture == "gpt-oss":
        current = _chosen_last(batch, current)
    current = ops.scaled_norm(current, plain=batch.architecture == "phi2")
    if batch.architecture in DELTA_NETS:
        current.kept = True
        current = ops.rows(current, batch.chosen)
    current.kept = True
    scores = ops.product(batch.facts.vocabulary_size, current)
    scores.kept = True
    batch.graph.expand(scores)
    _pool(batch, current)


def _chosen_last(batch: Batch, current: Tensor) -> Tensor:
    current.kept = True  # for layers that predict further tokens
    return ops.rows(current, batch.chosen)


def _pool(batch: Batch, current: Tensor) -> None:
    """What is made of the vectors of a text's tokens (`build_pooling`)."""
    if not batch.settings.embedding:
        return
    kind = batch.facts.pooling
    if kind == "mean":
        shares = ops.entry(batch.count, batch.slots)
        turned = ops.copied(ops.turned(current))
        current = ops.result(batch.width, batch.slots, 1, 1, turned, shares)
    elif kind in ("cls", "last", "rank"):
        current = ops.rows(current, ops.entry(batch.slots))
    current.kept = True
    batch.graph.expand(current)


def _layer(batch: Batch, before: Tensor, layer: Layer, *, last: bool) -> Tensor:
    special = _SPECIAL.get(batch.architecture)
    if special is not None:
        return special(batch, before, layer, last=last)
    current = _normed(batch, before)
    if batch.architecture in DELTA_NETS:
        batch.graph.expand(current)
    mix = recurrence if layer.recurrent else attention
    current = mix(batch, current, layer)
    if last:
        current, before = ops.rows(current, batch.chosen), ops.rows(before, batch.chosen)
    twice = batch.architecture in _NORMED_TWICE
    if twice:
        current = ops.scaled_norm(current)
    backwards = batch.architecture == "jamba"
    held = ops.like(before, current) if backwards else ops.like(current, before)
    current = _feed_forward(batch, ops.scaled_norm(held), layer)
    if twice:
        current = ops.scaled_norm(current)
    backwards = batch.architecture in ("jamba", "phi3")
    return ops.like(held, current) if backwards else ops.like(current, held)


def _normed(batch: Batch, before: Tensor, *, plain: bool = False) -> Tensor:
    """The first norm of a layer."""
    if before is batch.before:
        return ops.like(batch.before_normed)
    return ops.scaled_norm(before, plain=plain)


def _beside_each_other(batch: Batch, before: Tensor, layer: Layer, *, last: bool) -> Tensor:
    """Phi-2: attention and feed-forward layer read the same."""
    normed = _normed(batch, before, plain=True)
    attended = attention(batch, normed, layer)
    if last:
        attended = ops.rows(attended, batch.chosen)
        before, normed = ops.rows(before, batch.chosen), ops.rows(normed, batch.chosen)
    fed = _feed_forward(batch, normed, layer)
    return ops.like(ops.like(attended, fed), before)


def _both_ways(batch: Batch, before: Tensor, layer: Layer, *, last: bool) -> Tensor:
    """Falcon-H1: attends and scans in the same layer."""
    attended = attention(batch, _normed(batch, before), layer)
    scanned = scan(batch, _normed(batch, before))
    before = ops.like(ops.like(attended, scanned), before)
    if last:
        before = ops.rows(before, batch.chosen)
    return ops.like(_feed_forward(batch, ops.scaled_norm(before), layer), before)


def _scan_alone(batch: Batch, before: Tensor, layer: Layer, *, last: bool) -> Tensor:
    """Mamba: no feed-forward layer."""
    current = recurrence(batch, _normed(batch, before), layer)
    if last:
        current, before = ops.rows(current, batch.chosen), ops.rows(before, batch.chosen)
    return ops.like(current, before)


_SPECIAL = {
    "falcon-h1": _both_ways,
    "mamba": _scan_alone,
    "mamba2": _scan_alone,
    "phi2": _beside_each_other,
}


def _feed_forward(batch: Batch, operand: Tensor, layer: Layer) -> Tensor:
    facts = batch.facts
    if not layer.expert:
        return ops.feed_forward(
            batch.width,
            facts.feed_forward_length,
            operand,
            gated=facts.gated,
            joined=batch.architecture in _JOINED,
        )
    routed = ops.experts(batch.graph, _experts(facts), operand)
    shared = facts.shared_expert_feed_forward_length
    if not shared:
        return routed
    beside = ops.feed_forward(batch.width, shared, operand)
    if batch.architecture in DELTA_NETS:
        beside = ops.like(beside, ops.like(ops.product(1, operand)))
    return ops.like(routed, beside)


def _encode(batch: Batch, current: Tensor, layers: Sequence[Layer]) -> None:
    """Models that only turn texts into vectors (`src/models/bert.cpp`)."""
    facts = batch.facts
    learned = facts.architecture == "bert"
    if batch.part.first:
        current = _embedded(batch, current, learned=learned)
    for at, layer in enumerate(layers):
        before = current
        query, key, value = projections(batch, current, layer.kv_heads)
        if not learned:
            query, key = ops.like(query, batch.positions), ops.like(key, batch.positions)
        current = ops.product(batch.width, whole_attention(batch, query, key, value))
        if at == len(layers) - 1 and batch.part.ends:
            current, before = ops.rows(current, batch.chosen), ops.rows(before, batch.chosen)
        held = ops.scaled_norm(ops.like(current, before), plain=True)
        current = _feed_forward(batch, held, layer)
        current = ops.scaled_norm(ops.like(current, held), plain=True)
    batch.graph.expand(current)
    if batch.part.output:
        current.kept = True
        _pool(batch, current)


def _embedded(batch: Batch, current: Tensor, *, learned: bool) -> Tensor:
    """With types, where they are learned with positions, and the norm."""
    given = batch.part.device
    current = ops.like(current, *([ops.entry(batch.width)] if given else []))
    if learned:
        size = batch.width, batch.count
        places = ops.entry(*size) if given else ops.result(*size, 1, 1, batch.positions)
        current = ops.like(places, current)
    return ops.scaled_norm(current, plain=True)


def _experts(facts: ModelFacts) -> ops.Experts:
    own = facts.architecture == "gpt-oss"
    return ops.Experts(
        count=facts.expert_count,
        used=min(max(facts.expert_used_count, 1), _EXPERTS_MAX),
        wide=facts.expert_feed_forward_length or facts.feed_forward_length,
        normalised=facts.architecture not in ("gpt-oss", "jamba"),
        biased_choice=facts.architecture in _BIASED_CHOICE,
        biased=own,
        weighs_chosen=own,
    )


def _layers(facts: ModelFacts) -> list[Layer]:
    keeps = recurrent_layers(facts)
    return [
        Layer(kv_heads(facts, at), slides(facts, at), keeps[at], _chooses(facts, at))
        for at in range(facts.layer_count)
    ]


def _chooses(facts: ModelFacts, at: int) -> bool:
    """Whether a layer chooses experts: not the first ones where there are dense ones as well, every
    second of Jamba's."""
    if not facts.expert_count:
        return False
    if facts.architecture == "jamba":
        return at % 2 == 1
    dense = facts.expert_feed_forward_length and facts.feed_forward_length
    return at >= max(facts.leading_dense_layer_count, 1) or not dense


def _shortened(layers: Sequence[Layer]) -> list[Layer]:
    """The same kinds in the same order, without what repeats: of a row of equal layers the first
    ones, of rows that follow each other in a pattern the first and the last."""
    rows = [(kind, min(len(list(row)), _SAME_IN_A_ROW)) for kind, row in groupby(layers)]
    if len(rows) > 2 * _PATTERN_ROWS:
        rows = rows[:_PATTERN_ROWS] + rows[-_PATTERN_ROWS:]
    return [kind for kind, count in rows for _ in range(count)]
