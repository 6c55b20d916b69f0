"""All kinds, by name: the folder read as a registry."""

from collections.abc import Mapping
from functools import cache
from typing import Any, cast

from aimindserve.kit.registry import load_plugins
from aimindserve.resources._kind import Kind


@cache
def kinds() -> Mapping[str, Kind[Any, Any]]:
    """Every kind of resource by its singular name."""
    found = load_plugins(__package__ or "", lambda plugin: isinstance(plugin, Kind))
    return cast("Mapping[str, Kind[Any, Any]]", found)
