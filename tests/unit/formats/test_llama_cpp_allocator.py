"""What ggml's allocator does with a graph, on graphs small enough to follow by hand."""

from aimindserve.formats.llama_cpp import models
from aimindserve.formats.llama_cpp import operations as ops
from aimindserve.formats.llama_cpp.allocator import Graph
from golden.llama_cpp.answers import GRID, facts

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
