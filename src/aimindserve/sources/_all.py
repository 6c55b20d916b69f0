"""All model sources, by name: the folder read as a registry."""

from collections.abc import Mapping
from functools import cache
from typing import cast

from aimindserve.kit.registry import load_plugins
from aimindserve.sources.base import Source

GROUP = "aimindserve.sources"
_MEMBERS = ("name", "resolve", "fetch")


@cache
def sources() -> Mapping[str, Source]:
    """Every place where weights can come from, by name."""
    found = load_plugins(
        __package__ or "",
        lambda plugin: all(hasattr(plugin, member) for member in _MEMBERS),
        group=GROUP,
    )
    return cast("Mapping[str, Source]", found)
