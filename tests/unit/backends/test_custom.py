"""Custom backends are priced by what their author declares, else by a rule of thumb."""

import pytest

from aimindserve.backends._custom import Amount, Declaration, shapes
from aimindserve.core.facts import Category, ModelFacts
from aimindserve.core.shape import DECLARED, ROUGH

GIB = 1024**3


def model(size, *categories):
    return ModelFacts("safetensors", "x", size, categories=categories)


@pytest.mark.parametrize(
    ("categories", "gib"), [((), 14.0), ((Category.LLM,), 14.0), ((Category.EMBEDDING,), 12.5)]
)
def test_without_a_word_it_is_the_weights_and_a_fifth(categories, gib):
    (shape,) = shapes(model(10 * GIB, *categories), Declaration())
    assert shape.ranks[0].devices[0].total == pytest.approx(gib * GIB, rel=1e-6)
    assert shape.confidence == ROUGH


def test_what_is_declared_is_taken_fixed_or_in_proportion():
    declared = Declaration(vram=Amount(GIB, 1.5), ram=Amount(2 * GIB))
    (shape,) = shapes(model(4 * GIB), declared)
    assert shape.ranks[0].devices[0].total == 7 * GIB
    assert shape.ranks[0].ram.total == 2 * GIB
    assert shape.confidence == DECLARED


@pytest.mark.parametrize("count", [1, 2, 3, 8])
def test_devices_share_without_losing_a_byte(count):
    declared = Declaration(vram=Amount(10 * GIB + 7), device_counts=(count,))
    (shape,) = shapes(model(3 * GIB + 5), declared)
    assert sum(part.total for part in shape.ranks[0].devices) == 10 * GIB + 7
    assert len(shape.ranks[0].devices) == count


def test_order_and_processors():
    declared = Declaration(device_counts=(2, 1), processors=True, os=("linux",))
    labels = [shape.label for shape in shapes(model(GIB), declared)]
    assert labels == ["2 devices", "1 device", "cpu"]
    (cpu,) = shapes(model(GIB), Declaration(device_counts=()))
    assert cpu.ranks[0].ram.total > 1.2 * GIB
    (said,) = shapes(model(GIB), Declaration(ram=Amount(GIB), device_counts=()))
    assert said.ranks[0].ram.total == GIB
    assert said.confidence == DECLARED
