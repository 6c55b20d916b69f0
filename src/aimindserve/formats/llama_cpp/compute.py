"""The size of llama.cpp's compute buffer: the intermediate results that are alive at once.

`sched_reserve` (llama-context.cpp) builds the graph of one full batch and asks ggml's allocator for
the room that it takes. So does this: `models` makes the graph, `allocator` walks it. Nothing is
added up by rule, so sizes that nobody has thought of are right as well; `tests/golden/llama_cpp`
holds it to the engine's own report.
"""

from functools import lru_cache

from aimindserve.core.facts import ModelFacts
from aimindserve.formats.llama_cpp.batch import Part
from aimindserve.formats.llama_cpp.models import compute_graph, tensor_count
from aimindserve.formats.llama_cpp.settings import Settings, cells, is_encoder, tokens

REMEMBERED = 4096
"""Answers of half a millisecond each; the same model is priced again and again."""


def compute_buffer(facts: ModelFacts, settings: Settings) -> int:
    """Bytes of the compute buffer of a host that computes all layers."""
    return _on_host(facts, settings)[0]


@lru_cache(REMEMBERED)
def device_buffer(facts: ModelFacts, settings: Settings, part: Part) -> int:
    """Bytes of the compute buffer of a device that computes a part of the model."""
    return compute_graph(facts, settings, part).peak_bytes()


def prepared_buffer(facts: ModelFacts, settings: Settings, copies: int = 1) -> int:
    """Bytes of the host's compute buffer when devices compute all layers: what goes in, so often as
    batches are on their way at once, and what is looked up for them."""
    looked_up = 3 if facts.architecture == "bert" else 2
    vectors = 4 * looked_up * facts.embedding_length * tokens(facts, settings)
    return copies * _on_host(facts, settings)[1] + vectors


@lru_cache(REMEMBERED)
def _on_host(facts: ModelFacts, settings: Settings) -> tuple[int, int]:
    """Of the whole graph, and of what goes into it."""
    graph = compute_graph(facts, settings)
    return graph.peak_bytes(), graph.input_bytes()


@lru_cache(REMEMBERED)
def overflows(facts: ModelFacts, settings: Settings) -> bool:
    """Whether llama.cpp would end itself because the graph has more tensors than it reserves room
    for: eight for each tensor of the model (`graph_max_nodes` in llama-context.cpp), rounded up to
    its next table size (`ggml_hash_size`). Phi-3 medium and Phi-4 with quantised keys and values
    and several streams: their layers have few tensors, and each rotation adds six.
    """
    if not facts.tensor_count or is_encoder(facts) or facts.recurrent_layer_count:
        return False
    room = next(size for size in _TABLE_SIZES if size >= max(1024, 8 * facts.tensor_count))
    computed = tensor_count(facts, settings)
    # Keys and values, the two views that read them and what turns those; streams are merged.
    merged = 2 if cells(settings)[1] > 1 else 0
    caches = facts.layer_count * (6 + merged)
    return bool(computed) and computed + caches + facts.tensor_count > room


_TABLE_SIZES = (1031, 2053, 4099, 8209, 16411, 32771, 65537, 131101, 2**62)


def output_buffer(facts: ModelFacts, settings: Settings) -> int:
    """Bytes of the results on the host: logits, or vectors where asked (`output_reserve` in
    llama-context.cpp). Grows from one per slot to one per token when a batch asks for all."""
    outputs = settings.parallel
    if not settings.embedding:
        return 4 * outputs * facts.vocabulary_size
    if facts.pooling in ("", "none"):
        outputs = max(tokens(facts, settings), outputs)
    return 4 * outputs * (facts.vocabulary_size + facts.embedding_length)
