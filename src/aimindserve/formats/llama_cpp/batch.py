"""What all parts of one batch's graph share: how many tokens, what is given, which layer is which.

Numbers and shapes are those of `graph_reserve` in llama.cpp's `src/llama-context.cpp` and of the
inputs in `src/llama-graph.cpp`.
"""

from dataclasses import dataclass

from aimindserve.core.facts import ModelFacts
from aimindserve.formats.llama_cpp import operations as ops
from aimindserve.formats.llama_cpp.allocator import Graph, Tensor
from aimindserve.formats.llama_cpp.settings import (
    Settings,
    cells,
    is_encoder,
    kv_heads,
    tokens,
    window_cells,
)

DELTA_NETS = frozenset({"qwen3next", "qwen35", "qwen35moe"})
"""Recurrent layers are gated delta nets, and those that attend bring a gate along."""
_PLAIN_TYPES = ("f32", "f16", "bf16")
_ROTATION = 64
"""Least side of the matrices that rotate keys and values before they are quantised."""
_POSITIONS = {"qwen2vl": 4}
"""Numbers that say where a token is; one for all others."""


@dataclass(frozen=True, slots=True)
class Cache:
    """What attention is given of one cache."""

    cells: int
    places: Tensor
    value_places: Tensor
    mask: Tensor
    rotate_keys: Tensor | None
    rotate_values: Tensor | None


@dataclass(frozen=True, slots=True)
class Layer:
    """What distinguishes one layer from another."""

    kv_heads: int
    slides: bool
    recurrent: bool
    expert: bool


@dataclass(frozen=True, slots=True)
class Part:
    """What one backend of ggml computes of a batch."""

    device: bool = False
    """What goes in is copied there from the host or another device."""
    first: bool = True
    """It begins with the tokens."""
    ends: bool = True
    """It has the last layer, within which is chosen which tokens give an output."""
    output: bool = True
    """It ends with the output."""
    copies: int = 1
    """Batches that are on their way at once: so often is there whatever goes in."""


WHOLE = Part()


class Batch:
    """One full batch of a model, and the graph that is made for a part of it."""

    def __init__(self, facts: ModelFacts, settings: Settings, part: Part = WHOLE) -> None:
        graph = Graph(given=part.device, copies=part.copies)
        self.facts, self.settings, self.part, self.graph = facts, settings, part, graph
        self.architecture, self.width = facts.architecture, facts.embedding_length
        self.count, self.slots = tokens(facts, settings), settings.parallel
        self.each = self.count // self.slots
        """Tokens of one sequence."""
        self.outputs = self.count if settings.embedding else min(self.slots, self.count)
        self.streams = 1 if settings.kv_unified or is_encoder(facts) else self.slots
        self.full = self._cache(self.count if is_encoder(facts) else cells(settings)[0])
        windows = any(facts.sliding_layers)
        self.window = self._cache(window_cells(facts, settings)) if windows else self.full
        self.positions = ops.entry(self.count * _POSITIONS.get(self.architecture, 1))
        self.chosen = ops.entry(self.outputs)
        """Which tokens give an output."""
        self.states = ops.entry(self.slots)
        """Where recurrent states lie."""
        self._parts = ops.entry(self.slots), ops.entry(self.slots - 1)
        self.before = ops.entry(self.width, self.count)
        """What the layer before a part gave, and its norm: both come from where it is, since a norm
        has no weights that would say where it belongs."""
        self.before_normed = ops.entry(self.width, self.count)

    def states_apart(self) -> tuple[Tensor, Tensor]:
        """Where those of this batch's sequences lie, and those of the others: views; each is given
        to a device by itself."""
        if self.part.device:
            return self._parts
        return (
            ops.viewed(self.states, (self.slots, 1, 1, 1), self.states.strides),
            ops.viewed(self.states, (self.slots - 1, 1, 1, 1), self.states.strides),
        )

    def _cache(self, visible: int) -> Cache:
        facts, settings = self.facts, self.settings
        heads = max((kv_heads(facts, layer) for layer in range(facts.layer_count)), default=0)
        # Without flash attention V lies turned over, and every element of it has a place.
        places = 1 if settings.flash_attention else heads * facts.value_length
        return Cache(
            cells=visible,
            places=ops.entry(self.count, element=8),
            value_places=ops.entry(self.count * places, element=8),
            mask=ops.entry(
                *(visible, self.count // self.streams, 1, self.streams),
                element=2 if settings.flash_attention else 4,
            ),
            rotate_keys=_rotation(settings.type_k, facts.key_length, largest=True),
            rotate_values=_rotation(settings.type_v, facts.value_length, largest=False),
        )


def _rotation(kind: str, length: int, *, largest: bool) -> Tensor | None:
    """The matrix that rotates keys or values that are quantised: for keys the largest power of two
    that divides a head, for values the least (`llama_kv_cache`)."""
    if kind in _PLAIN_TYPES or not length or length % _ROTATION:
        return None
    side = _ROTATION
    while largest and length % (2 * side) == 0:
        side *= 2
    return ops.entry(side, side)
