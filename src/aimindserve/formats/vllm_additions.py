"""What vLLM loads beside a model: layers or models that propose tokens, and room for adapters.

Read from `vllm/v1/spec_decode/llm_base_proposer.py`, `vllm/lora/layers` and
`vllm/config/lora.py` of vLLM 0.32.0. Must not know devices, workers or backends.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace

from aimindserve.core.facts import ModelFacts

Lengths = Callable[[int, int], int]
"""Elements per rank of an adapter beside a product: of its inputs and its outputs."""
RANKS = (1, 8, 16, 32, 64, 128, 256, 320, 512)
"""`MaxLoRARanks`: an adapter takes the room of the next."""
ADAPTER_ELEMENT_BYTES = 2
"""`lora_dtype`: the model's, of 16 bit."""


@dataclass(frozen=True, slots=True)
class Adapters:
    """Room for adapters; vLLM's own names."""

    count: int = 0
    """At once on a device (`--max-loras`)."""
    rank: int = 16
    """`--max-lora-rank`."""
    held: int = 0
    """On the host (`--max-cpu-loras`), those on the device among them."""
    sharded: bool = False
    """Both halves are cut over the ranks (`--fully-sharded-loras`)."""


@dataclass(frozen=True, slots=True)
class Proposals:
    """Tokens that are proposed and then checked by the model at once."""

    tokens: int = 0
    """`num_speculative_tokens`."""
    draft: ModelFacts | None = None
    """A model beside this one, or EAGLE's layer."""
    predicts: bool = False
    """The model's own layers for it (MTP)."""


NO_ADAPTERS = Adapters()
NO_PROPOSALS = Proposals()


def proposer(facts: ModelFacts, proposals: Proposals) -> ModelFacts | None:
    """What keeps a cache beside the model: the draft, or the model's own layers, as facts."""
    if not proposals.predicts:
        return proposals.draft
    count = facts.prediction_layer_count
    if not count:
        return None
    return replace(
        facts.alone(),
        layer_count=count,
        head_count_kv=(max(facts.head_count_kv, default=facts.head_count),),
        sliding_layers=(),
        layer_bytes=(),
        recurrent_layer_count=0,
        recurrent_conv_elements=0,
        recurrent_state_elements=0,
    )


def prediction_bytes(facts: ModelFacts, ranks: int) -> int:
    """Weights of the model's own layers for it on one rank: cut like others, but for the product
    that joins the last state with the word before it (`eh_proj`)."""
    joins = facts.prediction_layer_count * 2 * facts.embedding_length**2
    whole = min(joins * _element_bytes(facts), facts.part_bytes.prediction)
    return whole + (facts.part_bytes.prediction - whole) // ranks


def adapter_bytes(facts: ModelFacts, adapters: Adapters, ranks: int, layers: int) -> int:
    """Room for adapters on one rank that holds `layers`: two narrow matrices beside each product of
    a layer, the embedding and the output. Of a product that is cut over its outputs the first is
    whole on each rank and the second cut, of one that is cut over its inputs the other way round
    (`create_lora_weights`)."""
    if not adapters.count:
        return 0
    width = facts.embedding_length
    cut = ranks if adapters.sharded else 1

    def outwards(into: int, out: int) -> int:
        return into // cut + out // ranks

    def inwards(into: int, out: int) -> int:
        return into // ranks + out // cut

    wide = facts.feed_forward_length + facts.shared_expert_feed_forward_length
    each = _attention_lengths(facts, outwards, inwards)
    if wide:
        each += 2 * outwards(width, wide) + inwards(wide, width)
    inner = facts.expert_feed_forward_length
    each += facts.expert_count * (2 * outwards(width, inner) + inwards(inner, width))
    words = 2 * (facts.vocabulary_size + width)
    lengths = each * layers + words
    return adapters.count * adapters.rank * lengths * ADAPTER_ELEMENT_BYTES


def _attention_lengths(facts: ModelFacts, outwards: Lengths, inwards: Lengths) -> int:
    width, heads = facts.embedding_length, facts.head_count
    if facts.latent_length:
        query, rank = facts.latent_query_length or width, facts.latent_length + facts.rope_length
        narrow = (width + query if facts.latent_query_length else 0) + width + rank
        head = facts.latent_head_length or facts.key_length
        wide = outwards(query, heads * head) + outwards(facts.latent_length, 2 * heads * head)
        return narrow + wide + inwards(heads * head, width)
    kv = max(facts.head_count_kv, default=heads)
    query = heads * facts.key_length
    keys, values = kv * facts.key_length, kv * facts.value_length
    out = outwards(width, query) + outwards(width, keys) + outwards(width, values)
    return out + inwards(query, width)


def _element_bytes(facts: ModelFacts) -> int:
    return max(facts.weight_bits // 8, 1) if facts.weight_bits else 2
