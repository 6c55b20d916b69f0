"""All filters and scorers: the two folders read as registries, in the order of their names."""

from functools import cache
from typing import cast

from aimindserve.kit.registry import load_plugins
from aimindserve.scheduler.base import Filter, Scorer


@cache
def filters() -> tuple[Filter, ...]:
    """Every filter. They are a set: all must agree, so order cannot matter to the outcome; those
    with a `cost` are asked last, when the others have nothing against a worker."""
    found = load_plugins(
        f"{__package__}.filters",
        lambda plugin: callable(getattr(plugin, "reject", None)),
        group="aimindserve.filters",
    )
    ordered = sorted(found.values(), key=lambda plugin: getattr(plugin, "cost", 0))
    return cast("tuple[Filter, ...]", tuple(ordered))


@cache
def scorers() -> tuple[Scorer, ...]:
    """Every scorer; the sum of their weighted scores decides."""
    found = load_plugins(
        f"{__package__}.scorers",
        lambda plugin: callable(getattr(plugin, "score", None)) and hasattr(plugin, "weight"),
        group="aimindserve.scorers",
    )
    return cast("tuple[Scorer, ...]", tuple(found.values()))
