"""What ggml's allocator does with a graph, on graphs small enough to follow by hand."""

from hypothesis import given, settings
from hypothesis import strategies as st

from aimindserve.core.facts import ModelFacts
from aimindserve.formats.llama_cpp import models
from aimindserve.formats.llama_cpp import operations as ops
from aimindserve.formats.llama_cpp.allocator import Graph
from aimindserve.formats.llama_cpp.compute import compute_buffer, overflows
from aimindserve.formats.llama_cpp.memory import on_host
from golden.llama_cpp import shapes
from golden.llama_cpp.answers import GRID, TEXTS, facts

ROW = 8
"""Elements; 32 bytes, which is what everything is rounded up to."""


def size(*results):
    graph = Graph()
    for result in results:
        graph.expand(result)
    return graph.peak_bytes()


def test_an_input_and_what_is_made_of_it():
    assert size(ops.product(ROW, ops.entry(ROW))) == 64


def test_what_is_read_no_more_makes_room():
    first = ops.product(2 * ROW, ops.entry(ROW))
    second = ops.product(ROW, first)
    third = ops.product(ROW, second)
    # 32 for the input, 64 for the first; the second lies where the input was, the third where the
    # first was.
    assert size(third) == 96


def test_an_element_by_element_result_lies_where_its_operand_lay():
    made = ops.product(2 * ROW, ops.entry(ROW))
    assert size(ops.like(ops.like(made))) == 32 + 64


def test_not_where_somebody_else_still_reads():
    made = ops.product(2 * ROW, ops.entry(ROW))
    doubled = ops.like(made)
    assert size(ops.like(doubled, made)) == 32 + 64 + 64


def test_never_where_a_view_lies():
    made = ops.reshaped(ops.product(2 * ROW, ops.entry(ROW)), 2, ROW)
    assert size(ops.like(made)) == 32 + 64 + 64


def test_what_is_kept_is_never_overwritten():
    made = ops.product(ROW, ops.entry(ROW))
    made.kept = True
    assert size(ops.product(ROW, ops.like(made))) == 96


def test_the_smallest_hole_that_is_large_enough_is_taken():
    start = ops.entry(ROW)
    large, wall = ops.product(4 * ROW, start), ops.product(ROW, start)
    small, end = ops.product(2 * ROW, start), ops.product(ROW, start)
    after_large, after_small = ops.product(3 * ROW, large), ops.product(ROW, small)
    fits = ops.product(2 * ROW, wall)
    held = [large, wall, small, end, after_large, after_small, fits]
    walls = [ops.product(ROW, end), ops.product(ROW, after_large)]
    # 32, 128, 32, 64, 32, then 96 behind them; what is small goes into the hole of 128.
    assert size(*held, *walls) == 32 + 128 + 32 + 64 + 32 + 96


def test_a_few_layers_say_what_all_of_them_would(monkeypatch):
    asked = ("llama-3.1-70b", "gemma-3-27b-it", "jamba-v0.1", "qwen3-next-80b-a3b-instruct")
    few = [models.compute_graph(facts(slug), each).peak_bytes() for slug in asked for each in GRID]
    monkeypatch.setattr(models, "_shortened", list)
    assert few == [
        models.compute_graph(facts(slug), each).peak_bytes() for slug in asked for each in GRID
    ]


counts = st.sampled_from((0, 1, 2, 3, 8, 64, 100, 4096, 2**20, 2**40))
SIZES = (
    *("embedding_length", "feed_forward_length", "vocabulary_size", "head_count", "key_length"),
    *("value_length", "sliding_window", "expert_count", "expert_used_count", "rope_length"),
    *("expert_feed_forward_length", "latent_length", "latent_query_length", "latent_head_length"),
    *("latent_value_length", "shared_expert_feed_forward_length", "recurrent_inner_length"),
    *("recurrent_state_length", "recurrent_group_count", "recurrent_rank", "recurrent_kernel"),
    *("recurrent_width", "recurrent_bytes", "recurrent_layer_count", "recurrent_conv_elements"),
    *("recurrent_state_elements", "tensor_count"),
)
ARCHITECTURES = sorted({facts(slug).architecture for slug in shapes.FAMILIES} | {"rwkv7", "", "t5"})


@settings(max_examples=80, deadline=2_000)
@given(
    architecture=st.sampled_from(ARCHITECTURES),
    sizes=st.fixed_dictionaries(dict.fromkeys(SIZES, counts)),
    layers=st.sampled_from((0, 1, 3, 40, 4096)),
    kv=st.lists(counts, max_size=4),
    slides=st.lists(st.booleans(), max_size=4),
    chosen=st.sampled_from((*GRID, *TEXTS)),
)
def test_whatever_a_file_says_it_is_priced_soon(architecture, sizes, layers, kv, slides, chosen):
    """A stranger's header with sizes that no model has: a number, and no second of work."""
    found = ModelFacts(
        format="gguf",
        architecture=architecture,
        size_bytes=1,
        layer_count=layers,
        head_count_kv=tuple((kv or [0]) * max(layers // max(len(kv), 1), 1)),
        sliding_layers=tuple(slides * (layers // max(len(slides), 1))),
        **sizes,
    )
    assert compute_buffer(found, chosen) >= 0
    assert overflows(found, chosen) in (True, False)
    assert on_host(found, chosen).total >= 0
