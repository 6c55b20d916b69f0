"""All accelerators, by name: the folder read as a registry."""

from collections.abc import Mapping
from functools import cache
from typing import cast

from aimindserve.accelerators.base import Accelerator
from aimindserve.kit.registry import load_plugins

GROUP = "aimindserve.accelerators"
_MEMBERS = ("name", "detect", "usage", "expose")


@cache
def accelerators() -> Mapping[str, Accelerator]:
    """Every family of devices, by name."""
    found = load_plugins(
        __package__ or "",
        lambda plugin: all(hasattr(plugin, member) for member in _MEMBERS),
        group=GROUP,
    )
    return cast("Mapping[str, Accelerator]", found)
