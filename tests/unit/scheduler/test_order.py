"""The longest waiting first; among equals the hardest to place."""

from dataclasses import replace

from aimindserve.core.device import MemoryParts, Need
from aimindserve.core.shape import Shape
from aimindserve.scheduler.base import Ask
from aimindserve.scheduler.order import EQUALS_S, order


def ask(name, devices, size, at=0.0):
    need = Need(devices=(MemoryParts(weights=size),) * devices)
    return Ask(name, name, "p", (Shape("s", (need,)),), created_at=at)


def names(asks):
    return [[each.instance for each in group] for group in order(asks)]


def test_many_devices_go_before_few_and_large_before_small():
    asks = [ask("small", 1, 5), ask("large", 1, 9), ask("four", 4, 1), ask("two", 2, 1)]
    assert names(asks) == [["four", "two", "large", "small"]]
    assert names(reversed(asks)) == names(asks)


def test_who_came_a_while_earlier_goes_first_whatever_its_size():
    asks = [ask("late", 8, 9, at=EQUALS_S), ask("early", 1, 1, at=EQUALS_S - 1)]
    assert names(asks) == [["early"], ["late"]]


def test_replicas_stay_together_by_age():
    base = ask("a", 1, 5)
    copies = [replace(base, instance=f"a-{at}", created_at=float(at)) for at in (3, 1, 2)]
    assert names(copies) == [["a-1", "a-2", "a-3"]]


def test_an_ask_without_shapes_is_no_error():
    assert names([Ask("x", "x", "p", ())]) == [["x"]]
